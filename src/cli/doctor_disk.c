/* quiver doctor: the disk under the data. */
#include "cli/doctor_look.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define PROBE_BYTES (4 << 20)
#define PROBE_WRITES 50
#define PROBE_WRITE_BYTES 4096
#define PROBE_NS_MAX 1500000000ull
#define SLOW_US 20000u
#define GB (1024.0 * 1024.0 * 1024.0)

/* ---- file system ---- */

struct mount {
    char type[64], options[600];
    size_t length; /* of its mount point */
};

/* Octal escapes (\040) of mountinfo, in place. */
static void unescape(char *s)
{
    char *out = s;
    while (*s != '\0') {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] != '\0' && s[3] != '\0') {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

static bool is_below(const char *dir, const char *point)
{
    size_t n = strlen(point);
    if (strcmp(point, "/") == 0)
        return true;
    return strncmp(dir, point, n) == 0 && (dir[n] == '/' || dir[n] == '\0');
}

/* "36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/sda rw,barrier=0": the last one that
 * covers dir, for a later mount hides an earlier. */
static void read_mount(char *line, const char *dir, struct mount *m)
{
    char *fields[64];
    int n = 0;
    int dash = -1;
    char *rest = line;
    for (char *word; n < 64 && (word = strsep(&rest, " \n")) != NULL;) {
        if (dash < 0 && n > 5 && strcmp(word, "-") == 0)
            dash = n;
        fields[n++] = word;
    }
    if (dash < 0 || dash + 3 >= n)
        return;
    unescape(fields[4]);
    if (!is_below(dir, fields[4]) || strlen(fields[4]) < m->length)
        return;
    m->length = strlen(fields[4]);
    (void)snprintf(m->type, sizeof m->type, "%s", fields[dash + 1]);
    (void)snprintf(m->options, sizeof m->options, "%s,%s", fields[5], fields[dash + 3]);
}

static bool find_mount(const struct qv_doctor *d, const char *dir, struct mount *m)
{
    char path[4096];
    char line[8192];
    memset(m, 0, sizeof *m);
    (void)snprintf(path, sizeof path, "%s/proc/self/mountinfo", d->root);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    while (fgets(line, sizeof line, f) != NULL)
        read_mount(line, dir, m);
    (void)fclose(f);
    return m->type[0] != '\0';
}

static bool has_option(const char *options, const char *wanted)
{
    size_t n = strlen(wanted);
    for (const char *p = options; p != NULL; p = strchr(p, ',')) {
        p += *p == ',';
        if (strncmp(p, wanted, n) == 0 && (p[n] == ',' || p[n] == '\0'))
            return true;
    }
    return false;
}

static const struct {
    const char *type, *advice;
} doubtful[] = {
    {"nfs", "locks and syncs go over the network: use a local disk"},
    {"nfs4", "locks and syncs go over the network: use a local disk"},
    {"cifs", "locks and syncs go over the network: use a local disk"},
    {"smb3", "locks and syncs go over the network: use a local disk"},
    {"9p", "syncs may not reach a disk: use a local disk"},
    {"virtiofs", "syncs may not reach a disk: use a local disk"},
    {"tmpfs", "its data is memory and gone when the machine stops: use a disk"},
    {"ramfs", "its data is memory and gone when the machine stops: use a disk"},
    {"overlay", "a container's own layer: slow, and gone with the container; mount a volume"},
    {"aufs", "a container's own layer: slow, and gone with the container; mount a volume"},
    {"btrfs", "copy on write makes the log slow: chattr +C on the folder before the first start"},
    {"vfat", "no locks, no holes, files up to 4 GB: use ext4 or xfs"},
    {"exfat", "no holes, and a power cut damages it: use ext4 or xfs"},
    {"ntfs3", "syncs are doubtful: use ext4 or xfs"},
};

static const char *doubt(const char *type)
{
    if (strncmp(type, "fuse", 4) == 0)
        return "a program serves it: whether a sync reaches a disk is its business; use a local "
               "disk";
    for (size_t i = 0; i < sizeof doubtful / sizeof doubtful[0]; i++) {
        if (strcmp(type, doubtful[i].type) == 0)
            return doubtful[i].advice;
    }
    return NULL;
}

static void look_mount(struct qv_doctor *d, const char *dir)
{
    static const char *const unsafe[] = {"nobarrier", "barrier=0", "data=writeback"};
    struct mount m;
    if (!find_mount(d, dir, &m)) {
        qv_doctor_add(d, "file system", QV_DOCTOR_WARN, "not known");
        qv_doctor_advise(d, "ext4 and xfs are tested");
        return;
    }
    const char *advice = doubt(m.type);
    qv_doctor_add(d, "file system", advice != NULL ? QV_DOCTOR_WARN : QV_DOCTOR_OK, "%s of %.120s",
                  m.type, dir);
    if (advice != NULL)
        qv_doctor_advise(d, "%s", advice);
    if (has_option(m.options, "ro")) {
        qv_doctor_add(d, "mount options", QV_DOCTOR_FAIL, "mounted for reading only");
        qv_doctor_advise(d, "mount -o remount,rw; an error of the disk does this too: see dmesg");
        return;
    }
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++) {
        if (!has_option(m.options, unsafe[i]))
            continue;
        qv_doctor_add(d, "mount options", QV_DOCTOR_WARN, "%s", unsafe[i]);
        qv_doctor_advise(d, "a power cut may take acknowledged writes: mount without %s",
                         unsafe[i]);
        return;
    }
    qv_doctor_add(d, "mount options", QV_DOCTOR_OK, "%.150s", m.options);
}

/* ---- room ---- */

static void look_room(struct qv_doctor *d)
{
    struct statvfs v;
    if (statvfs(d->dir, &v) != 0)
        return;
    double free_gb = (double)v.f_bavail * (double)v.f_frsize / GB;
    double part = v.f_blocks > 0 ? (double)v.f_bavail / (double)v.f_blocks : 1;
    enum qv_doctor_level level = free_gb < 1  ? QV_DOCTOR_FAIL
                                 : part < 0.1 ? QV_DOCTOR_WARN
                                              : QV_DOCTOR_OK;
    qv_doctor_add(d, "free disk", level, "%.1f GB (%.0f %%)", free_gb, part * 100);
    if (level != QV_DOCTOR_OK)
        qv_doctor_advise(d, "log, checkpoints and data need at least twice what the vectors take: "
                            "writes answer 507 when it is full");
    if (v.f_files == 0)
        return; /* made as they are needed */
    double left = (double)v.f_favail / (double)v.f_files;
    level = left < 0.01 ? QV_DOCTOR_FAIL : left < 0.05 ? QV_DOCTOR_WARN : QV_DOCTOR_OK;
    qv_doctor_add(d, "free inodes", level, "%llu (%.0f %%)", (unsigned long long)v.f_favail,
                  left * 100);
    if (level != QV_DOCTOR_OK)
        qv_doctor_advise(d, "a collection makes some 20 files: delete small files, or use another "
                            "file system");
}

/* ---- writing ---- */

static uint64_t now_ns(void)
{
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare_times(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* As the log does it: a block into preallocated room, then a sync. Gives how many were timed, or
 * -errno. */
static int time_syncs(int fd, uint64_t us[PROBE_WRITES])
{
    static const char block[PROBE_WRITE_BYTES] = {1};
    uint64_t begin = now_ns();
    int n = 0;
    while (n < PROBE_WRITES && (n < 3 || now_ns() - begin < PROBE_NS_MAX)) {
        uint64_t from = now_ns();
        if (pwrite(fd, block, sizeof block, (off_t)n * PROBE_WRITE_BYTES) != (ssize_t)sizeof block)
            return -errno;
        if (fdatasync(fd) != 0)
            return -errno;
        us[n++] = (now_ns() - from) / 1000;
    }
    return n;
}

static void tell_syncs(struct qv_doctor *d, uint64_t *us, int n)
{
    qsort(us, (size_t)n, sizeof *us, compare_times);
    unsigned long long middle = us[n / 2];
    unsigned long long most = us[n - 1];
    qv_doctor_add(d, "sync", middle > SLOW_US ? QV_DOCTOR_WARN : QV_DOCTOR_OK,
                  "4 KB and fdatasync: median %llu us, longest %llu us", middle, most);
    if (middle > SLOW_US)
        qv_doctor_advise(d, "every acknowledged write waits for one: use an SSD, larger batches, "
                            "more writers at a time");
}

static void look_writing(struct qv_doctor *d)
{
    char path[4200];
    uint64_t us[PROBE_WRITES];
    (void)snprintf(path, sizeof path, "%s/.quiver-doctor-XXXXXX", d->dir);
    int fd = mkstemp(path);
    if (fd < 0) {
        qv_doctor_add(d, "writing", QV_DOCTOR_FAIL, "%.100s: %s", d->dir, strerror(errno));
        qv_doctor_advise(d, "the user who runs the node must own it: chown quiver: %.150s", d->dir);
        return;
    }
    (void)unlink(path);
    int err = posix_fallocate(fd, 0, PROBE_BYTES);
    int n = err == 0 ? time_syncs(fd, us) : -err;
    close(fd);
    if (n < 0) {
        qv_doctor_add(d, "writing", QV_DOCTOR_FAIL, "%.100s: %s", d->dir, strerror(-n));
        qv_doctor_advise(d, "a node can't keep data there");
        return;
    }
    qv_doctor_add(d, "writing", QV_DOCTOR_OK, "allowed");
    tell_syncs(d, us, n);
}

/* A node holds this lock while it runs (io/dir_lock.h). */
static void look_lock(struct qv_doctor *d)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/lock", d->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
    close(fd);
    qv_doctor_add(d, "in use", QV_DOCTOR_OK, "%s", held ? "a node is running on it" : "no");
}

void qv_doctor_look_disk(struct qv_doctor *d)
{
    char place[PATH_MAX];
    const char *real = realpath(d->dir, place);
    struct stat st;
    if (real == NULL || stat(real, &st) != 0 || !S_ISDIR(st.st_mode)) {
        qv_doctor_add(d, "folder", QV_DOCTOR_FAIL, "%.120s: %s", d->dir,
                      real == NULL ? strerror(errno) : "not a folder");
        qv_doctor_advise(d, "make it, or name another with --dir");
    } else {
        look_mount(d, real);
        look_room(d);
        look_lock(d);
        look_writing(d);
    }
}
