/* What this build is. */
#ifndef QV_BASE_BUILD_INFO_H
#define QV_BASE_BUILD_INFO_H

#define QV_VERSION "0.1.0"
#define QV_API_VERSION "1.19.0" /* of the Qdrant API: clients compare it with their own */

/* 40 hexadecimal characters: the commit this was built from, zeros when that is unknown. */
#ifndef QV_COMMIT
#define QV_COMMIT "0000000000000000000000000000000000000000"
#endif

#endif
