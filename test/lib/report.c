#include "report.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void first_line(FILE *f, char *out, size_t n)
{
    out[0] = '\0';
    if (f != NULL && fgets(out, (int)n, f) != NULL)
        out[strcspn(out, "\n")] = '\0';
}

static void cpu_name(char *out, size_t n)
{
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    out[0] = '\0';
    while (f != NULL && out[0] == '\0' && fgets(line, sizeof line, f) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL)
            snprintf(out, n, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    }
    if (f != NULL)
        fclose(f);
}

json_t *report_begin(const char *schema, double seconds)
{
    char commit[128];
    char cpu[256];
    struct utsname u;
    FILE *git = popen("git describe --always --dirty --abbrev=12 2>/dev/null", "r");
    first_line(git, commit, sizeof commit);
    if (git != NULL)
        pclose(git);
    cpu_name(cpu, sizeof cpu);
    memset(&u, 0, sizeof u);
    (void)uname(&u);
    cpu_set_t set;
    CPU_ZERO(&set);
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    double gb =
        (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (double)(1u << 30);
    return json_pack("{s:s, s:s, s:{s:s, s:i, s:f, s:s}, s:f}", "schema", schema, "commit",
                     commit[0] != '\0' ? commit : "unknown", "machine", "cpu", cpu, "cores", cores,
                     "mem_gb", gb, "kernel", u.release, "seconds", seconds);
}

int report_end(json_t *j, const char *out)
{
    size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(8);
    char *text = json_dumps(j, flags);
    int err = text == NULL ? -1 : 0;
    if (text != NULL)
        puts(text);
    free(text);
    if (out != NULL && json_dump_file(j, out, flags) != 0) {
        fprintf(stderr, "%s can't be written\n", out);
        err = -1;
    }
    json_decref(j);
    return err;
}
