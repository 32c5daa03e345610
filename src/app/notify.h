/* Tells who started the process how it stands, by the protocol of systemd's sd_notify(3), which
 * start-stop-daemon --notify-await speaks too: a datagram to the socket that NOTIFY_SOCKET names.
 * Without that variable nothing happens. */
#ifndef QV_APP_NOTIFY_H
#define QV_APP_NOTIFY_H

/* state: "READY=1", "STOPPING=1", "STATUS=..."; a failure is not reported: nobody would mend it. */
void qv_notify(const char *state);

#endif
