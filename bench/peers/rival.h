/* What the peer programs of `make bench-index` share: input files, the clock, memory, and the lines
 * that they speak with tools/bench_index (docs/benchmarks.md, "How an engine is asked").
 *
 * A peer derives from `peer` and calls peer_main. It is asked one query at a time on one thread.
 * Everything that asking needs but the index itself is set up before memory is first read, so that
 * the growth is the index. */
#ifndef QUIVER_BENCH_PEER_H
#define QUIVER_BENCH_PEER_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <malloc.h>
#include <map>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <vector>

constexpr size_t K = 10;

[[noreturn]] inline void die(const std::string &text)
{
    fprintf(stderr, "peer: %s\n", text.c_str());
    exit(2);
}

inline double clock_s(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A .fbin or .ibin, mapped: u32 rows, u32 dimensions, then rows of 4-byte elements. */
struct vectors {
    size_t rows = 0, dim = 0, bytes = 0;
    const char *map = nullptr;

    void open(const std::string &path)
    {
        const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) != 0 || st.st_size < 8)
            die("cannot read " + path);
        bytes = (size_t)st.st_size;
        map = (const char *)mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        ::close(fd);
        uint32_t head[2];
        if (map == MAP_FAILED)
            die("cannot map " + path);
        memcpy(head, map, 8);
        rows = head[0];
        dim = head[1];
        if (rows == 0 || dim == 0 || bytes != 8 + rows * dim * 4)
            die(path + " is not what its head says");
    }
    void close()
    {
        if (map != nullptr)
            munmap((void *)map, bytes);
        map = nullptr;
    }
    const float *row(size_t i) const
    {
        return (const float *)(map + 8) + i * dim;
    }
    const uint32_t *ids(size_t i) const
    {
        return (const uint32_t *)(map + 8) + i * dim;
    }
};

inline void to_unit_length(float *row, size_t dim)
{
    double sum = 0;
    for (size_t j = 0; j < dim; j++)
        sum += (double)row[j] * row[j];
    const float scale = sum > 0 ? (float)(1 / std::sqrt(sum)) : 0;
    for (size_t j = 0; j < dim; j++)
        row[j] *= scale;
}

/* Rows in memory of their own, of unit length for cosine; given back in one piece by drop(). */
struct matrix {
    size_t rows = 0, dim = 0;
    float *at = nullptr;

    void copy(const vectors &from, size_t n, bool unit)
    {
        rows = n;
        dim = from.dim;
        at = (float *)mmap(nullptr, rows * dim * 4, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED)
            die("no memory for the rows");
        memcpy(at, from.row(0), rows * dim * 4);
        if (unit)
            for (size_t i = 0; i < rows; i++)
                to_unit_length(at + i * dim, dim);
    }
    void drop()
    {
        if (at != nullptr)
            munmap(at, rows * dim * 4);
        at = nullptr;
    }
    const float *row(size_t i) const
    {
        return at + i * dim;
    }
};

struct options {
    std::string base, query, gt, metric = "l2", variant, index;
    size_t queries = SIZE_MAX, m = 16, ef_construct = 200;

    void parse(int argc, char **argv)
    {
        std::map<std::string, std::string *> texts = {
            {"--base", &base},     {"--query", &query},     {"--gt", &gt},
            {"--metric", &metric}, {"--variant", &variant}, {"--index", &index}};
        std::map<std::string, size_t *> numbers = {
            {"--queries", &queries}, {"--m", &m}, {"--ef-construct", &ef_construct}};
        for (int i = 1; i + 1 < argc; i += 2) {
            if (texts.count(argv[i]))
                *texts[argv[i]] = argv[i + 1];
            else if (numbers.count(argv[i]))
                *numbers[argv[i]] = strtoul(argv[i + 1], nullptr, 10);
            else
                die(std::string("unknown option ") + argv[i]);
        }
        if (base.empty() || query.empty() || gt.empty())
            die("--base, --query and --gt are needed");
        if (metric != "l2" && metric != "cosine")
            die("--metric is l2 or cosine");
    }
    bool cosine() const
    {
        return metric == "cosine";
    }
};

class peer
{
  public:
    virtual ~peer() = default;
    virtual std::string version() const = 0;
    virtual void build(const matrix &base, const options &opt) = 0;
    virtual bool can_save() const
    {
        return true;
    }
    virtual void save(const std::string &path) = 0;
    virtual void load(const std::string &path, size_t dim, const options &opt) = 0;
    virtual void set(const std::string &name, double value) = 0;
    virtual void ask(const float *query, uint32_t *ids) = 0; /* K of them, any order */
    virtual void prepare(const matrix &)
    {
    } /* the queries, before memory is read */
    virtual void ask_number(size_t, const float *query, uint32_t *ids)
    {
        ask(query, ids);
    }
};

struct memory_use {
    long long rss = 0, anon = 0, file = 0, read = 0;
};

inline memory_use read_memory()
{
    memory_use m;
    char line[256];
    struct {
        const char *file, *name;
        long long *to;
        long long unit;
    } fields[] = {{"/proc/self/status", "VmRSS:", &m.rss, 1024},
                  {"/proc/self/status", "RssAnon:", &m.anon, 1024},
                  {"/proc/self/status", "RssFile:", &m.file, 1024},
                  {"/proc/self/io", "read_bytes:", &m.read, 1}};
    for (auto &field : fields) {
        FILE *f = fopen(field.file, "r");
        while (f != nullptr && fgets(line, sizeof line, f) != nullptr)
            if (strncmp(line, field.name, strlen(field.name)) == 0)
                *field.to = strtoll(line + strlen(field.name), nullptr, 10) * field.unit;
        if (f != nullptr)
            fclose(f);
    }
    return m;
}

/* Row numbers that count as hits: not farther than the true tenth. */
struct truth {
    std::vector<std::vector<uint32_t>> near;

    static double distance(const float *a, const float *b, size_t dim)
    {
        double sum = 0;
        for (size_t j = 0; j < dim; j++)
            sum += ((double)a[j] - b[j]) * ((double)a[j] - b[j]);
        return sum;
    }
    void read(const options &opt, const vectors &base, const matrix &query)
    {
        vectors gt;
        gt.open(opt.gt);
        if (gt.rows < query.rows || gt.dim < K)
            die(opt.gt + " holds too little");
        near.resize(query.rows);
        std::vector<float> row(base.dim);
        const auto of = [&](size_t q, uint32_t id) {
            if (id >= base.rows)
                die(opt.gt + " names a row that is not there");
            memcpy(row.data(), base.row(id), base.dim * 4);
            if (opt.cosine())
                to_unit_length(row.data(), base.dim);
            return distance(query.row(q), row.data(), base.dim);
        };
        for (size_t q = 0; q < query.rows; q++) {
            const uint32_t *ids = gt.ids(q);
            const double bound = of(q, ids[K - 1]) * (1 + 1e-6);
            near[q].assign(ids, ids + K);
            for (size_t j = K; j < gt.dim && of(q, ids[j]) <= bound; j++)
                near[q].push_back(ids[j]);
        }
        gt.close();
    }
    uint64_t hits(size_t q, const uint32_t *ids) const
    {
        uint64_t n = 0;
        for (size_t i = 0; i < K; i++)
            n += std::find(near[q].begin(), near[q].end(), ids[i]) != near[q].end();
        return n;
    }
};

inline double quantile(std::vector<float> v, double p)
{
    if (v.empty())
        return 0;
    const size_t at = std::min(v.size() - 1, (size_t)(p * (double)v.size()));
    std::nth_element(v.begin(), v.begin() + (long)at, v.end());
    return v[at];
}

class session
{
  public:
    session(peer &p, const options &o) : engine(p), opt(o)
    {
    }

    void open()
    {
        base.open(opt.base);
        vectors q;
        q.open(opt.query);
        if (q.dim != base.dim)
            die("base and queries differ in dimension");
        query.copy(q, std::min(q.rows, opt.queries), opt.cosine());
        q.close();
        gold.read(opt, base, query);
        found.resize(query.rows * K);
        fastest.assign(query.rows, INFINITY);
        calls.reserve(query.rows * 64);
        engine.prepare(query);
        base.close();
        before = read_memory();
        base.open(opt.base);
    }
    void make(const char *name)
    {
        double wall = 0, cpu = 0;
        const bool there = !opt.index.empty() && access(opt.index.c_str(), R_OK) == 0;
        const size_t rows = base.rows, dim = base.dim;
        if (there) {
            engine.load(opt.index, dim, opt);
        } else {
            matrix m;
            m.copy(base, base.rows, opt.cosine());
            wall = clock_s(CLOCK_MONOTONIC);
            cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);
            engine.build(m, opt);
            wall = clock_s(CLOCK_MONOTONIC) - wall;
            cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
            m.drop();
            if (!opt.index.empty() && engine.can_save()) {
                engine.save(opt.index + ".part");
                if (rename((opt.index + ".part").c_str(), opt.index.c_str()) != 0)
                    die("cannot write " + opt.index);
            }
        }
        base.close();
        malloc_trim(0);
        printf("{\"ready\":true,\"engine\":\"%s\",\"version\":\"%s\",\"rows\":%zu,\"dim\":%zu,"
               "\"queries\":%zu,\"loaded\":%s,\"build_s\":%.3f,\"build_cpu_s\":%.3f}\n",
               name, engine.version().c_str(), rows, dim, query.rows, there ? "true" : "false",
               wall, cpu);
        fflush(stdout);
    }
    void serve()
    {
        char line[256], what[64];
        while (fgets(line, sizeof line, stdin) != nullptr) {
            size_t from = 0, count = 0;
            if (sscanf(line, "ask %63s %zu %zu", what, &from, &count) == 3)
                ask(what, from, count);
            else if (strncmp(line, "stats", 5) == 0)
                stats();
            else if (strncmp(line, "memory", 6) == 0)
                memory();
            else if (strncmp(line, "quit", 4) == 0)
                break;
            else
                die(std::string("what is ") + line);
            fflush(stdout);
        }
    }

  private:
    peer &engine;
    const options &opt;
    vectors base;
    matrix query;
    truth gold;
    std::vector<uint32_t> found;
    std::vector<float> fastest, calls; /* us */
    memory_use before;
    std::string now;

    void set(const char *what)
    {
        if (now == what)
            return;
        now = what;
        std::string rest = what;
        while (!rest.empty()) {
            const size_t comma = std::min(rest.find(','), rest.size());
            const std::string word = rest.substr(0, comma);
            const size_t eq = word.find('=');
            if (eq == std::string::npos)
                die("no value in " + word);
            engine.set(word.substr(0, eq), atof(word.c_str() + eq + 1));
            rest = rest.substr(std::min(comma + 1, rest.size()));
        }
    }
    void ask(const char *what, size_t from, size_t count)
    {
        set(what);
        const memory_use m = read_memory();
        double wall = 0;
        const double cpu = clock_s(CLOCK_THREAD_CPUTIME_ID);
        for (size_t i = 0; i < count; i++) {
            const size_t q = (from + i) % query.rows;
            const double t = clock_s(CLOCK_MONOTONIC);
            engine.ask_number(q, query.row(q), &found[q * K]);
            const double s = clock_s(CLOCK_MONOTONIC) - t;
            wall += s;
            fastest[q] = std::min(fastest[q], (float)(s * 1e6));
            calls.push_back((float)(s * 1e6));
        }
        const double used = clock_s(CLOCK_THREAD_CPUTIME_ID) - cpu;
        uint64_t hits = 0;
        for (size_t i = 0; i < count; i++)
            hits += gold.hits((from + i) % query.rows, &found[(from + i) % query.rows * K]);
        printf("{\"wall_s\":%.6f,\"cpu_s\":%.6f,\"hits\":%llu,\"read_bytes\":%lld}\n", wall, used,
               (unsigned long long)hits, read_memory().read - m.read);
    }
    void stats()
    {
        std::vector<float> asked;
        for (float us : fastest)
            if (std::isfinite(us))
                asked.push_back(us);
        printf("{\"calls\":%zu,\"queries\":%zu,\"p50_us\":%.2f,\"p99_us\":%.2f,"
               "\"p50_min_of_passes_us\":%.2f,\"p99_min_of_passes_us\":%.2f}\n",
               calls.size(), asked.size(), quantile(calls, 0.5), quantile(calls, 0.99),
               quantile(asked, 0.5), quantile(asked, 0.99));
        calls.clear();
        std::fill(fastest.begin(), fastest.end(), INFINITY);
    }
    void memory()
    {
        const memory_use m = read_memory();
        printf("{\"memory_bytes\":%lld,\"memory_anon_bytes\":%lld,\"memory_file_bytes\":%lld,"
               "\"page_cache_bytes\":0}\n",
               m.rss - before.rss, m.anon - before.anon, m.file - before.file);
    }
};

inline int peer_main(peer &engine, const char *name, int argc, char **argv)
{
    options opt;
    opt.parse(argc, argv);
    session s(engine, opt);
    s.open();
    s.make(name);
    s.serve();
    return 0;
}

#endif
