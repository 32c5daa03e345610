/* The gRPC calls that are streams: server reflection (v1 and v1alpha), by which tools learn the
 * services and messages without .proto files, and the health service's Watch. Answered on the loop
 * thread from constant tables; nothing is kept from message to message. */
#ifndef QV_SERVER_REFLECTION_H
#define QV_SERVER_REFLECTION_H

#include "net/server.h"

/* What answers the messages of this call; NULL: it is no stream. */
qv_net_stream_f *qv_reflection_find(const struct qv_call *call);

#endif
