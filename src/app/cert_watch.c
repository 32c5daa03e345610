#include "app/cert_watch.h"

#include "base/hash.h"
#include "base/logger.h"

#include <string.h>
#include <sys/stat.h>

/* Which files these are, as far as stat tells. */
static uint64_t fingerprint(const struct qv_cert_watch *w)
{
    uint64_t marks[3][4];
    memset(marks, 0, sizeof marks);
    for (int i = 0; i < 3; i++) {
        struct stat st;
        if (w->paths[i] == NULL || stat(w->paths[i], &st) != 0)
            continue;
        marks[i][0] = (uint64_t)st.st_ino;
        marks[i][1] = (uint64_t)st.st_size;
        marks[i][2] = (uint64_t)st.st_mtim.tv_sec;
        marks[i][3] = (uint64_t)st.st_mtim.tv_nsec;
    }
    return qv_hash_64(marks, sizeof marks);
}

int qv_cert_watch_open(const struct qv_settings *s, struct qv_cert_watch *out,
                       struct qv_errmsg *msg)
{
    memset(out, 0, sizeof *out);
    if (!s->enable_tls)
        return 0;
    bool verify = s->verify_https_client_certificate;
    out->paths[0] = s->tls_cert;
    out->paths[1] = s->tls_key;
    out->paths[2] = verify ? s->tls_ca_cert : NULL;
    out->ttl_ns = s->tls_cert_ttl * 1000000000ull;
    out->loaded = out->seen = fingerprint(out);
    struct qv_tls_config config = {.server = true,
                                   .cert_path = out->paths[0],
                                   .key_path = out->paths[1],
                                   .ca_path = out->paths[2],
                                   .verify_client = verify};
    struct qv_errmsg why = {""};
    int err = qv_tls_ctx_create(&config, &out->ctx, &why);
    return err == 0 ? 0 : qv_fail(msg, err, "service.enable_tls: %.480s", why.text);
}

void qv_cert_watch_close(struct qv_cert_watch *w)
{
    qv_tls_ctx_destroy(&w->ctx);
}

void qv_cert_watch_look(struct qv_cert_watch *w, uint64_t now_ns, bool now)
{
    struct qv_errmsg msg;
    if (w->ctx == NULL)
        return;
    if (w->due_ns == 0)
        w->due_ns = now_ns + w->ttl_ns;
    uint64_t mark = fingerprint(w);
    bool changed = mark != w->loaded && mark == w->seen;
    bool due = w->ttl_ns != 0 && now_ns >= w->due_ns;
    w->seen = mark;
    if (!changed && !due && !now)
        return;
    w->due_ns = now_ns + w->ttl_ns;
    w->loaded = mark; /* what can't be used is not tried again until it changes, or is due */
    if (qv_tls_ctx_reload(w->ctx, &msg) != 0)
        QV_WARN("tls", "the certificate in use stays: %s", msg.text);
    else if (changed || now)
        QV_INFO("tls", "new connections get the certificate of %s", w->paths[0]);
}
