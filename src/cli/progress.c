#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_EVERY_NS 100000000ull
#define LINE_EVERY_NS 5000000000ull
#define RATE_OVER_NS 2000000000ull
#define BAR_CELLS 24

uint64_t qv_progress_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void qv_progress_init(struct qv_progress *p, const char *label, const char *unit, uint64_t done,
                      uint64_t total)
{
    memset(p, 0, sizeof *p);
    p->label = label;
    p->unit = unit;
    p->total = total;
    p->done = p->start_done = done;
    p->start_ns = p->drawn_ns = qv_progress_now_ns();
    p->marks[0] = p->marks[1] = (struct qv_progress_mark){.ns = p->start_ns, .done = done};
    p->terminal = isatty(2) == 1;
}

static void format_eta(const struct qv_progress *p, char *out, size_t n)
{
    double left = p->rate > 0 ? (double)(p->total - p->done) / p->rate : -1;
    if (p->total == 0 || left < 0 || left > 360000)
        (void)snprintf(out, n, "--:--");
    else
        (void)snprintf(out, n, "%02u:%02u", (unsigned)left / 60, (unsigned)left % 60);
}

static void draw(struct qv_progress *p)
{
    char bar[BAR_CELLS + 1];
    char eta[16];
    double part = p->total > 0 ? (double)p->done / (double)p->total : 0;
    int full = (int)(part * BAR_CELLS);
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    format_eta(p, eta, sizeof eta);
    if (p->terminal)
        fprintf(stderr, "\r%s [%s] %3.0f%% ", p->label, bar, part * 100);
    else
        fprintf(stderr, "%s ", p->label);
    fprintf(stderr, "%llu/%llu %s, %.0f/s", (unsigned long long)p->done,
            (unsigned long long)p->total, p->unit, p->rate);
    if (p->bytes > 0)
        fprintf(stderr, ", %.1f MB/s", p->bytes_rate / 1e6);
    fprintf(stderr, ", ETA %s%s", eta, p->terminal ? "  \x1b[K" : "\n");
    p->drawn = true;
}

static void set_rates(struct qv_progress *p, const struct qv_progress_mark *since, uint64_t now_ns)
{
    double s = (double)(now_ns - since->ns) / 1e9;
    if (s <= 0 || p->done < since->done)
        return;
    p->rate = (double)(p->done - since->done) / s;
    p->bytes_rate = (double)(p->bytes - since->bytes) / s;
}

void qv_progress_update(struct qv_progress *p, uint64_t done, uint64_t bytes)
{
    uint64_t now = qv_progress_now_ns();
    p->done = done;
    p->bytes = bytes;
    if (now - p->drawn_ns < (p->terminal ? TERMINAL_EVERY_NS : LINE_EVERY_NS))
        return;
    set_rates(p, &p->marks[0], now);
    if (now - p->marks[1].ns > RATE_OVER_NS) {
        p->marks[0] = p->marks[1];
        p->marks[1] = (struct qv_progress_mark){.ns = now, .done = done, .bytes = bytes};
    }
    draw(p);
    p->drawn_ns = now;
}

void qv_progress_finish(struct qv_progress *p)
{
    if (!p->drawn)
        return;
    const struct qv_progress_mark start = {.ns = p->start_ns, .done = p->start_done};
    set_rates(p, &start, qv_progress_now_ns());
    draw(p);
    if (p->terminal)
        fputc('\n', stderr);
}
