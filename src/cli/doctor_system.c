/* quiver doctor: the machine beside its disk. */
#include "cli/doctor_look.h"

#include "simd/kernels.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#define NOFILE_GOOD 65536u
#define NOFILE_LEAST 1024u
#define MAP_COUNT_GOOD 65530u
#define YEAR_2024 1704067200

/* ---- findings ---- */

void qv_doctor_add(struct qv_doctor *d, const char *name, enum qv_doctor_level level,
                   const char *fmt, ...)
{
    va_list ap;
    if (d->count == QV_DOCTOR_FINDINGS_MAX)
        return;
    struct qv_doctor_finding *f = &d->findings[d->count++];
    f->name = name;
    f->level = level;
    f->advice[0] = '\0';
    va_start(ap, fmt);
    (void)vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
}

void qv_doctor_advise(struct qv_doctor *d, const char *fmt, ...)
{
    va_list ap;
    if (d->count == 0)
        return;
    struct qv_doctor_finding *f = &d->findings[d->count - 1];
    va_start(ap, fmt);
    (void)vsnprintf(f->advice, sizeof f->advice, fmt, ap);
    va_end(ap);
}

/* ---- files of the kernel ---- */

bool qv_doctor_read(const struct qv_doctor *d, const char *path, char *out, size_t n)
{
    char full[4096];
    (void)snprintf(full, sizeof full, "%s%s", d->root, path);
    FILE *f = fopen(full, "re");
    out[0] = '\0';
    if (f == NULL)
        return false;
    size_t got = fread(out, 1, n - 1, f);
    (void)fclose(f);
    out[got] = '\0';
    while (got > 0 && (out[got - 1] == '\n' || out[got - 1] == ' '))
        out[--got] = '\0';
    return true;
}

bool qv_doctor_read_field(const struct qv_doctor *d, const char *path, const char *name,
                          uint64_t *out)
{
    char text[8192];
    size_t n = strlen(name);
    if (!qv_doctor_read(d, path, text, sizeof text))
        return false;
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, name, n) == 0 && line[n] == ':') {
            *out = strtoull(line + n + 1, NULL, 10);
            return true;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return false;
}

static bool read_number(const struct qv_doctor *d, const char *path, uint64_t *out)
{
    char text[64];
    char *end = NULL;
    if (!qv_doctor_read(d, path, text, sizeof text))
        return false;
    *out = strtoull(text, &end, 10);
    return end != text;
}

/* ---- limits ---- */

static void look_open_files(struct qv_doctor *d)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    unsigned long long hard = limit.rlim_max;
    enum qv_doctor_level level = hard >= NOFILE_GOOD    ? QV_DOCTOR_OK
                                 : hard >= NOFILE_LEAST ? QV_DOCTOR_WARN
                                                        : QV_DOCTOR_FAIL;
    qv_doctor_add(d, "open files", level, "%llu, a node raises it to %llu",
                  (unsigned long long)limit.rlim_cur, hard);
    if (level != QV_DOCTOR_OK)
        qv_doctor_advise(d,
                         "a collection takes 8, a connection one: raise the hard limit to %u "
                         "(LimitNOFILE= in the unit, ulimit -Hn, /etc/security/limits.conf)",
                         NOFILE_GOOD);
}

void qv_doctor_look_limits(struct qv_doctor *d)
{
    struct rlimit limit;
    look_open_files(d);
    if (getrlimit(RLIMIT_AS, &limit) == 0) {
        bool bounded = limit.rlim_cur != RLIM_INFINITY;
        qv_doctor_add(d, "address space", bounded ? QV_DOCTOR_FAIL : QV_DOCTOR_OK, "%s",
                      bounded ? "limited" : "unlimited");
        if (bounded)
            qv_doctor_advise(d, "collections reserve addresses, not memory, by the terabyte: "
                                "ulimit -v unlimited; bound memory by a cgroup instead");
    }
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
        qv_doctor_add(d, "locked memory", QV_DOCTOR_OK, "not used");
    if (getrlimit(RLIMIT_CORE, &limit) == 0)
        qv_doctor_add(d, "core dumps", QV_DOCTOR_OK, "%s",
                      limit.rlim_cur == 0 ? "off" : "on: one would be as large as the process");
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        qv_doctor_add(d, "file size", QV_DOCTOR_FAIL, "limited to %llu bytes",
                      (unsigned long long)limit.rlim_cur);
        qv_doctor_advise(d, "writes beyond it are refused as on a full disk: ulimit -f unlimited");
    }
}

/* ---- memory ---- */

static void look_huge_pages(struct qv_doctor *d)
{
    char text[128];
    uint64_t total = 0;
    uint64_t unused = 0;
    uint64_t kb = 0;
    if (qv_doctor_read(d, "/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text)) {
        bool never = strstr(text, "[never]") != NULL;
        qv_doctor_add(d, "transparent huge pages", never ? QV_DOCTOR_WARN : QV_DOCTOR_OK, "%s",
                      text);
        if (never)
            qv_doctor_advise(d, "large collections are searched faster with them: echo madvise > "
                                "/sys/kernel/mm/transparent_hugepage/enabled");
    }
    if (!qv_doctor_read_field(d, "/proc/meminfo", "HugePages_Total", &total))
        return;
    (void)qv_doctor_read_field(d, "/proc/meminfo", "HugePages_Free", &unused);
    (void)qv_doctor_read_field(d, "/proc/meminfo", "Hugepagesize", &kb);
    bool wasted = total > 0 && unused == total;
    qv_doctor_add(d, "reserved huge pages", wasted ? QV_DOCTOR_WARN : QV_DOCTOR_OK,
                  "%" PRIu64 ", %" PRIu64 " free", total, unused);
    if (wasted)
        qv_doctor_advise(d, "a node does not use them: %" PRIu64 " MB are lost; vm.nr_hugepages=0",
                         total * kb / 1024);
}

static void look_kernel_settings(struct qv_doctor *d)
{
    uint64_t v = 0;
    if (read_number(d, "/proc/sys/vm/max_map_count", &v)) {
        qv_doctor_add(d, "vm.max_map_count", v < MAP_COUNT_GOOD ? QV_DOCTOR_WARN : QV_DOCTOR_OK,
                      "%" PRIu64, v);
        if (v < MAP_COUNT_GOOD)
            qv_doctor_advise(d, "many collections need more mappings: sysctl vm.max_map_count=%u",
                             MAP_COUNT_GOOD);
    }
    if (read_number(d, "/proc/sys/vm/overcommit_memory", &v)) {
        qv_doctor_add(d, "vm.overcommit_memory", v == 2 ? QV_DOCTOR_WARN : QV_DOCTOR_OK, "%" PRIu64,
                      v);
        if (v == 2)
            qv_doctor_advise(d, "memory can be refused while there is some: a node then answers "
                                "507 or ends; sysctl vm.overcommit_memory=0");
    }
}

static void look_swap(struct qv_doctor *d)
{
    uint64_t total = 0;
    uint64_t swappiness = 60;
    if (!qv_doctor_read_field(d, "/proc/meminfo", "SwapTotal", &total))
        return;
    (void)read_number(d, "/proc/sys/vm/swappiness", &swappiness);
    bool eager = total > 0 && swappiness > 10;
    qv_doctor_add(d, "swap", eager ? QV_DOCTOR_WARN : QV_DOCTOR_OK,
                  "%" PRIu64 " MB, swappiness %" PRIu64, total / 1024, swappiness);
    if (eager)
        qv_doctor_advise(d, "graphs that are swapped out make searches a thousand times slower: "
                            "sysctl vm.swappiness=1, or no swap");
}

/* The cgroup's folder below /sys/fs/cgroup: the line "0::/path" of version 2. */
static void cgroup_path(const struct qv_doctor *d, char *out, size_t n, const char *file)
{
    char text[4096];
    const char *path = "";
    if (qv_doctor_read(d, "/proc/self/cgroup", text, sizeof text)) {
        char *line = strstr(text, "0::/");
        if (line != NULL) {
            path = line + 3;
            line[3 + strcspn(path, "\n")] = '\0';
        }
    }
    (void)snprintf(out, n, "/sys/fs/cgroup%.2000s/%s", strcmp(path, "/") == 0 ? "" : path, file);
}

static bool cgroup_read(const struct qv_doctor *d, const char *file, char *out, size_t n)
{
    char path[2200];
    char flat[128];
    cgroup_path(d, path, sizeof path, file);
    (void)snprintf(flat, sizeof flat, "/sys/fs/cgroup/%s", file);
    /* Inside a container the own group is the root of what is seen. */
    return qv_doctor_read(d, path, out, n) || qv_doctor_read(d, flat, out, n);
}

/* Version 2, else version 1, which says "no limit" by a number beyond all memory. */
static bool read_memory_limit(const struct qv_doctor *d, char *text, size_t n)
{
    if (cgroup_read(d, "memory.max", text, n))
        return strcmp(text, "max") != 0;
    return qv_doctor_read(d, "/sys/fs/cgroup/memory/memory.limit_in_bytes", text, n) &&
           strtoull(text, NULL, 10) < 1ull << 60;
}

static void look_cgroup(struct qv_doctor *d)
{
    char text[128];
    bool memory = read_memory_limit(d, text, sizeof text);
    if (memory) {
        uint64_t mb = strtoull(text, NULL, 10) >> 20;
        qv_doctor_add(d, "cgroup memory", mb < 512 ? QV_DOCTOR_WARN : QV_DOCTOR_OK,
                      "%" PRIu64 " MB", mb);
        if (mb < 512)
            qv_doctor_advise(d, "beyond it the kernel kills the node: give it vectors x 4 bytes x "
                                "dimensions and half as much again");
    }
    if (cgroup_read(d, "cpu.max", text, sizeof text) && strncmp(text, "max", 3) != 0) {
        char *end = NULL;
        double quota = (double)strtoull(text, &end, 10);
        double period = (double)strtoull(end, NULL, 10);
        double cpus = period > 0 ? quota / period : 0;
        qv_doctor_add(d, "cgroup CPU", QV_DOCTOR_WARN, "%.2f processors", cpus);
        qv_doctor_advise(d,
                         "a node starts a thread a core and is stopped when the quota is used "
                         "up: storage.performance.max_search_threads=%d, or use cpusets",
                         cpus < 1 ? 1 : (int)cpus);
    } else if (!memory) {
        qv_doctor_add(d, "cgroup", QV_DOCTOR_OK, "no limits");
    }
}

void qv_doctor_look_memory(struct qv_doctor *d)
{
    uint64_t total = 0;
    uint64_t available = 0;
    if (qv_doctor_read_field(d, "/proc/meminfo", "MemTotal", &total) &&
        qv_doctor_read_field(d, "/proc/meminfo", "MemAvailable", &available)) {
        bool little = available < 256 * 1024;
        qv_doctor_add(d, "memory", little ? QV_DOCTOR_WARN : QV_DOCTOR_OK,
                      "%" PRIu64 " MB, %" PRIu64 " MB available", total / 1024, available / 1024);
        if (little)
            qv_doctor_advise(d, "vectors and graphs are kept in memory: free some");
    }
    look_huge_pages(d);
    look_kernel_settings(d);
    look_swap(d);
    look_cgroup(d);
}

/* ---- processor, clock, ports ---- */

void qv_doctor_look_cpu(struct qv_doctor *d)
{
    cpu_set_t set;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int usable = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)online;
    qv_doctor_add(d, "cores", usable < online ? QV_DOCTOR_WARN : QV_DOCTOR_OK, "%d of %ld", usable,
                  online);
    if (usable < online)
        qv_doctor_advise(d,
                         "a node starts a thread for each core that is online: set "
                         "storage.performance.max_search_threads=%d",
                         usable);
    bool slow = qv_simd_isa_best() == QV_ISA_SERIAL;
    qv_doctor_add(d, "instruction set", slow ? QV_DOCTOR_WARN : QV_DOCTOR_OK, "%s",
                  qv_simd_isa_name(qv_simd_isa_best()));
    if (slow)
        qv_doctor_advise(d, "neither AVX2 nor NEON: searches take several times as long; does the "
                            "virtual machine hide the processor's features?");
}

void qv_doctor_look_clock(struct qv_doctor *d)
{
    struct timex t = {.modes = 0};
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec < YEAR_2024) {
        qv_doctor_add(d, "clock", QV_DOCTOR_FAIL, "it is %lld seconds after 1970",
                      (long long)now.tv_sec);
        qv_doctor_advise(d, "changes are stamped with it: set the clock before a node starts");
        return;
    }
    int state = adjtimex(&t);
    if (state < 0) {
        qv_doctor_add(d, "clock", QV_DOCTOR_WARN, "can't be asked: %s", strerror(errno));
        qv_doctor_advise(d, "see that chrony, systemd-timesyncd or the host keeps it right");
        return;
    }
    bool good = state != TIME_ERROR && (t.status & STA_UNSYNC) == 0;
    qv_doctor_add(d, "clock", good ? QV_DOCTOR_OK : QV_DOCTOR_WARN,
                  good ? "synchronised, error at most %ld ms" : "not synchronised (error %ld ms)",
                  t.maxerror / 1000);
    if (!good)
        qv_doctor_advise(d, "one node copes, several must agree to a second: install chrony or "
                            "systemd-timesyncd");
}

void qv_doctor_look_ports(struct qv_doctor *d)
{
    static const char *const names[] = {"HTTP port", "gRPC port"};
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)d->ports[i])};
        int one = 1;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        bool taken = bind(fd, (const struct sockaddr *)&at, sizeof at) != 0;
        int why = errno;
        close(fd);
        qv_doctor_add(d, names[i], taken ? QV_DOCTOR_WARN : QV_DOCTOR_OK, "%u: %s", d->ports[i],
                      taken ? strerror(why) : "free");
        if (taken)
            qv_doctor_advise(d, "a node is running already, or another program: --http-port, "
                                "--grpc-port choose others (ss -ltnp tells whose it is)");
    }
}
