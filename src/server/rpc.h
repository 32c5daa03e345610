/* Private to src/server: the gRPC side. */
#ifndef QV_SERVER_RPC_H
#define QV_SERVER_RPC_H

#include "server/op.h"

void qv_rpc_handle(struct qv_edge *edge, struct qv_call *call);
bool qv_rpc_reads(const struct qv_call *call);
/* Is there a gRPC service of this name ("": the server as a whole)? name may be NULL with n = 0. */
bool qv_rpc_has_service(const char *name, size_t n);
void qv_rpc_refuse(struct qv_call *call, int err, const char *text);

#endif
