#!/usr/bin/env python3
"""Writes the seeds of fuzz_peer_envelope: test/fuzz/corpus/peer_envelope/."""

import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "corpus", "peer_envelope")
CLUSTER = b"a cluster's name"


def varint(v):
    out = b""
    while v > 127:
        out += bytes([v & 127 | 128])
        v >>= 7
    return out + bytes([v])


def number(field, v):
    return varint(field << 3) + varint(v)


def fixed(field, v):
    return varint(field << 3 | 1) + struct.pack("<Q", v)


def data(field, v):
    return varint(field << 3 | 2) + varint(len(v)) + v


WHO = data(1, CLUSTER) + number(2, 2) + number(3, 1) + fixed(4, 9) + fixed(5, 1)
ASK = (WHO + fixed(6, 7) + fixed(7, 3) + number(8, 5) + number(9, 2) + number(10, 10**9) + number(11, 4)
       + fixed(12, 11) + fixed(13, 12) + data(14, b"\0\0\0"))
HELLO = (data(1, CLUSTER) + fixed(2, 9) + fixed(3, 1) + fixed(4, 7) + number(5, 1) + number(6, 2)
         + number(7, 3) + data(8, b"n" * 16))
SEEDS = {
    "ask": ASK + data(2047, b"x" * 40),
    "empty-body": ASK,
    "answer": WHO + number(16, 17) + data(17, b"stale") + number(18, 1) + number(15, 1) + data(2047, b"y"),
    "new-error": WHO + number(16, 999) + data(17, b"odd\n\x7f") + number(18, 2),
    "other-cluster": ASK.replace(CLUSTER, b"B" * 16),
    "version": data(1, CLUSTER) + number(2, 77) + fixed(4, 9) + fixed(5, 1) + fixed(6, 7),
    "other-node": WHO + fixed(6, 8),
    "other-life": WHO + fixed(6, 7) + fixed(7, 2),
    "nobody": number(8, 1),
    "unknown": number(100, 5) + varint(101 << 3 | 5) + b"abcd" + fixed(102, 1) + data(103, b"zz") + ASK,
    "group": varint(1 << 3 | 3) + varint(1 << 3 | 4),
    "method": WHO + number(8, 256),
    "priority": WHO + number(9, 4),
    "cut": ASK[:-2],
    "long-varint": b"\x10" + b"\xff" * 11,
    "hello": HELLO,
    "hello-answer": HELLO + data(9, b"p" * 32) + number(10, 5) + data(11, b"no") + number(12, 2),
    "hello-versions": HELLO + number(5, 8) + number(6, 9),
    "hello-empty-range": HELLO + number(5, 9),
    "hello-short-nonce": HELLO + data(8, b"n"),
    "session": b"0123456789abcdef" * 8,
    "session-odd": b"0123456789abcdeg" * 8,
}

if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    for name, seed in SEEDS.items():
        with open(os.path.join(FOLDER, name), "wb") as f:
            f.write(seed)
