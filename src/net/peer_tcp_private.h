/* The inside of net/peer_tcp.h. Private to net.
 *
 * Who owns what. A call (peer_out) and a peer (peer_link) are made by the owner of env and handed
 * to the calling thread by way of `to_net`; a call comes back by `to_owner`, once. A cancel is a
 * note of its own, and comes back too: the call is freed when both have. A request (peer_in) lives
 * in the arena of its qv_call, is handed to the owner by `to_owner`, and ends with its answer. */
#ifndef QV_NET_PEER_TCP_PRIVATE_H
#define QV_NET_PEER_TCP_PRIVATE_H

#include "net/client.h"
#include "net/peer_auth.h"
#include "net/peer_tcp.h"
#include "net/server.h"
#include "net/tls.h"

#include <pthread.h>
#include <uv.h>

#define PEER_LANES 2u
#define PEER_SESSIONS 256u /* remembered as good; by the hash of their text */
#define PEER_WINDOW 128u   /* calls of a lane given to its connection at a time */
#define PEER_GREET_PATH "/quiver.internal.v1.Peers/Greet"
#define PEER_ASK_PATH "/quiver.internal.v1.Peers/Ask"
#define PEER_SESSION_HEADER "quiver-session"

enum peer_note_kind {
    NOTE_SEND,   /* to net: a peer_out */
    NOTE_CANCEL, /* to net: a peer_out's */
    NOTE_FORGET, /* to net: a peer_link */
    NOTE_END,    /* to owner: a peer_out has ended */
    NOTE_ACK,    /* to owner: its cancel was looked at */
    NOTE_GONE,   /* to owner: a peer_link is no longer used by the calling thread */
    NOTE_STATE,  /* to owner: a peer_link's state changed */
    NOTE_ASKED,  /* to owner: a peer_in */
    NOTE_HANG_UP /* to owner: a peer_in's caller went away */
};

struct peer_note {
    struct peer_note *next;
    enum peer_note_kind kind;
    void *what;
};

struct peer_notes {
    struct peer_note *first, *last;
};

struct peer_out {
    struct peer_note send, cancel, back;
    struct qv_peer_tcp *t;
    struct qv_peer_call *call; /* owner; net reads what its caller filled in, until the end */
    struct peer_link *link;    /* NULL: never given to net */
    struct peer_known *known;  /* owner; NULL: none, or forgotten since */
    uint8_t priority;
    size_t bytes;
    uint64_t begun_ns, deadline_ns;
    /* owner */
    struct peer_out *prev, *next;
    bool over, canceling, acked;
    /* net */
    struct peer_out *queue_prev, *queue_next; /* of its link: queued, or on a lane */
    bool queued, ended;
    struct qv_client_call *under_way;
    /* how it ended: net writes, then the owner reads */
    int err;
    bool remote, may_have_run;
    uint64_t incarnation;
    char text[QV_PEER_TEXT_BYTES_MAX];
    struct qv_buf answer; /* what body lies in */
    struct qv_bytes body;
};

struct peer_queue {
    struct peer_out *first, *last;
    uint32_t n;
};

enum peer_link_state { LINK_DOWN, LINK_LOOKING_UP, LINK_GREETING, LINK_UP };

struct peer_link {
    struct peer_note forget, gone;
    struct qv_peer_tcp *t;
    uint64_t id;
    char host[256];
    uint16_t port;
    /* net */
    struct peer_link *prev, *next;
    enum peer_link_state state;
    bool forgotten, looking_up;
    struct sockaddr_storage address;
    uv_getaddrinfo_t lookup;
    struct qv_client *clients[PEER_LANES];
    struct peer_queue queues[QV_PEER_PRIORITY_COUNT]; /* not sent */
    struct peer_queue lanes[PEER_LANES];              /* sent */
    uint64_t connect_by_ns, retry_ns;
    uint32_t backoff_ms;
    uint32_t protocol;
    uint8_t nonce[QV_PEER_NONCE_BYTES];
    char session[QV_PEER_SESSION_TEXT]; /* "": there is no secret */
    int why_err;
    char why[QV_PEER_TEXT_BYTES_MAX];
    unsigned n_clients; /* not freed yet */
};

/* A peer as the owner knows it. */
struct peer_known {
    uint64_t id;
    struct peer_link *link;
    uint32_t calls[QV_PEER_PRIORITY_COUNT];
    size_t bytes[QV_PEER_PRIORITY_COUNT];
    struct qv_peer_state state;
};

/* What net says of a link. */
struct peer_news {
    struct peer_note note;
    struct peer_link *link;
    struct qv_peer_state state;
};

struct peer_in {
    struct qv_peer_request pub; /* first */
    struct peer_note asked, hang_up;
    struct qv_peer_tcp *t;
    struct qv_call *call;
    uint32_t protocol;
    struct peer_in *prev, *next; /* owner: in handlers' hands */
    bool handed;
    /* owner_mutex: the hang-up is on its way to the owner. An answer given meanwhile waits for it:
     * the answer lets go of the memory that both live in. */
    bool hanging_up, answered;
};

/* A session that was found good: who shows it. */
struct peer_session {
    char text[QV_PEER_SESSION_TEXT];
    struct qv_peer_pair who;
};

struct qv_peer_tcp {
    struct qv_peers pub; /* first */
    struct qv_peer_self self;
    char secret[256];
    uint8_t key[QV_PEER_KEY_BYTES];
    struct qv_peer_tcp_config config; /* no zeros left; its strings are not ours, and not used */
    struct qv_net_server *server;
    struct peer_session sessions[PEER_SESSIONS]; /* the listening thread's */
    struct qv_tls_ctx *server_tls, *client_tls;
    /* owner */
    struct peer_known **known; /* ascending by id */
    uint32_t n_known, cap_known;
    struct peer_out *outs;
    struct peer_in *ins;
    struct {
        qv_peer_handler_f *run;
        void *arg;
    } handlers[QV_PEER_METHODS_MAX];
    struct peer_notes waiting[QV_PEER_PRIORITY_COUNT]; /* requests taken, not handled yet */
    bool closed;
    /* to the owner */
    pthread_mutex_t owner_mutex; /* guards to_owner, posted, closing */
    struct peer_notes to_owner;
    bool posted, closing;
    struct qv_task task;
    /* to the calling thread */
    pthread_mutex_t net_mutex; /* guards to_net, quit */
    struct peer_notes to_net;
    bool quit;
    uv_async_t async;
    /* the calling thread */
    pthread_t thread;
    uv_loop_t loop;
    uv_timer_t timer;
    bool ticking, ending;
    struct peer_link *links;
    struct qv_client **reap; /* to be closed outside of their callbacks */
    unsigned n_reap, cap_reap;
};

/* peer_tcp.c */
void qv_peer_notes_add(struct peer_notes *notes, struct peer_note *note);
/* To the owner, from any thread; what is given while it is closing is taken by the close. */
void qv_peer_give_back(struct qv_peer_tcp *t, struct peer_note *note);

/* peer_out.c: the calling thread */
int qv_peer_out_start(struct qv_peer_tcp *t, struct qv_errmsg *msg) QV_MUST_USE;
void qv_peer_out_note(struct qv_peer_tcp *t, struct peer_note *note); /* owner -> thread */
void qv_peer_out_stop(struct qv_peer_tcp *t); /* joins; all that was handed over is given back */

/* peer_session.c: the calling thread: connecting and greeting */
void qv_peer_link_connect(struct peer_link *link);
/* The session is over: what was sent ends as its connection does, what was not with err. */
void qv_peer_link_down(struct peer_link *link, int err, const char *why);
void qv_peer_link_tell(struct peer_link *link, uint64_t incarnation, uint32_t feature_level);
/* The client of a lane, made when it is first needed. NULL: it can't be. */
struct qv_client *qv_peer_link_client(struct peer_link *link, unsigned lane);
/* peer_out.c, for it */
void qv_peer_link_pump(struct peer_link *link);
void qv_peer_link_fail_queued(struct peer_link *link, int err, const char *why);
void qv_peer_link_free_if_done(struct peer_link *link);
uint64_t qv_peer_now_ns(struct qv_peer_tcp *t);

/* peer_in.c: the listening thread */
int qv_peer_in_start(struct qv_peer_tcp *t, struct qv_errmsg *msg) QV_MUST_USE;
/* peer_in.c: the owner */
void qv_peer_in_answer(struct qv_peer_request *request, int err, const struct qv_errmsg *msg,
                       struct qv_buf *body);
void qv_peer_in_take(struct peer_in *in); /* to its handler */
void qv_peer_in_hang_up(struct peer_in *in);
void qv_peer_in_refuse(struct peer_in *in); /* shutting down; its hang-up is not under way */

#endif
