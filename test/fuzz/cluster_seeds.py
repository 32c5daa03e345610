#!/usr/bin/env python3
"""Writes the seeds of the fuzz target centroids: blobs as src/cluster/centroids.h tells them, written
a second time here. The checksum at the end is the target's to make right; here it is 0. The result is
committed.
"""

import os
import random
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
NONE = 2**32 - 1
L2, DOT, COSINE, L1 = range(4)


def blob(rng, parents=(NONE, NONE, NONE), shards=(1, 2, 5), metric=L2, dim=3, magic=0x54435651,
         version=1, norm=0.0, border=0.1, weight=None, value=None, count=None, tail=4):
    count = len(parents) if count is None else count
    width = dim + (metric == DOT)
    out = struct.pack("<IIIIIff", magic, version, metric, dim, count, norm, border)
    out += b"".join(struct.pack("<f", rng.gauss(0, 1) if value is None else value)
                    for _ in range(len(parents) * width))
    out += b"".join(struct.pack("<f", rng.random() if weight is None else weight) for _ in parents)
    out += struct.pack(f"<{len(parents)}I", *parents) + struct.pack(f"<{len(shards)}I", *shards)
    return out + bytes(tail)


def main():
    rng = random.Random(5)
    nan, inf = float("nan"), float("inf")
    tree = {"parents": (NONE, NONE, 1, 1, 3, 3), "shards": (1, NONE, 2, NONE, 3, 2)}
    seeds = {
        "flat": blob(rng), "one": blob(rng, (NONE,), (7,)), "tree": blob(rng, **tree),
        "tree-dot": blob(rng, metric=DOT, norm=2.5, **tree), "cosine": blob(rng, metric=COSINE),
        "manhattan": blob(rng, metric=L1), "no-border": blob(rng, border=0.0),
        "equal-rows": blob(rng, value=1.0, weight=0.0), "huge": blob(rng, value=3e38),
        "huge-dot": blob(rng, value=3e38, metric=DOT, norm=3e38),
        "row-nan": blob(rng, value=nan), "row-inf": blob(rng, value=inf),
        "weight-nan": blob(rng, weight=nan), "weight-below": blob(rng, weight=-1.0),
        "border-nan": blob(rng, border=nan), "border-wide": blob(rng, border=5.0),
        "norm-unasked": blob(rng, norm=1.0), "norm-inf": blob(rng, metric=DOT, norm=inf),
        "later-parent": blob(rng, (1, NONE, NONE)), "own-parent": blob(rng, (0, NONE, NONE)),
        "no-shard": blob(rng, shards=(1, NONE, 2)), "parent-shard": blob(rng, (NONE, 0, 0)),
        "magic": blob(rng, magic=1), "version": blob(rng, version=2), "metric": blob(rng, metric=9),
        "no-dim": blob(rng, dim=0), "wide": blob(rng, dim=70000)[:64], "none": blob(rng, count=0),
        "too-many": blob(rng, count=9000), "fewer": blob(rng, count=2), "longer": blob(rng, tail=9),
        "shorter": blob(rng, tail=1), "head": blob(rng)[:27], "empty": b"",
        "deep": blob(rng, (NONE, *range(70)), (*[NONE] * 70, 1), dim=1),
    }
    folder = os.path.join(HERE, "corpus", "centroids")
    os.makedirs(folder, exist_ok=True)
    for name, text in seeds.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(text)


if __name__ == "__main__":
    main()
