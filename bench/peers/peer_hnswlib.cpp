/* hnswlib under `make bench-index`: Debian's 0.6.2, or a newer one of PyPI's source package. */
#include "rival.h"

#include <hnswlib/hnswlib.h>

#include <memory>

#ifndef HNSWLIB_VERSION
#define HNSWLIB_VERSION "0.6.2"
#endif

class hnswlib_peer : public peer
{
    std::unique_ptr<hnswlib::SpaceInterface<float>> space;
    std::unique_ptr<hnswlib::HierarchicalNSW<float>> index;

    void open_space(size_t dim, bool cosine)
    {
        if (cosine)
            space.reset(new hnswlib::InnerProductSpace(dim));
        else
            space.reset(new hnswlib::L2Space(dim));
    }

  public:
    std::string version() const override { return HNSWLIB_VERSION; }
    void build(const matrix &base, const options &opt) override
    {
        open_space(base.dim, opt.cosine());
        index.reset(new hnswlib::HierarchicalNSW<float>(space.get(), base.rows, opt.m,
                                                        opt.ef_construct, 100));
        for (size_t i = 0; i < base.rows; i++)
            index->addPoint(base.row(i), i);
    }
    void save(const std::string &path) override { index->saveIndex(path); }
    void load(const std::string &path, size_t dim, const options &opt) override
    {
        open_space(dim, opt.cosine());
        index.reset(new hnswlib::HierarchicalNSW<float>(space.get(), path));
    }
    void set(const std::string &name, double value) override
    {
        if (name != "ef")
            die("hnswlib has no " + name);
        index->setEf((size_t)value);
    }
    void ask(const float *query, uint32_t *ids) override
    {
        auto found = index->searchKnn((const void *)query, K);
        for (size_t i = 0; i < K; i++) {
            ids[i] = found.empty() ? UINT32_MAX : (uint32_t)found.top().second;
            if (!found.empty())
                found.pop();
        }
    }
};

int main(int argc, char **argv)
{
    hnswlib_peer p;
    return peer_main(p, "hnswlib", argc, argv);
}
