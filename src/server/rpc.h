/* Private to src/server: the gRPC side. */
#ifndef QV_SERVER_RPC_H
#define QV_SERVER_RPC_H

#include "server/op.h"

void qv_rpc_handle(struct qv_edge *edge, struct qv_call *call);
bool qv_rpc_reads(const struct qv_call *call);
void qv_rpc_refuse(struct qv_call *call, int err, const char *text);

#endif
