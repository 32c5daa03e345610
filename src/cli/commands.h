/* The commands beside `serve`: each takes its own arguments (argv[0] is its name) and gives an exit
 * code: 0 done, 1 it failed, 2 wrong usage. */
#ifndef QV_CLI_COMMANDS_H
#define QV_CLI_COMMANDS_H

int qv_cli_import(int argc, char **argv);
int qv_cli_doctor(int argc, char **argv);
int qv_cli_export(int argc, char **argv);
int qv_cli_search(int argc, char **argv);
int qv_cli_bench(int argc, char **argv); /* bench index|serve|upsert|open */
int qv_cli_cluster(int argc, char **argv);
int qv_cli_check(int argc, char **argv);

#endif
