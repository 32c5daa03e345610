#!/usr/bin/env python3
"""Writes the seeds of fuzz_vecfile: test/fuzz/corpus/vecfile/. The first byte chooses the form."""

import gzip
import os
import struct

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "vecfile")
FBIN, U8BIN, FVECS, BVECS, NPY, IDX, IDX_GZ, UNKNOWN = range(8)
HEAD = "{{'descr': '{}', 'fortran_order': {}, 'shape': {}, }}"


def npy(dict_text, data, major=1):
    text = dict_text.encode()
    size = struct.pack("<H" if major == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([major, 0]) + size + text + data


def idx(*sizes, data=b"", kind=8):
    return bytes([0, 0, kind, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + data


FLOATS = struct.pack("<6f", 1, 2, 3.5, -4, 1e9, 0)
BAD = struct.pack("<6f", 1, 2, float("nan"), float("inf"), 1e9, 0)
SEEDS = {
    "fbin": (FBIN, struct.pack("<II", 2, 3) + FLOATS),
    "fbin-nan": (FBIN, struct.pack("<II", 2, 3) + BAD),
    "fbin-short": (FBIN, struct.pack("<II", 2, 3) + FLOATS[:-1]),
    "fbin-head": (FBIN, b"\1\0\0"),
    "fbin-wide": (FBIN, struct.pack("<II", 1 << 31, 65536)),
    "fbin-none": (FBIN, struct.pack("<II", 0, 3)),
    "u8bin": (U8BIN, struct.pack("<II", 2, 3) + b"abcdef"),
    "fvecs": (FVECS, (struct.pack("<I", 3) + FLOATS[:12]) * 2),
    "fvecs-cut": (FVECS, (struct.pack("<I", 3) + FLOATS[:12]) * 2 + b"x"),
    "fvecs-head": (FVECS, b"\3\0"),
    "fvecs-zero": (FVECS, struct.pack("<I", 0) * 3),
    "bvecs": (BVECS, b"\2\0\0\0ab\2\0\0\0cd"),
    "bvecs-mixed": (BVECS, b"\2\0\0\0ab\3\0\0\0cd"),
    "npy-f4": (NPY, npy(HEAD.format("<f4", False, (2, 3)), FLOATS)),
    "npy-f4-axes": (NPY, npy(HEAD.format("<f4", False, (1, 2, 3)), FLOATS)),
    "npy-f2": (NPY, npy(HEAD.format("<f2", False, (2, 3)), FLOATS[:12], 2)),
    "npy-u1": (NPY, npy(HEAD.format("|u1", False, (2, 3)), b"abcdef", 3)),
    "npy-i4": (NPY, npy(HEAD.format("<i4", False, (2, 3)), FLOATS)),
    "npy-quotes": (NPY, npy('{"shape":(2,3),"descr":"<f4","fortran_order":False}', FLOATS)),
    "npy-big": (NPY, npy(HEAD.format(">f4", False, (2, 3)), FLOATS)),
    "npy-fortran": (NPY, npy(HEAD.format("<f4", True, (2, 3)), FLOATS)),
    "npy-flat": (NPY, npy(HEAD.format("<f4", False, (6,)), FLOATS)),
    "npy-wide": (NPY, npy(HEAD.format("<f4", False, (1, 70000, 70000)), FLOATS)),
    "npy-huge": (NPY, npy(HEAD.format("<f4", False, (1, 10 ** 25)), FLOATS)),
    "npy-axes": (NPY, npy(HEAD.format("<f4", False, (1,) * 9), FLOATS)),
    "npy-twice": (NPY, npy("{'shape': (2, 3), 'shape': (2, 3)}", FLOATS)),
    "npy-key": (NPY, npy("{'shape': (2, 3), 'other': (2, 3)}", FLOATS)),
    "npy-open": (NPY, npy("{'shape': (2, 3", FLOATS)),
    "npy-letters": (NPY, npy("{'shape': (a, 3)}", FLOATS)),
    "npy-quote": (NPY, npy("{'descr': <f4}", FLOATS)),
    "npy-long": (NPY, npy("{'descr': '<f4<f4<f4<f4'}", FLOATS)),
    "npy-tail": (NPY, npy(HEAD.format("<f4", False, (2, 3)) + " x", FLOATS)),
    "npy-version": (NPY, npy("{}", b"", 1).replace(b"Y\1", b"Y\7")),
    "npy-magic": (NPY, b"\x93NUMPX"),
    "npy-cut": (NPY, npy(HEAD.format("<f4", False, (2, 3)), b"")[:30]),
    "idx": (IDX, idx(2, 1, 3, data=b"abcdef")),
    "idx-labels": (IDX, idx(3, data=b"abc")),
    "idx-short": (IDX, idx(3, data=b"ab")),
    "idx-kind": (IDX, idx(3, data=b"abc", kind=13)),
    "idx-cut": (IDX, idx(2, 1, 3)[:9]),
    "idx-wide": (IDX, idx(1, 70000, 70000, data=b"a")),
    "gz": (IDX_GZ, gzip.compress(idx(2, 1, 3, data=b"abcdef"), mtime=0)),
    "gz-more": (IDX_GZ, gzip.compress(idx(2, 1, 3, data=b"abcdefg"), mtime=0)),
    "gz-less": (IDX_GZ, gzip.compress(idx(2, 1, 3, data=b"abcde"), mtime=0)),
    "gz-cut": (IDX_GZ, gzip.compress(idx(2, 1, 3, data=b"abcdef"), mtime=0)[:-12]),
    "gz-claims": (IDX_GZ, gzip.compress(idx(1 << 30, 65536), mtime=0)),
    "gz-empty": (IDX_GZ, gzip.compress(b"", mtime=0)),
    "gz-plain": (IDX_GZ, b"plain"),
    "unknown": (UNKNOWN, b"x"),
}

os.makedirs(FOLDER, exist_ok=True)
for name, (form, data) in SEEDS.items():
    with open(os.path.join(FOLDER, name), "wb") as f:
        f.write(bytes([form]) + data)
