/* FAISS under `make bench-index`. --variant:
 *
 *   hnsw          IndexHNSWFlat
 *   hnswsq8       IndexHNSWSQ, 8 bits
 *   ivfpq:L:M     IVF of L lists, M x 4 bits FastScan, refined by f32: IVF<L>,PQ<M>x4fs,RFlat
 *   ivfpqsq8:L:M  the same, refined by 8 bits a dimension
 *
 * Cosine is l2 over rows of unit length, whose order is the same. HNSW is asked by its own walk with
 * a table of visited nodes that is kept: the library's call makes and clears one for each query. */
#include "rival.h"

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFPQFastScan.h>
#include <faiss/IndexRefine.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/index_io.h>
#include <faiss/utils/Heap.h>

#include <memory>
#include <omp.h>

extern "C" void openblas_set_num_threads(int);

class faiss_peer : public peer
{
    std::unique_ptr<faiss::Index> index;
    faiss::IndexHNSW *graph = nullptr;
    faiss::IndexRefine *refine = nullptr;
    faiss::IndexIVFPQFastScan *lists = nullptr;
    std::unique_ptr<faiss::VisitedTable> visited;
    std::unique_ptr<faiss::DistanceComputer> distance;

    void look(const options &)
    {
        graph = dynamic_cast<faiss::IndexHNSW *>(index.get());
        refine = dynamic_cast<faiss::IndexRefine *>(index.get());
        if (refine != nullptr)
            lists = dynamic_cast<faiss::IndexIVFPQFastScan *>(refine->base_index);
        if (graph != nullptr) {
            visited.reset(new faiss::VisitedTable((int)graph->ntotal));
            distance.reset(graph->storage->get_distance_computer());
        } else if (lists == nullptr) {
            die("no index of a kind that is known here");
        }
    }

  public:
    std::string version() const override { return "1.7.3"; }
    void build(const matrix &base, const options &opt) override
    {
        const int dim = (int)base.dim;
        unsigned l = 0, m = 0;
        if (opt.variant == "hnsw" || opt.variant == "hnswsq8") {
            faiss::IndexHNSW *made;
            if (opt.variant == "hnsw")
                made = new faiss::IndexHNSWFlat(dim, (int)opt.m);
            else
                made = new faiss::IndexHNSWSQ(dim, faiss::ScalarQuantizer::QT_8bit, (int)opt.m);
            made->hnsw.efConstruction = (int)opt.ef_construct;
            index.reset(made);
        } else if (sscanf(opt.variant.c_str(), "ivfpq:%u:%u", &l, &m) == 2 ||
                   sscanf(opt.variant.c_str(), "ivfpqsq8:%u:%u", &l, &m) == 2) {
            auto *coarse = new faiss::IndexFlatL2(dim);
            auto *ivf = new faiss::IndexIVFPQFastScan(coarse, base.dim, l, m, 4, faiss::METRIC_L2);
            ivf->own_fields = true;
            faiss::IndexRefine *made;
            if (opt.variant.rfind("ivfpqsq8", 0) == 0) {
                made = new faiss::IndexRefine(
                    ivf, new faiss::IndexScalarQuantizer(dim, faiss::ScalarQuantizer::QT_8bit,
                                                         faiss::METRIC_L2));
                made->own_refine_index = true;
            } else {
                made = new faiss::IndexRefineFlat(ivf);
            }
            made->own_fields = true;
            index.reset(made);
        } else {
            die("FAISS has no variant " + opt.variant);
        }
        index->train((faiss::Index::idx_t)base.rows, base.at);
        index->add((faiss::Index::idx_t)base.rows, base.at);
        look(opt);
    }
    void save(const std::string &path) override { faiss::write_index(index.get(), path.c_str()); }
    void load(const std::string &path, size_t, const options &opt) override
    {
        index.reset(faiss::read_index(path.c_str()));
        look(opt);
    }
    void set(const std::string &name, double value) override
    {
        if (graph != nullptr && name == "ef")
            graph->hnsw.efSearch = (int)value;
        else if (lists != nullptr && name == "nprobe")
            lists->nprobe = (size_t)value;
        else if (refine != nullptr && name == "k_factor")
            refine->k_factor = (float)value;
        else
            die("this index has no " + name);
    }
    void ask(const float *query, uint32_t *ids) override
    {
        faiss::Index::idx_t found[K];
        float dists[K];
        if (graph != nullptr) {
            distance->set_query(query);
            faiss::maxheap_heapify(K, dists, found);
            graph->hnsw.search(*distance, K, found, dists, *visited, nullptr);
        } else {
            index->search(1, query, K, dists, found);
        }
        for (size_t i = 0; i < K; i++)
            ids[i] = (uint32_t)found[i];
    }
};

int main(int argc, char **argv)
{
    omp_set_num_threads(1);
    openblas_set_num_threads(1);
    faiss_peer p;
    return peer_main(p, "faiss", argc, argv);
}
