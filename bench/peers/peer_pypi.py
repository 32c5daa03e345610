#!/usr/bin/env python3
"""Engines of PyPI under `make bench-index`. --variant:

    faiss:hnswsq8      HNSW16 over 8 bits a dimension, as faiss-cpu's index_factory makes it
    faiss:ivfpq:L:M    IVF<L>,PQ<M>x4fs,RFlat
    svs:f32            Intel SVS: Vamana, 32 links, over the rows
    svs:lvq8           the same graph over 8 bits a dimension with a scale a row

A call from Python costs as much as some searches. So FAISS is called by pointers that were made
before, one query a call, and the graphs, whose library asks one query after the other anyway, for
all queries of a line in one call: their times of single calls are the mean."""

import argparse
import ctypes
import json
import math
import os
import shutil
import sys
import time

import numpy as np

K = 10


def read(path, dtype):
    rows, dim = (int(x) for x in np.fromfile(path, "<u4", 2))
    return np.memmap(path, dtype, "r", 8, (rows, dim))


def fields(path, names):
    out = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            name, _, rest = line.partition(":")
            if name in names:
                out[name] = int(rest.split()[0])
    return out


def memory():
    m = fields("/proc/self/status", ("VmRSS", "RssAnon", "RssFile"))
    return {k: v * 1024 for k, v in m.items()}


def read_bytes():
    return fields("/proc/self/io", ("read_bytes",))["read_bytes"]


class Faiss:
    def __init__(self, variant, args):
        import faiss  # pylint: disable=import-outside-toplevel,import-error
        self.lib, self.args, self.variant = faiss, args, variant
        self.version, self.index = faiss.__version__, None
        faiss.omp_set_num_threads(1)

    def build(self, base):
        if self.variant[0] == "hnswsq8":
            index = self.lib.index_factory(base.shape[1], f"HNSW{self.args.m}_SQ8")
            index.hnsw.efConstruction = self.args.ef_construct
        else:
            lists, parts = self.variant[1:]
            index = self.lib.index_factory(base.shape[1], f"IVF{lists},PQ{parts}x4fs,RFlat")
        index.train(base)
        index.add(base)
        self.index = index

    def save(self, path):
        self.lib.write_index(self.index, path)

    def load(self, path):
        self.index = self.lib.read_index(path)

    def set(self, name, value):
        if name == "ef":
            self.index.hnsw.efSearch = int(value)
        elif name == "nprobe":
            self.lib.extract_index_ivf(self.index).nprobe = int(value)
        else:
            self.index.k_factor = value

    def prepare(self, query):
        """The pointers of each query's row, and of its answers."""
        self.query, count = query, len(query)
        self.ids, self.dists = np.zeros((count, K), "i8"), np.zeros((count, K), "f4")
        if self.variant[0] == "ivfpq":
            swig = self.lib.swig_ptr
            self.calls = [(1, swig(query[i]), K, swig(self.dists[i]), swig(self.ids[i]))
                          for i in range(count)]

    def ask(self, first, last):
        if self.variant[0] == "ivfpq":
            search = self.index.search_c
            for i in range(first, last):
                search(*self.calls[i])
        else:
            self.dists[first:last], self.ids[first:last] = self.index.search(
                self.query[first:last], K)
        return self.ids[first:last]


class Svs:
    def __init__(self, variant, args):
        import svs  # pylint: disable=import-outside-toplevel,import-error
        self.lib, self.variant, self.args = svs, variant, args
        self.version, self.index, self.query = svs.library_version(), None, None

    def build(self, base):
        p = self.lib.VamanaBuildParameters(
            alpha=1.2, graph_max_degree=2 * self.args.m, window_size=self.args.ef_construct,
            max_candidate_pool_size=3 * self.args.ef_construct)
        self.index = self.lib.Vamana.build(p, base, self.lib.DistanceType.L2, num_threads=1)

    def save(self, path):
        shutil.rmtree(path, ignore_errors=True)
        for part in ("config", "graph", "data"):
            os.makedirs(os.path.join(path, part))
        self.index.save(*(os.path.join(path, part) for part in ("config", "graph", "data")))

    def load(self, path):
        config, graph, data = (os.path.join(path, part) for part in ("config", "graph", "data"))
        loader = self.lib.VectorDataLoader(data, self.lib.DataType.float32)
        if self.variant[0] == "lvq8":
            loader = self.lib.LVQLoader(loader, primary=8, residual=0)
        self.index = self.lib.Vamana(config, self.lib.GraphLoader(graph), loader,
                                     self.lib.DistanceType.L2, num_threads=1)

    def set(self, _name, value):
        self.index.search_window_size = int(value)

    def prepare(self, query):
        self.query = query

    def ask(self, first, last):
        return self.index.search(self.query[first:last], K)[0]


class Session:
    def __init__(self, args):
        self.args = args
        base, query = read(args.base, "<f4"), read(args.query, "<f4")
        self.shape = base.shape
        self.query = self.rows(query[:args.queries])
        self.near = self.truth(base)
        kind, *variant = args.variant.split(":")
        self.engine = {"faiss": Faiss, "svs": Svs}[kind](variant, args)
        self.engine.prepare(self.query)
        self.setting, self.calls = None, []
        self.fastest = np.full(len(self.query), np.inf)
        del base, query
        self.before = memory()

    def rows(self, rows):
        rows = np.array(rows, "f4")
        if self.args.metric == "cosine":
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows

    def truth(self, base):
        """By query: the rows not farther than the true tenth."""
        near, gt = [], read(self.args.gt, "<i4")
        for i, q in enumerate(self.query):
            ids = np.array(gt[i])
            dists = ((self.rows(base[ids]).astype("f8") - q) ** 2).sum(1)
            near.append(set(ids[:K]) | set(ids[dists <= dists[K - 1] * (1 + 1e-6)]))
        return near

    def make(self):
        path, wall, cpu = self.args.index, 0, 0
        there = bool(path) and os.path.exists(path)
        if not there:
            base = self.rows(read(self.args.base, "<f4"))
            wall, cpu = time.monotonic(), time.process_time()
            self.engine.build(base)
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
            del base
            if path:
                self.engine.save(path + ".part")
                os.rename(path + ".part", path)
        if path:
            self.engine.index = None
            self.engine.load(path)
        ctypes.CDLL(None).malloc_trim(0)
        return {"ready": True, "engine": self.args.variant.split(":", maxsplit=1)[0],
                "version": self.engine.version, "rows": self.shape[0], "dim": self.shape[1],
                "queries": len(self.query), "loaded": there, "build_s": wall, "build_cpu_s": cpu}

    def ask(self, setting, start, count):
        if setting != self.setting:
            self.setting = setting
            for word in setting.split(","):
                name, _, value = word.partition("=")
                self.engine.set(name, float(value))
        hits, wall, cpu, read_before = 0, 0.0, 0.0, read_bytes()
        while count > 0:
            first = start % len(self.query)
            last = min(first + count, len(self.query))
            t, c = time.monotonic(), time.thread_time()
            found = self.engine.ask(first, last)
            c, t = time.thread_time() - c, time.monotonic() - t
            hits += sum(len(self.near[first + i].intersection(ids.tolist()))
                        for i, ids in enumerate(found))
            each = t / (last - first) * 1e6
            self.calls += [each] * (last - first)
            self.fastest[first:last] = np.minimum(self.fastest[first:last], each)
            wall, cpu, start, count = wall + t, cpu + c, last, count - (last - first)
        return {"wall_s": wall, "cpu_s": cpu, "hits": int(hits),
                "read_bytes": read_bytes() - read_before}

    def stats(self):
        fast = self.fastest[np.isfinite(self.fastest)]

        def at(values, part):
            return float(np.quantile(values, part)) if len(values) else math.nan
        out = {"calls": len(self.calls), "queries": len(fast), "p50_us": at(self.calls, 0.5),
               "p99_us": at(self.calls, 0.99), "p50_min_of_passes_us": at(fast, 0.5),
               "p99_min_of_passes_us": at(fast, 0.99)}
        self.calls.clear()
        self.fastest.fill(np.inf)
        return out

    def memory(self):
        grown = {k: v - self.before[k] for k, v in memory().items()}
        return {"memory_bytes": grown["VmRSS"], "memory_anon_bytes": grown["RssAnon"],
                "memory_file_bytes": grown["RssFile"], "page_cache_bytes": 0}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in ("--base", "--query", "--gt", "--variant"):
        p.add_argument(name, required=True)
    p.add_argument("--metric", default="l2")
    p.add_argument("--index")
    p.add_argument("--queries", type=int)
    p.add_argument("--m", type=int, default=16)
    p.add_argument("--ef-construct", type=int, default=200)
    session = Session(p.parse_args())
    print(json.dumps(session.make()), flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "quit":
            break
        answer = {"ask": lambda w: session.ask(w[0], int(w[1]), int(w[2])),
                  "stats": lambda _: session.stats(), "memory": lambda _: session.memory()}
        print(json.dumps(answer[words[0]](words[1:])), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
