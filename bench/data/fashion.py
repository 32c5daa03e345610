"""Fashion-MNIST of Debian's dataset-fashion-mnist: 60,000 x 784 and 10,000 queries, l2.

Values are whole numbers from 0 to 255."""

import gzip
import struct

import numpy as np

import fbin

NAME, METRIC = "fashion", "l2"
SHA256 = {"base": "90d9ed17a7241085cd2ac39fa7e097a5e1be987483c9eb878aa9f6e5dbd54d5c",
          "query": "ab339fbf8a09903322ad7986108f135102a7311ac19c27fb4a17eab936400c7c",
          "gt": "2b5ad76a023a3734514eb229b3ec831f9d7bee64412f9607c8f33793bed73fc1"}
SOURCE = "/usr/share/datasets/fashion-mnist/{}-images-idx3-ubyte.gz"


def read_pictures(path):
    with gzip.open(path) as f:
        magic, rows, height, width = struct.unpack(">IIII", f.read(16))
        data = f.read()
    if magic != 0x803 or len(data) != rows * height * width:
        raise ValueError(f"{path}: no IDX file of byte pictures")
    return np.frombuffer(data, "u1").reshape(rows, height * width)


def make(path, _downloads):
    """path(part) names the files to write."""
    for source, part in (("train", "base"), ("t10k", "query")):
        if fbin.shape(path(part)) is None:
            fbin.write(path(part), read_pictures(SOURCE.format(source)), "<f4")
