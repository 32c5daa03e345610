"""The exact nearest neighbours of each query, by brute force.

Single precision (BLAS) picks K + 32 candidates of each query, double precision ranks them, equal
ones by the smaller row number. Of both metrics the score is that of l2: on rows of unit length
their order is that of cosine, whose distance 1 - cos is half of the squared l2."""

import numpy as np

import fbin
from progress import Progress

K, SPARE, BLOCK = 100, 32, 500


def nearest(base, query, metric, name):
    """(row numbers, distances) of the K nearest of each query."""
    k = min(K, len(base))
    taken = min(k + SPARE, len(base))
    if metric == "cosine":
        base = base / np.linalg.norm(base, axis=1, keepdims=True)
        query = query / np.linalg.norm(query, axis=1, keepdims=True)
    half = 0.5 * np.einsum("ij,ij->i", base, base, dtype=np.float64).astype("f4")
    ids, dists = np.empty((len(query), k), "<i4"), np.empty((len(query), k), "<f4")
    factor = 0.5 if metric == "cosine" else 1.0
    progress = Progress(f"{name}: true neighbours", len(query), "queries")
    for begin in range(0, len(query), BLOCK):
        block = np.asarray(query[begin:begin + BLOCK])
        scores = half - block @ base.T
        some = np.argpartition(scores, taken - 1, axis=1)[:, :taken]
        for i, candidates in enumerate(some):
            gap = base[candidates].astype("f8") - block[i].astype("f8")
            exact = (gap ** 2).sum(1) * factor
            order = np.lexsort((candidates, exact))[:k]
            ids[begin + i], dists[begin + i] = candidates[order], exact[order]
        progress.step(min(begin + BLOCK, len(query)))
    return ids, dists


def make(path, metric, name):
    """path("gt") and, beside it, its distances."""
    if fbin.shape(path("gt")) and fbin.shape(path("gt") + ".dist.fbin"):
        return
    base, query = np.array(fbin.read(path("base"))), np.array(fbin.read(path("query")))
    ids, dists = nearest(base, query, metric, name)
    fbin.write(path("gt") + ".dist.fbin", dists, "<f4")
    fbin.write(path("gt"), ids, "<i4")
