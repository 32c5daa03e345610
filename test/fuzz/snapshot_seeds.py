#!/usr/bin/env python3
"""Writes the seeds of fuzz_snapshot: test/fuzz/corpus/snapshot/. The hash of a part is left
0, which is right for an empty one: what has bytes is refused unless a fuzzer finds its hash."""

import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "snapshot")


def snapshot(parts, kind=1, form=1, magic=b"QVSNAPS\n", more=b"", foot=b"QVSNEND\n", count=None):
    head = struct.pack("<8sIIQ", magic, form, kind, 5).ljust(64, b"\0")
    data = b"".join(p for _, p, _ in parts)
    manifest = struct.pack("<II", len(parts) if count is None else count, 0)
    for what, p, h in parts:
        manifest += struct.pack("<IIIIQQ", *what, 0, len(p), h)
    tail = struct.pack("<8sQQQ", foot, 64 + len(data), len(manifest), 0).ljust(64, b"\0")
    return head + data + manifest + more + tail


ONE = ((1, 0, 0), b"", 0)
SNAPSHOTS = {
    "none": b"\3" + snapshot([]),
    "empty-part": b"\3" + snapshot([ONE]),
    "three": b"\3" + snapshot([ONE, ((0x10, 0, 0), b"", 0), ((0x12, 0, 7), b"", 0)], kind=2),
    "wrong-hash": b"\3" + snapshot([((1, 2, 3), b"some bytes", 9)]),
    "long": b"\3" + snapshot([((1, 2, 3), b"x" * 700, 9)]),
    "count": b"\3" + snapshot([ONE], count=9),
    "kind": b"\3" + snapshot([ONE], kind=7),
    "newer": b"\3" + snapshot([ONE], form=2),
    "form-0": b"\3" + snapshot([ONE], form=0),
    "more": b"\3" + snapshot([ONE], more=b"x" * 32),
    "odd": b"\3" + snapshot([ONE], more=b"x" * 31),
    "magic": b"\3" + snapshot([ONE], magic=b"somethin"),
    "foot": b"\3" + snapshot([ONE], foot=b"somethin"),
    "unrepaired": b"\0" + snapshot([ONE]),
    "head-only": b"\1" + snapshot([ONE]),
    "short": b"\3" + b"QVSNAPS\n",
}
os.makedirs(HERE, exist_ok=True)
for name, data in SNAPSHOTS.items():
    with open(f"{HERE}/{name}", "wb") as f:
        f.write(data)
