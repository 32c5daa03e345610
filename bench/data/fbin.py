"""Files of vectors in big-ann's layout: u32 rows, u32 dimensions, then the rows; little-endian.

.fbin holds f32, .ibin i32. A file appears under its name only when it is whole."""

import os

import numpy as np

HEAD_BYTES = 8


def write(path, rows, dtype):
    rows = np.ascontiguousarray(rows, dtype)
    with open(path + ".part", "wb") as f:
        np.array(rows.shape, "<u4").tofile(f)
        rows.tofile(f)
    os.replace(path + ".part", path)


def shape(path):
    """(rows, dimensions), or None where there is no such file or its length is not what it says."""
    try:
        head = np.fromfile(path, "<u4", 2)
        rows, dim = (int(x) for x in head)
    except (OSError, ValueError):
        return None
    return (rows, dim) if os.path.getsize(path) == HEAD_BYTES + rows * dim * 4 else None


def read(path, dtype="<f4", rows=None):
    """The rows, mapped; the first `rows` where given. ValueError: not what it says it is."""
    size = shape(path)
    if size is None:
        raise ValueError(f"{path} is not a whole file of vectors")
    count = size[0] if rows is None else min(rows, size[0])
    return np.memmap(path, dtype, "r", HEAD_BYTES, (count, size[1]))
