/* USearch under `make bench-index`. --variant f32, f16 or i8.
 *
 * i8: whole numbers from 0 to 255 (under l2) are moved by 128, which changes no distance; rows of
 * unit length are multiplied by 127. USearch's own conversion would scale each row by its length. */
#include "rival.h"

#include <usearch/index_dense.hpp>

using namespace unum::usearch;

#ifndef USEARCH_VERSION
#define USEARCH_VERSION "unknown"
#endif

class usearch_peer : public peer
{
    index_dense_t index;
    bool bytes = false, cosine = false;
    size_t dim = 0;
    std::vector<i8_t> turned;

    void turn(const float *row)
    {
        for (size_t j = 0; j < dim; j++) {
            const float v = cosine ? std::round(row[j] * 127) : row[j] - 128;
            turned[j] = (i8_t)std::max(-128.F, std::min(127.F, v));
        }
    }
    void open_index(const options &opt, size_t d)
    {
        dim = d;
        cosine = opt.cosine();
        bytes = opt.variant == "i8";
        turned.resize(dim);
        const scalar_kind_t kind = bytes                   ? scalar_kind_t::i8_k
                                   : opt.variant == "f16" ? scalar_kind_t::f16_k
                                                          : scalar_kind_t::f32_k;
        metric_punned_t metric(dim, cosine ? metric_kind_t::cos_k : metric_kind_t::l2sq_k, kind);
        index_dense_config_t config(opt.m, opt.ef_construct, 64);
        config.enable_key_lookups = false; /* memory that answering does not need */
        auto made = index_dense_t::make(metric, config);
        if (!made)
            die("USearch makes no index");
        index = std::move(made.index);
        fprintf(stderr, "usearch: kernels %s\n", index.metric().isa_name());
    }

  public:
    std::string version() const override { return USEARCH_VERSION; }
    void build(const matrix &base, const options &opt) override
    {
        open_index(opt, base.dim);
        if (!index.try_reserve(index_limits_t(base.rows, 1)))
            die("USearch reserves no memory");
        for (size_t i = 0; i < base.rows; i++) {
            if (bytes)
                turn(base.row(i));
            auto added = bytes ? index.add(i, turned.data(), 0) : index.add(i, base.row(i), 0);
            if (!added)
                die("USearch does not add a row");
        }
    }
    void save(const std::string &path) override
    {
        if (!index.save(path.c_str()))
            die("USearch does not save");
    }
    void load(const std::string &path, size_t d, const options &opt) override
    {
        open_index(opt, d);
        if (!index.load(path.c_str()))
            die("USearch does not load " + path);
        if (!index.try_reserve(index_limits_t(index.size(), 1)))
            die("USearch reserves no memory");
    }
    void set(const std::string &name, double value) override
    {
        if (name != "ef")
            die("USearch has no " + name);
        index.change_expansion_search((size_t)value);
    }
    void ask(const float *query, uint32_t *ids) override
    {
        if (bytes)
            turn(query);
        uint64_t keys[K];
        auto found = bytes ? index.search(turned.data(), K, 0) : index.search(query, K, 0);
        const size_t n = found.dump_to(keys);
        for (size_t i = 0; i < K; i++)
            ids[i] = i < n ? (uint32_t)keys[i] : UINT32_MAX;
    }
};

int main(int argc, char **argv)
{
    usearch_peer p;
    return peer_main(p, "usearch", argc, argv);
}
