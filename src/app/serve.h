/* `quiver serve`: one node, from settings to a clean end. */
#ifndef QV_APP_SERVE_H
#define QV_APP_SERVE_H

int qv_app_serve(int argc, char **argv); /* argv[0] is "serve"; gives the exit code */

#endif
