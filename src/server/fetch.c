/* libcurl is loaded with the first download: it and the 20 libraries behind it would cost an idle
 * server 4 MB, and one that never fetches anything need not have it. */
#include "server/fetch.h"

#include "base/qv_assert.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define REDIRECTS_MAX 5L
#define IDLE_S 30L
#define CONNECT_S 10L

#define CURL_FILE "libcurl.so.4"

/* What we use of it. */
struct curl_lib {
    CURL *(*init)(void);
    void (*cleanup)(CURL *c);
    CURLcode (*setopt)(CURL *c, CURLoption option, ...);
    CURLcode (*perform)(CURL *c);
    CURLcode (*getinfo)(CURL *c, CURLINFO info, ...);
    const char *(*strerror)(CURLcode code);
    struct curl_slist *(*append)(struct curl_slist *list, const char *text);
    void (*free_all)(struct curl_slist *list);
};

static int load_curl(struct curl_lib *lib, struct qv_errmsg *msg)
{
    void *handle = dlopen(CURL_FILE, RTLD_NOW | RTLD_LOCAL); /* stays: once a process is enough */
    const struct {
        const char *name;
        void *to;
    } symbols[] = {
        {"curl_easy_init", &lib->init},       {"curl_easy_cleanup", &lib->cleanup},
        {"curl_easy_setopt", &lib->setopt},   {"curl_easy_perform", &lib->perform},
        {"curl_easy_getinfo", &lib->getinfo}, {"curl_easy_strerror", &lib->strerror},
        {"curl_slist_append", &lib->append},  {"curl_slist_free_all", &lib->free_all},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *at = handle != NULL ? dlsym(handle, symbols[i].name) : NULL;
        if (at == NULL)
            return qv_fail(msg, QV_EUNAVAILABLE,
                           "snapshots are fetched by " CURL_FILE ", which can't be loaded");
        memcpy(symbols[i].to, &at, sizeof at);
    }
    return 0;
}

static size_t take(char *p, size_t size, size_t n, void *arg)
{
    struct qv_fetch *f = arg;
    size_t bytes = size * n;
    if (bytes > f->bytes_max - f->bytes) {
        f->err = qv_fail(&f->msg, QV_ETOOBIG, "the file is longer than %llu bytes",
                         (unsigned long long)f->bytes_max);
        return 0;
    }
    for (size_t done = 0; done < bytes;) {
        ssize_t k = write(f->fd, p + done, bytes - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            f->err = qv_fail(&f->msg, qv_err_from_errno(errno), "%s: %s", f->path, strerror(errno));
            return 0;
        }
        done += (size_t)k;
    }
    f->bytes += bytes;
    return bytes;
}

static int progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up, curl_off_t sent)
{
    struct qv_fetch *f = arg;
    (void)now;
    (void)up;
    (void)sent;
    if (total > 0 && (uint64_t)total > f->bytes_max) /* before it is all here */
        f->err = qv_fail(&f->msg, QV_ETOOBIG, "the file is longer than %llu bytes",
                         (unsigned long long)f->bytes_max);
    return atomic_load(f->stop) || f->err != 0;
}

static CURLcode set_up(const struct curl_lib *lib, CURL *c, struct qv_fetch *f,
                       struct curl_slist *headers)
{
    struct {
        CURLoption option;
        long value;
    } const longs[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_FAILONERROR, 1},
        {CURLOPT_FOLLOWLOCATION, 1},
        {CURLOPT_MAXREDIRS, REDIRECTS_MAX},
        {CURLOPT_CONNECTTIMEOUT, CONNECT_S},
        {CURLOPT_TIMEOUT, (long)f->timeout_s},
        {CURLOPT_LOW_SPEED_LIMIT, 1},
        {CURLOPT_LOW_SPEED_TIME, IDLE_S},
        {CURLOPT_NOPROGRESS, 0},
    };
    CURLcode err = lib->setopt(c, CURLOPT_URL, f->url);
    for (size_t i = 0; i < sizeof longs / sizeof longs[0] && err == CURLE_OK; i++)
        err = lib->setopt(c, longs[i].option, longs[i].value);
    if (err == CURLE_OK)
        err = lib->setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    if (err == CURLE_OK)
        err = lib->setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    if (err == CURLE_OK)
        err = lib->setopt(c, CURLOPT_WRITEFUNCTION, take);
    if (err == CURLE_OK)
        err = lib->setopt(c, CURLOPT_WRITEDATA, f);
    if (err == CURLE_OK)
        err = lib->setopt(c, CURLOPT_XFERINFOFUNCTION, progress);
    if (err == CURLE_OK)
        err = lib->setopt(c, CURLOPT_XFERINFODATA, f);
    if (err == CURLE_OK && headers != NULL)
        err = lib->setopt(c, CURLOPT_HTTPHEADER, headers);
    return err;
}

static int reason(const struct curl_lib *lib, struct qv_fetch *f, CURL *c, CURLcode code)
{
    long status = 0;
    if (f->err != 0)
        return f->err;
    if (atomic_load(f->stop))
        return qv_fail(&f->msg, QV_ECANCELED, "the node is shutting down");
    if (code == CURLE_HTTP_RETURNED_ERROR &&
        lib->getinfo(c, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK)
        return qv_fail(&f->msg, QV_EBADREQ, "Failed to download snapshot from %.200s: status %ld",
                       f->url, status);
    return qv_fail(&f->msg, code == CURLE_OPERATION_TIMEDOUT ? QV_ETIMEOUT : QV_EBADREQ,
                   "Failed to download snapshot from %.200s: %s", f->url, lib->strerror(code));
}

static int fetch(struct qv_fetch *f)
{
    char header[1024];
    struct curl_slist *headers = NULL;
    struct curl_lib lib;
    int err = load_curl(&lib, &f->msg);
    if (err != 0)
        return err;
    CURL *c = lib.init();
    CURLcode code = c == NULL ? CURLE_OUT_OF_MEMORY : CURLE_OK;
    if (f->api_key != NULL && code == CURLE_OK) {
        int n = snprintf(header, sizeof header, "api-key: %s", f->api_key);
        if (n >= 0 && n < (int)sizeof header)
            headers = lib.append(NULL, header);
        code = headers != NULL ? CURLE_OK : CURLE_OUT_OF_MEMORY;
    }
    if (code == CURLE_OK)
        code = set_up(&lib, c, f, headers);
    if (code == CURLE_OK)
        code = lib.perform(c);
    err = code == CURLE_OK && f->err == 0 ? 0 : reason(&lib, f, c, code);
    lib.free_all(headers);
    lib.cleanup(c);
    return err;
}

static void *run(void *arg)
{
    struct qv_fetch *f = arg;
    int err = 0;
    f->fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (f->fd < 0)
        err = qv_fail(&f->msg, qv_err_from_errno(errno), "%s: %s", f->path, strerror(errno));
    if (err == 0)
        err = fetch(f);
    if (f->fd >= 0)
        close(f->fd);
    if (err != 0 && f->fd >= 0)
        unlink(f->path);
    atomic_int *under_way = f->under_way;
    f->done(f, err); /* f may be gone now */
    atomic_fetch_sub(under_way, 1);
    return NULL;
}

/* libcurl's own global set-up happens in the first curl_easy_init: thread-safe since 7.84. */
int qv_fetch_start(struct qv_fetch *f)
{
    pthread_t thread;
    QV_ASSERT(f->done != NULL && f->url != NULL && f->path != NULL && f->under_way != NULL);
    f->fd = -1;
    if (atomic_fetch_add(f->under_way, 1) >= QV_FETCHES_MAX) {
        atomic_fetch_sub(f->under_way, 1);
        return qv_fail(&f->msg, QV_EBUSY, "%d snapshots are being downloaded", QV_FETCHES_MAX);
    }
    int failed = pthread_create(&thread, NULL, run, f);
    if (failed != 0) {
        atomic_fetch_sub(f->under_way, 1);
        return qv_fail(&f->msg, QV_ENOMEM, "no thread for the download: %s", strerror(failed));
    }
    pthread_detach(thread);
    return 0;
}
