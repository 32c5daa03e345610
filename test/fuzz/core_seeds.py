#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets doc, path and point: test/fuzz/core_seeds.py.

The bytes follow docs/formats-points.md, written a second time here; the result is committed.
"""

import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def text(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<I", len(b)) + b


def pairs(items):
    body = b"".join(text(k) + doc(v) for k, v in items)
    return b"\x07" + struct.pack("<II", len(body) + 4, len(items)) + body


def doc(v):
    if v is None:
        return b"\x00"
    if isinstance(v, bool):
        return b"\x02" if v else b"\x01"
    if isinstance(v, int):
        return b"\x03" + struct.pack("<q", v)
    if isinstance(v, float):
        return b"\x04" + struct.pack("<d", v)
    if isinstance(v, (str, bytes)):
        return b"\x05" + text(v)
    if isinstance(v, list):
        body = b"".join(doc(x) for x in v)
        return b"\x06" + struct.pack("<II", len(body) + 4, len(v)) + body
    return pairs(list(v.items()))


def nested(depth):
    v = None
    for _ in range(depth):
        v = [v]
    return v


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def version(clock, writer):
    return struct.pack("<QI", clock, writer)


def blob(b):
    return varint(len(b)) + b


def part(name, value=None, state=0, own=None):
    kind = 0 if isinstance(name, int) else 1
    head = bytes([kind | state << 4 | (128 if own else 0)])
    b = head + (own or b"")
    b += varint(name) if kind == 0 else blob(name if isinstance(name, bytes) else name.encode())
    return b + (blob(value) if state == 0 else b"")


def change(kind, ident, parts):
    return b"\x00" + bytes([kind]) + ident + varint(len(parts)) + b"".join(parts)


def copy(flags, head, parts):
    return b"\x01" + bytes([flags]) + head + varint(len(parts)) + b"".join(parts)


def dense(dtype, values):
    fmt = "<" + {0: "f", 1: "e", 2: "B"}[dtype] * len(values)
    return struct.pack("<BBI", 0, dtype, len(values)) + struct.pack(fmt, *values)


def sparse(pairs_):
    n = len(pairs_)
    return (struct.pack("<BI", 1, n) + struct.pack("<%dI" % n, *[i for i, _ in pairs_]) +
            struct.pack("<%df" % n, *[x for _, x in pairs_]))


def multi(dtype, rows):
    fmt = "<" + {0: "f", 1: "e", 2: "B"}[dtype] * (len(rows) * len(rows[0]))
    return (struct.pack("<BBII", 2, dtype, len(rows[0]), len(rows)) +
            struct.pack(fmt, *[x for r in rows for x in r]))


def write(name, seeds):
    folder = os.path.join(HERE, "corpus", name)
    os.makedirs(folder, exist_ok=True)
    for old in os.listdir(folder):
        if old.startswith("seed-"):
            os.remove(os.path.join(folder, old))
    for i, b in enumerate(seeds):
        with open(os.path.join(folder, "seed-%02d" % i), "wb") as f:
            f.write(b)


RICH = {"a": {"b": [{"c": 1}, {"c": 2.5}, {"d": {"e": "é"}}]}, "g": ["x", ["y"], None, True, False]}
MANY = [("k%02d" % (i * 7 % 40), i) for i in range(40)]

DOCS = [doc(RICH), doc(None), doc(nested(64)), doc(nested(65)), pairs(MANY), pairs(MANY + [("k07", 1)]),
        pairs([("b", 1), ("a", 2)]), pairs([("b", 1), ("a", 2), ("b", 3)]), doc({}), doc([]),
        doc(float("inf")), doc(b"\xff"), doc(RICH)[:-1], doc([1])[:7], doc(1)[:5], doc(1.5)[:5],
        doc("abc")[:-1], b"", b"\x09", doc(None) + b"\x00", b"\x06\x09" + doc([None])[2:],
        pairs([(b"\xff", 1)]), doc([1.5, "long text beyond eight bytes: größe"]),
        doc([{"x": {"y": [1, 2]}}, {"x": 3}])]

PATHS = ["a", "a.b[].c", "a.b[1].c", "a.b[9]", "g[]", "g[][]", "g[0]", "\"a\".\"b c\"", "a.x.y", "x[].y", "a[]",
         "größe", "", "a..b", "a[", "a[0", "a[]b", "\"a", "a.\"b\\", "a[99999999999999999999]",
         "a[4294967296]", ".".join(["a"] * 64), ".".join(["a"] * 65), "a.", "[]", "g[1][0]", "a.b[]", "g"]

NUM = b"\x01" + struct.pack(">Q", 42)
UUID = b"\x02" + bytes(range(16))
V5, V6, V7 = version(5, 1), version(6, 1), version(7, 2)
F32 = dense(0, [1.0, -2.5, 3.0])

CHANGES = [
    change(1, NUM, [part(0, F32), part("a", doc(1)), part("b", doc(RICH))]),
    change(1, UUID, [part(0, dense(1, [1.0, 0.5, -65504.0, 6e-8, float("inf"), float("nan"), 1e-5])),
                     part(7, dense(2, [0, 255])), part(300, sparse([(1, 0.5), (9, 2.0)])),
                     part(301, multi(1, [[1.0, 2.0], [3.0, 4.0]])), part("", doc({}))]),
    change(2, NUM, []), change(3, NUM, [part(0, state=1), part("a", doc(None)), part("z", state=1)]),
    change(4, UUID, [part("a", doc("text"))]), change(5, NUM, []), change(6, NUM, []),
    change(1, NUM, [part("a", doc(1)), part(0, F32)]), change(1, NUM, [part(0, state=2)]),
    change(4, NUM, [part(0, F32)]), change(2, NUM, [part("a", state=1)]),
    change(1, NUM, [part("a", doc(1), own=V5)]), change(1, NUM, [part(b"\xff", doc(1))]),
    change(1, NUM, [part("a", doc(nested(64)))]), change(1, NUM, [part(0, F32[:-1])]),
    change(1, NUM, [part("a", doc(1))])[:-2], b"\x00\x01\x03", b"\x00\x01" + NUM + b"\xff\xff\xff\x7f",
    change(1, NUM, [part(0, multi(0, [[1.0]])), part(1, dense(2, [7])), part(2, sparse([]))]),
    b"\x00\x01" + NUM + b"\x01\x00" + b"\xff" * 5 + b"\x7f\x00", change(1, NUM, [part(0, b"\x00\x07\x01\0\0\0")]),
    change(1, NUM, [part(0, b"\x00\x00\x00\0\0\0")]), change(1, NUM, [part(0, b"\x02\x00\x01\0\0\0\0\0\0\0")]),
    change(1, NUM, [part(0, sparse([(3, 1.0), (3, 2.0)]))]), change(1, NUM, [part(0, F32 + b"\0")]),
    change(1, NUM, [part(0, b"\x05")]), change(1, NUM, [part(0, b"\x00\x00")]),
    change(1, NUM, [part(0, b"\x01\xff\xff\xff\xff")]), change(1, NUM, [b"\x05"]),
]
COPIES = [
    copy(3, V5, [part(0, state=2), part("a", doc(1)), part("b", doc(2), own=V6), part("c", state=1, own=V6)]),
    copy(7, V5 + V6, [part(0, F32), part(1, state=1, own=V7), part("a", doc(1), own=V6)]),
    copy(2, V5, [part("a", doc(1), own=V7)]), copy(0, b"", [part("a", doc(1), own=V7)]), copy(0, b"", []),
    copy(4, V6, []), copy(1, b"", []), copy(8, b"", []), copy(7, V6 + V5, []), copy(3, version(0, 0), []),
    copy(3, V6, [part("a", doc(1), own=V5)]), copy(3, V6, [part("a", doc(1), own=V6)]),
    copy(3, V6, [part("a", state=2)]), copy(3, V6, [part("b", state=1, own=V7), part("a", state=1, own=V7)]),
    copy(0, b"", [part("a", doc(1))]), copy(3, V5[:-1], []), copy(7, V5 + V6[:-1], []),
]


def main():
    write("doc", DOCS)
    write("path", [bytes([len(p.encode())]) + p.encode() + doc(RICH) for p in PATHS] + [b"\x05a", b""])
    write("point", CHANGES + COPIES)


if __name__ == "__main__":
    main()
