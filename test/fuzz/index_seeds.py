#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets hnsw_file and effort: payloads as src/index/hnsw_file.h and
src/index/effort_file.c tell them, written a second time here. Frames and checksums are put around the
former by the target. The result is committed.
"""

import os
import random
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
NONE = 2**32 - 1


def save(name, flags, payload):
    folder = os.path.join(HERE, "corpus", "hnsw_file")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(bytes([flags]) + payload)


def header(magic=b"QVHNSW\r\n", version=1, metric=0, dtype=2, dim=2, m=3, m0=5, bound=200):
    return struct.pack("<8s8IQ", magic, version, metric, dtype, dim, m, m0, 8, bound, 0)


def node(slot, lists, live=1, zero=0, level=None):
    out = struct.pack("<IIBBH", slot, slot * 3, len(lists) - 1 if level is None else level, live, zero)
    for links in lists:
        out += struct.pack("<H", len(links)) + struct.pack(f"<{len(links)}I", *links)
    return out


def end(nodes, entry=NONE):
    return struct.pack("<III", NONE, nodes, entry)


def graph(rng, n, beyond=0, dead=0.0):
    slots = sorted(rng.sample(range(200), n))
    levels = {s: min(int(rng.expovariate(1.1)), 4) for s in slots}
    out = header()
    for s in slots:
        lists = []
        for level in range(levels[s] + 1):
            others = [o for o in slots if o != s and levels[o] >= level]
            others += rng.sample(range(200, 260), beyond)
            lists.append(rng.sample(others, min(len(others), rng.randint(0, 3 if level else 5))))
        out += node(s, lists, live=int(rng.random() >= dead))
    return out + end(n, max(slots, key=lambda s: levels[s], default=NONE))


RUNGS, FEATURES = 37, 8
TARGETS = (0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.999)


def effort(rng, version=1, graph=(1, 16, 32, 100), samples=500, weight=None, targets=TARGETS, expected=0.9,
           fixed=40, cut=None):
    out = struct.pack("<IIIIIII", version, *graph, samples, 40)
    out += b"".join(struct.pack("<f", rng.gauss(0, 1) if weight is None else weight)
                    for _ in range((RUNGS - 1) * FEATURES))
    for target in targets:
        out += struct.pack("<ffI", target, expected, fixed)
        out += b"".join(struct.pack("<f", rng.gauss(0, 1) if cut is None else cut) for _ in range(RUNGS - 1))
    return out


def save_effort(name, payload):
    folder = os.path.join(HERE, "corpus", "effort")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(payload)


def efforts(rng):
    nan = float("nan")
    save_effort("whole", effort(rng))
    save_effort("all-go-on", effort(rng, cut=-3.4028234663852886e38))
    save_effort("none-goes-on", effort(rng, cut=float("inf")))
    save_effort("empty", b"")
    save_effort("cut", effort(rng)[:-3])
    save_effort("cut-head", effort(rng)[:19])
    save_effort("longer", effort(rng) + b"\0")
    for name, change in (("version", {"version": 2}), ("rows", {"graph": (0, 16, 32, 100)}),
                         ("other-m", {"graph": (1, 8, 16, 100)}), ("no-samples", {"samples": 0}),
                         ("weight-nan", {"weight": nan}), ("cut-nan", {"cut": nan}),
                         ("descending", {"targets": TARGETS[::-1]}), ("above-one", {"targets": TARGETS[1:] + (1.5,)}),
                         ("expected", {"expected": -0.5}), ("expected-nan", {"expected": nan}),
                         ("fixed-none", {"fixed": 0}), ("fixed-wide", {"fixed": 2**20})):
        save_effort(name, effort(rng, **change))


def main():
    rng = random.Random(11)
    efforts(random.Random(12))
    pair = node(1, [[2]]) + node(2, [[1]])
    save("empty", 1, header() + end(0))
    save("one-node", 1, header() + node(0, [[]]) + end(1, 0))
    save("pair", 1, header() + pair + end(2, 1))
    save("unframed", 0, header() + pair + end(2, 1))
    for i, n in enumerate((3, 12, 40, 60)):
        save(f"graph-{n}", 1, graph(rng, n))
        save(f"graph-{n}-dropped", 3, graph(rng, n))
        save(f"graph-{n}-dead", 1 | 4, graph(rng, n, dead=0.4))
        save(f"graph-{n}-newer-links", 3 | 4, graph(rng, n, beyond=i + 1, dead=0.1))
    save("all-dead", 1, graph(rng, 9, dead=1.0))
    for name, change in (("magic", {"magic": b"GRAPH   "}), ("version", {"version": 2}),
                         ("metric", {"metric": 9}), ("dim", {"dim": 3}), ("bound", {"bound": NONE})):
        save("header-" + name, 1, header(**change) + pair + end(2, 1))
    for name, body in (("self-link", node(1, [[1]])), ("twice", node(1, [[2, 2]])),
                       ("too-many", node(1, [[2, 3, 4, 5, 6, 7]])), ("level", node(1, [[]], level=16)),
                       ("flags", node(1, [[]], live=2)), ("reserved", node(1, [[]], zero=1)),
                       ("huge-link", node(1, [[2**31]])), ("slot", node(5000, [[]])),
                       ("beyond-bound", node(201, [[]])), ("again", node(3, [[]]) * 2),
                       ("backwards", node(3, [[]]) + node(2, [[]]))):
        save("node-" + name, 1, header() + body + end(body.count(b"") and 1))
    save("slot-above-limit", 1, header(bound=400) + node(300, [[]]) + end(1, 300))
    save("wrong-count", 1, header() + pair + end(3, 1))
    save("entry-unknown", 1, header() + pair + end(2, 77))
    save("bytes-behind", 1, header() + pair + end(2, 1) + b"more")
    save("cut-header", 1, header()[:30])
    save("cut-node", 1, header() + pair[:20])


main()
