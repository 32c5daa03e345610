#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets log and statefile.

The bytes follow docs/formats.md, written a second time here; checksums are put right by the targets
(flags in the first byte), so that a seed is short and a mutation of it still gets in. The result is
committed.
"""

import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = 4096


def save(target, name, data):
    folder = os.path.join(HERE, "corpus", target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def piece(data, new_file=False):
    return struct.pack("<H", len(data) | (0x8000 if new_file else 0)) + data


def header(magic=b"QVLOGSEG", form=1, seq=1, salt=5, size=65536):
    return struct.pack("<8sIIQQQQ12sI", magic, form, PAGE, 7, seq, salt, size, b"", 0)


def record(change, shard=1, clock=9, kind=1, size=None):
    body = struct.pack("<IIIIQQB7x", len(change) if size is None else size, shard, 2, 3, clock,
                       clock - 1, kind) + change
    return body + b"\0" * (-len(body) % 8)


def block(records, lsn=PAGE, durable=0, clock=77, flags=0, count=None):
    body = b"".join(records)
    return struct.pack("<IIQQQQIIIIII", 0x424C5651, 0, 5, lsn, durable, clock, 64 + len(body),
                       len(records) if count is None else count, 0, 0, flags, 0) + body


def log(flags, frm, pieces):
    return bytes([flags, frm]) + b"".join(pieces)


def logs():
    good = [block([record(b"one"), record(b"", 2)]), block([record(b"x" * 200)]),
            block([], flags=2)]
    all_right = 1 | 2 | 4 | 8
    yield "empty", log(0, 0, [piece(b"")])
    yield "one-segment", log(all_right, 0, [piece(b"")] + [piece(b) for b in good])
    yield "from-the-middle", log(all_right, 17, [piece(b"")] + [piece(b) for b in good])
    yield "from-beyond", log(all_right | 16, 255, [piece(b"")] + [piece(b) for b in good])
    yield "two-segments", log(all_right, 0, [piece(b"")] + [piece(b) for b in good[:2]] +
                              [piece(b"", True)] + [piece(b) for b in good])
    yield "later-takes-over", log(1 | 2 | 4, 0, [
        piece(b""), piece(block([record(b"a")], PAGE)), piece(block([record(b"b")], 2 * PAGE, PAGE)),
        piece(block([record(b"c")], 3 * PAGE, 2 * PAGE)), piece(b"", True),
        piece(block([record(b"d")], 2 * PAGE, 2 * PAGE)),
        piece(block([record(b"e")], 3 * PAGE, 2 * PAGE))])
    yield "moved-tail-ends-torn", log(1 | 2 | 4, 0, [
        piece(b""), piece(block([record(b"a")], PAGE)), piece(block([record(b"b")], 2 * PAGE, PAGE)),
        piece(b"", True), piece(b"torn")])
    for name, tolerate in (("stop", 0), ("go-on", 16)):
        yield "bad-body-" + name, log(1 | 2 | 8 | tolerate, 0,
                                      [piece(b"")] + [piece(b) for b in good])
        yield "bad-block-" + name, log(all_right | tolerate, 0, [
            piece(b""), piece(good[0]), piece(b"rot"), piece(block([record(b"z")], 3 * PAGE)),
            piece(good[2])])
        yield "bad-header-" + name, log(2 | 4 | 8 | tolerate, 0, [
            piece(header(form=9)), piece(good[0]), piece(header(), True), piece(good[1])])
        yield "last-header-" + name, log(tolerate, 0, [piece(header(magic=b"nonsense"))])
        yield "gap-" + name, log(1 | 2 | 4 | tolerate, 0, [
            piece(b""), piece(block([record(b"a")], PAGE)), piece(b"", True),
            piece(block([record(b"b")], 9 * PAGE, 9 * PAGE))])
    yield "record-too-long", log(all_right, 0, [piece(b""), piece(block([record(b"a", size=5000)]))])
    yield "record-cut", log(all_right, 0, [piece(b""), piece(block([record(b"a")])[:80])])
    yield "record-huge", log(all_right, 0, [piece(b""), piece(block([record(b"a", size=2**32 - 1)]))])
    yield "large-block", log(all_right, 0, [piece(b""), piece(block([record(b"y" * 9000)] * 2))])
    yield "other-log", log(2 | 4 | 8, 0, [piece(header()), piece(good[0])])


def state(payload, kind=3, version=1, form=1, chunk=1 << 18, magic=b"QVSTATE\n"):
    head = struct.pack("<8sIIIIQ28sI", magic, form, kind, version, chunk, len(payload), b"", 0)
    body = struct.pack("<IIQ", 0, len(payload), 0) + payload if payload else b""
    return head + body + struct.pack("<8sQQII", b"QVSTEND\n", len(payload), 0, 0, 0)


def states():
    yield "whole", b"\x0f" + state(b"payload " * 40)
    yield "one-byte", b"\x0f" + state(b"p")
    yield "empty", b"\x0d" + state(b"")
    yield "empty-unrepaired", b"\x00" + state(b"")
    yield "other-kind", b"\x0f" + state(b"payload", kind=4)
    yield "newer-version", b"\x0f" + state(b"payload", version=2)
    yield "newer-format", b"\x0f" + state(b"payload", form=2)
    yield "other-chunk", b"\x0f" + state(b"payload", chunk=77)
    yield "no-magic", b"\x0f" + state(b"payload", magic=b"nonsense")
    yield "bad-header", b"\x0e" + state(b"payload")
    yield "bad-chunk", b"\x0d" + state(b"payload")
    yield "bad-footer", b"\x0b" + state(b"payload")
    yield "bad-length", b"\x07" + state(b"payload")[:-40] + state(b"payload")[-32:]
    yield "short", b"\x00" + state(b"payload")[:50]


def main():
    for name, data in logs():
        save("log", name, data)
    for name, data in states():
        save("statefile", name, data)


if __name__ == "__main__":
    main()
