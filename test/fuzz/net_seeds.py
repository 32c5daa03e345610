#!/usr/bin/env python3
"""Writes the seeds of fuzz_gzip, _http1, _http2, _net_conn and _net_text: test/fuzz/corpus/<name>/.

The first byte of an http seed is the way it is driven (test/lib/net_fuzz.c)."""

import gzip
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
WAYS = [0, 1, 2, 2 | 64, 4, 4 | 1, 8, 8 | 2, 16, 32 | 4, 32 | 2, 128, 128 | 2, 64, 4 | 2 | 32]


def write(kind, name, way, data):
    folder = os.path.join(HERE, "corpus", kind)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"{name}-{way}"), "wb") as f:
        f.write(bytes([way]) + data)


HOST = b"Host: a\r\n"
PACKED = gzip.compress(b"hello hello hello hello", mtime=0)
NOISE = gzip.compress(bytes(i * i % 251 ^ i * 7 % 256 for i in range(1500)), mtime=0)
HTTP1 = {
    "get": b"GET /a?x=1%20b&y HTTP/1.1\r\n" + HOST + b"X-Key: y\r\n\r\n",
    "two": (b"GET /later HTTP/1.1\r\n" + HOST + b"\r\n") * 2,
    "many": (b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n") * 9,
    "post": b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
            + b"HEAD /large HTTP/1.1\r\n" + HOST + b"\r\n",
    "late": b"POST /later HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello"
            + b"GET /large HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "chunked": b"PUT /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
               b"5;a=b\r\nhello\r\n41\r\n" + b"x" * 0x41 + b"\r\n0\r\nT: v\r\n\r\n",
    "expect": b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n"
              b"Content-Length: 3\r\n\r\nabc",
    "expect-second": b"GET /later HTTP/1.1\r\n" + HOST + b"\r\nPOST /echo HTTP/1.1\r\n" + HOST +
                     b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "tea": b"POST / HTTP/1.1\r\n" + HOST + b"Expect: tea\r\nContent-Length: 1\r\n\r\na",
    "old": b"GET /none HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /none HTTP/1.0\r\n\r\n",
    "cors": b"OPTIONS / HTTP/1.1\r\n" + HOST + b"Origin: b\r\nAccess-Control-Request-Method: PUT\r\n"
            b"Access-Control-Request-Headers: q\r\n\r\n",
    "fold": b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    "space": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "both": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "gzip": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "huge": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999\r\n\r\nabc",
    "cut": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 50\r\n\r\nabc",
    "cut-head": b"GET / HTTP/1.1\r\nHos",
    "long": b"GET /" + b"l" * 300 + b" HTTP/1.1\r\n" + HOST + b"X: " + b"v" * 300 + b"\r\n\r\n",
    "wide": b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"h%d: v\r\n" % i for i in range(140)) + b"\r\n",
    "absolute": b"GET http://h?x=%zz HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "star": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "version": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "nohost": b"GET / HTTP/1.1\r\n\r\n",
    "odd": b"PROPFIND relative HTTP/1.1\r\n" + HOST + b"\r\n",
    "nonsense": b"\x16\x03\x01nonsense\r\n\r\n",
    "trailer": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nT: "
               + b"v" * 300 + b"\r\n\r\n",
    "drain": b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 90\r\n\r\n" + b"d" * 90
             + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "preface": b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n",
    "up": b"POST /up HTTP/1.1\r\n" + HOST + b"Content-Length: 90\r\n\r\n" + b"u" * 90
          + b"GET /file HTTP/1.1\r\n" + HOST + b"\r\n",
    "up-chunked": b"POST /up HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
                  + b"5\r\nhello\r\n" * 20 + b"0\r\n\r\n",
    "up-large": b"POST /up HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
                + b"5\r\nhello\r\n" * 70 + b"0\r\n\r\n",
    "up-announced": b"POST /up HTTP/1.1\r\n" + HOST + b"Content-Length: 301\r\n\r\n",
    "up-cut": b"POST /up HTTP/1.1\r\n" + HOST + b"Content-Length: 90\r\n\r\n" + b"u" * 40,
    "up-packed": b"POST /up HTTP/1.1\r\n" + HOST + b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\n",
    "lost": b"POST /lost HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc",
    "file": b"GET /file?x=9 HTTP/1.1\r\n" + HOST + b"\r\nGET /file HTTP/1.1\r\n" + HOST
            + b"\r\nHEAD /file HTTP/1.1\r\n" + HOST + b"\r\nGET /file?x=0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "file-short": b"GET /file?x=9999 HTTP/1.1\r\n" + HOST + b"\r\n",
    "packed": b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
              % (len(PACKED), PACKED),
    "packed-bad": b"POST /echo HTTP/1.1\r\n" + HOST
                  + b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\nno gzip",
    "packed-noise": b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
                    % (len(NOISE), NOISE),
    "coding": b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nb",
    "blank": b"\r\n" * 700,
    "extension": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 900,
    "origin": b"GET /a HTTP/1.1\r\n" + HOST + b"Origin: b\r\n\r\n",
    "codings": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "large-packed": b"GET /large HTTP/1.1\r\n" + HOST + b"Accept-Encoding: gzip\r\n\r\n",
    "unfinished": b"GET /later HTTP/1.1\r\n" + HOST + b"\r\nGET /a HTTP/1.1\r\n" + HOST
                  + b"Connection: close\r\n\r\nGET /b HTTP/1.1\r\n" + HOST + b"\r\n",
}


def frame(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(path, method=b"\x83", extra=()):
    return method + b"\x86" + b"\x04" + bytes([len(path)]) + path + b"\x01\x01a" + b"".join(
        literal(n, v) for n, v in extra)


GRPC = ((b"content-type", b"application/grpc"), (b"te", b"trailers"))
SETTINGS = frame(4, 0, 0) + frame(4, 1, 0)


def message(body, flag=0):
    return bytes([flag]) + struct.pack(">I", len(body)) + body


def call(stream, path, body, extra=GRPC):
    return frame(1, 4, stream, head(path, extra=extra)) + frame(0, 1, stream, body)


GZIP = GRPC + ((b"grpc-encoding", b"gzip"),)

STREAM = b"/a.A/Stream"

HTTP2 = {
    "settings": SETTINGS + frame(6, 0, 0, b"12345678"),
    "get": SETTINGS + frame(1, 5, 1, head(b"/a?x=1", b"\x82")),
    "large-packed": SETTINGS + frame(1, 5, 1, head(b"/large", b"\x82", ((b"accept-encoding", b"gzip"),))),
    "grpc-packed-answer": SETTINGS + call(1, b"/a.A/B", message(b"m" * 3000),
                                          GRPC + ((b"grpc-accept-encoding", b"gzip"),)),
    "none": SETTINGS + frame(1, 5, 1, head(b"/none", b"\x82", ((b"x-key", b"y"),))),
    "head": SETTINGS + frame(1, 5, 1, head(b"/large", b"\x02\x04HEAD")),
    "large": SETTINGS + frame(1, 5, 1, head(b"/large", b"\x82")) + frame(8, 0, 0, b"\0\0\xff\xff"),
    "cors": SETTINGS + frame(1, 5, 1, head(b"/", b"\x82", ((b"origin", b"b"),))),
    "preflight": SETTINGS + frame(1, 5, 1, head(b"/", b"\x02\x07OPTIONS", (
        (b"origin", b"b"), (b"access-control-request-method", b"PUT")))),
    "grpc": SETTINGS + call(1, b"/a.A/B", message(b"hello")),
    "grpc-key": SETTINGS + call(1, b"/a.A/B", message(b"hello"), GRPC + ((b"x-key", b"y"),)),
    "grpc-no": SETTINGS + call(1, b"/a.A/No", message(b"")),
    "grpc-many": SETTINGS + b"".join(call(2 * i + 1, b"/later", message(b"m" * 20)) for i in range(9)),
    "grpc-timeout": SETTINGS + call(1, b"/later", message(b"x"), GRPC + ((b"grpc-timeout", b"9m"),)),
    "grpc-timeout-bad": SETTINGS + call(1, b"/x", message(b"x"), GRPC + ((b"grpc-timeout", b"9"),)),
    "grpc-timeout-unit": SETTINGS + call(1, b"/x", message(b"x"), GRPC + ((b"grpc-timeout", b"9q"),)),
    "grpc-gzip": SETTINGS + call(1, b"/x", message(b"x", 1)),
    "grpc-packed": SETTINGS + call(1, b"/x", message(PACKED, 1), GZIP),
    "grpc-packed-bomb": SETTINGS + call(1, b"/x", message(gzip.compress(b"0" * 9999, mtime=0), 1), GZIP),
    "grpc-packed-cut": SETTINGS + call(1, b"/x", message(PACKED[:-9], 1), GZIP),
    "grpc-packed-long": SETTINGS + call(1, b"/x", message(PACKED + b"x", 1), GZIP),
    "grpc-packed-bad": SETTINGS + call(1, b"/x", message(b"no gzip", 1), GZIP),
    "grpc-packed-frame": SETTINGS + call(1, b"/x", message(PACKED, 1)[:-1], GZIP),
    "grpc-flag": SETTINGS + call(1, b"/x", message(b"x", 2)),
    "grpc-two": SETTINGS + call(1, b"/x", message(b"x") + message(b"y")),
    "grpc-short": SETTINGS + call(1, b"/x", b"\0\0"),
    "grpc-large": SETTINGS + call(1, b"/x", message(b"x" * 100)),
    "grpc-announced": SETTINGS + call(1, b"/x", b"\0\x7f\xff\xff\xff"),
    "grpc-charset": SETTINGS + call(1, b"/x", message(b"x"),
                                    ((b"content-type", b"application/grpc+proto;c=d"),)),
    "length": SETTINGS + frame(1, 4, 1, head(b"/x", extra=((b"content-length", b"99999999"),)))
              + frame(0, 0, 1, b"abc"),
    "length-huge": SETTINGS + frame(1, 4, 1, head(b"/x", extra=(
        (b"content-length", b"9223372036854775807"),))),
    "open": SETTINGS + frame(1, 4, 1, head(b"/x")) + frame(0, 0, 1, b"abc"),
    "trailers": SETTINGS + frame(1, 4, 1, head(b"/x")) + frame(0, 0, 1, b"abc")
                + frame(1, 5, 1, literal(b"t", b"v")),
    "continued": SETTINGS + frame(1, 1, 1, head(b"/x", b"\x82")) + frame(9, 0, 1, literal(b"a", b"b"))
                 + frame(9, 4, 1, literal(b"c", b"d")),
    "not-continued": SETTINGS + frame(1, 1, 1, head(b"/x", b"\x82")),
    "flood": SETTINGS + frame(1, 0, 1, head(b"/x")) + frame(9, 0, 1, literal(b"a", b"b")) * 12,
    "reset": SETTINGS + call(1, b"/later", message(b"x")) + frame(3, 0, 1, b"\0\0\0\x08"),
    "goaway": SETTINGS + call(1, b"/later", message(b"x")) + frame(7, 0, 0, b"\0" * 8),
    "wide": SETTINGS + frame(1, 5, 1, head(b"/", b"\x82", [(b"n%d" % i, b"v") for i in range(140)])),
    "long": SETTINGS + frame(1, 5, 1, head(b"/" + b"l" * 120, b"\x82",
                                           [(b"n%d" % i, b"v" * 120) for i in range(4)])),
    "relative": SETTINGS + frame(1, 5, 1, head(b"x", b"\x82")),
    "nopath": SETTINGS + frame(1, 5, 1, b"\x82\x86"),
    "upper": SETTINGS + frame(1, 5, 1, head(b"/", b"\x82", ((b"ABC", b"d"),))),
    "window": SETTINGS + frame(4, 0, 0, b"\0\x04\0\0\0\x01") + frame(1, 5, 1, head(b"/large", b"\x82"))
              + frame(8, 0, 1, b"\0\0\0\x09"),
    "priority": SETTINGS + frame(2, 0, 1, b"\0\0\0\0\x10"),
    "bad-settings": frame(4, 0, 1),
    "up": SETTINGS + frame(1, 4, 1, head(b"/up")) + frame(0, 0, 1, b"u" * 90) + frame(0, 1, 1, b"v" * 90),
    "up-large": SETTINGS + frame(1, 4, 1, head(b"/up")) + frame(0, 0, 1, b"u" * 200) + frame(0, 1, 1, b"v" * 200),
    "up-reset": SETTINGS + frame(1, 4, 1, head(b"/up")) + frame(0, 0, 1, b"u" * 90) + frame(3, 0, 1, b"\0\0\0\x08"),
    "up-open": SETTINGS + frame(1, 4, 1, head(b"/up")) + frame(0, 0, 1, b"u" * 90),
    "up-grpc": SETTINGS + call(1, b"/up", message(b"x")),
    "file": SETTINGS + frame(1, 5, 1, head(b"/file?x=9", b"\x82")) + frame(1, 5, 3, head(b"/file", b"\x82"))
            + frame(1, 5, 5, head(b"/file?x=0", b"\x82")) + frame(1, 5, 7, head(b"/file", b"\x02\x04HEAD")),
    "file-short": SETTINGS + frame(1, 5, 1, head(b"/file?x=9999", b"\x82")) + frame(1, 5, 3, head(b"/a", b"\x82")),
    "file-window": frame(4, 0, 0, b"\0\x04\0\0\0\x01") + frame(1, 5, 1, head(b"/file", b"\x82"))
                   + frame(8, 0, 1, b"\0\0\xff\xff"),
    "stall": frame(4, 0, 0, b"\0\x04\0\0\0\x01") + frame(1, 5, 1, head(b"/large", b"\x82")),
    "packed": SETTINGS + frame(1, 4, 1, head(b"/echo", extra=((b"content-encoding", b"gzip"),)))
              + frame(0, 1, 1, PACKED),
    "packed-noise": SETTINGS + call(1, b"/x", message(NOISE, 1), GZIP),
    "coding": SETTINGS + frame(1, 4, 1, head(b"/echo", extra=((b"content-encoding", b"br"),))),
    "long-body": SETTINGS + b"".join(frame(1, 4, 2 * i + 1, head(b"/x", extra=((b"content-length", b"1"),)))
                                     + frame(0, 1, 2 * i + 1, b"12") for i in range(5)),
    "bomb": SETTINGS + frame(1, 5, 1, head(b"/", b"\x82") + b"\x40\x01x\x7f\x81\x0a" + b"a" * 1408 + b"\xbe" * 900),
    "id": SETTINGS + frame(1, 5, 1, head(b"/a", b"\x82", ((b"x-request-id", b"i-1"),)))
          + call(3, b"/a.A/B", message(b"x"), GRPC + ((b"x-request-id", b"i" * 20),)),
    "stream": SETTINGS + frame(1, 4, 1, head(STREAM, extra=GRPC + ((b"x-request-id", b"i-2"),)))
              + frame(0, 0, 1, message(b"one") + message(b"two")[:4]) + frame(0, 0, 1, message(b"two")[4:])
              + frame(0, 1, 1, message(b"three")),
    "stream-key": SETTINGS + call(1, STREAM, message(b"one"), GRPC + ((b"x-key", b"y"),)),
    "stream-none": SETTINGS + frame(1, 5, 1, head(STREAM, extra=GRPC)),
    "stream-no": SETTINGS + call(1, STREAM, message(b"No") + message(b"more")),
    "stream-cut": SETTINGS + call(1, STREAM, message(b"one")[:-1]),
    "stream-packed": SETTINGS + call(1, STREAM, message(PACKED, 1), GZIP),
    "stream-flag": SETTINGS + call(1, STREAM, message(b"x", 2)),
    "stream-large": SETTINGS + call(1, STREAM, b"\0\0\x7f\xff\xff"),
    "stream-unread": frame(4, 0, 0, b"\0\x04\0\0\0\x01") + frame(1, 4, 1, head(STREAM, extra=GRPC))
                     + frame(0, 0, 1, message(b"Lots") * 6),
    "stream-much": SETTINGS + frame(1, 4, 1, head(STREAM, extra=GRPC))
                   + frame(0, 0, 1, b"\0\0\0\x0f\xff" + b"x" * 300),
    "stream-open": SETTINGS + frame(1, 4, 1, head(STREAM, extra=GRPC)) + frame(0, 0, 1, message(b"one")),
    "stream-reset": SETTINGS + frame(1, 4, 1, head(STREAM, extra=GRPC)) + frame(0, 0, 1, message(b"Lots"))
                    + frame(3, 0, 1, b"\0\0\0\x08"),
    "floods": SETTINGS + frame(6, 0, 0, b"12345678") * 1200,
    "bad-stream": SETTINGS + frame(1, 5, 2, head(b"/", b"\x82")),
    "bad-frame": SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1",
}

for kind, table in (("http1", HTTP1), ("http2", HTTP2)):
    for i, (name, data) in enumerate(table.items()):
        every = name in ("many", "late", "post", "grpc-many", "grpc-key", "grpc-packed", "large")
        for way in WAYS if every else {0, 4 | 1, 2 | 64, 128, WAYS[i % len(WAYS)]}:
            write(kind, name, way, data)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
for i, (name, data) in enumerate([*HTTP1.items(), *((f"h2-{k}", PREFACE + v) for k, v in HTTP2.items())]):
    for way in {2 | 64, 4 | 2 | 32, WAYS[i % len(WAYS)]}:
        write("net_conn", name, way, data)

folder = os.path.join(HERE, "corpus", "gzip")
os.makedirs(folder, exist_ok=True)
for i, data in enumerate((
        PACKED, NOISE, PACKED[:-3], PACKED + b"x", gzip.compress(b"0" * 9999, mtime=0), b"", b"no gzip",
        b"text " * 300, bytes(range(256)) * 8, b"gzip", b"gzip;q=0", b"br;q=1, gzip ; Q=0.00", b"*;q=0, x-gzip",
        b"*;x=y;q=0.001, identity", b"identity", b"X-GZIP, ,;;,q=0")):
    for limit in (0, 9):
        with open(os.path.join(folder, f"seed-{i}-{limit}"), "wb") as f:
            f.write(bytes([limit]) + data)

TEXTS = ["http://localhost:6333/a?b=c#d", "http://[::1]:7", "http://a:0", "http://a:99999", "http://u@b",
         "http://[::1", "http://a:8x/", "http://a b/", "http://a/b c", "https://a", "http://" + "h" * 300,
         "http://a/" + "p" * 1100, "http://a?x", "a%20b+c%2Fd", "a%0", "a%00", "a%zz", "100m", "9S",
         "99999999H", "99999999n", "5u", "1M", "123456789S", "1q", "\0\0\0\0\3abc", "\1\0\0\0\3abc",
         "\2\0\0\0\0", "\0\0\0\1\0", "\0\0\0\0\2abc", "50%", "%E2%82%ac", "application/grpc+proto;x",
         "application/grpc", "application/grpc-web", "P", "Q", "\x51", "\x56", "\x64", "\x65", "\x08"]
for i, text in enumerate(TEXTS):
    folder = os.path.join(HERE, "corpus", "net_text")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, f"text-{i}"), "wb") as f:
        f.write(text.encode("latin-1"))
