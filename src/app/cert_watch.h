/* The certificate files of a running node: read again when they change, when their time is over and
 * when told to, for the connections that come after; those that are open go on. What can't be used
 * is refused with a log line, and the old stays. One thread. */
#ifndef QV_APP_CERT_WATCH_H
#define QV_APP_CERT_WATCH_H

#include "app/settings.h"
#include "net/tls.h"

struct qv_cert_watch {
    struct qv_tls_ctx *ctx;  /* for struct qv_net_server_config; NULL: TLS is off */
    const char *paths[3];    /* certificate, key, CA; NULL: not used; the settings' */
    uint64_t loaded, seen;   /* fingerprints of the files: in use, and at the last look */
    uint64_t ttl_ns, due_ns; /* ttl 0: never by time */
};

/* Reads the files where the settings ask for TLS. The settings must outlive the watch. QV_EINVAL:
 * msg names the setting's file, and why. */
QV_MUST_USE int qv_cert_watch_open(const struct qv_settings *s, struct qv_cert_watch *out,
                                   struct qv_errmsg *msg);
void qv_cert_watch_close(struct qv_cert_watch *w); /* after the server that uses ctx */
/* Every now and then. A change counts when it has stood from one look to the next: certificate and
 * key are seldom written in one step. now: whatever the files look like (SIGHUP). */
void qv_cert_watch_look(struct qv_cert_watch *w, uint64_t now_ns, bool now);

#endif
