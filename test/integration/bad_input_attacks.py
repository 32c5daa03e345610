"""More rows of `make bad-input`: peers that mean harm. bad_input_rows.py says how a row is written.

Two more servers: `short` gives heads, bodies and unread answers 2 seconds and silence 4, 16
streams and 1 MiB bodies; `few` takes 32 connections and holds 4 MiB of bodies. Rows that wait for a
time-out are slow ones: they run beside the first pass.
"""

import gzip
import json
import select
import socket
import struct
import time
import zlib

from bad_input_rows import (BAD, FORMAT, GET, KNOWN, MIB, NEAREST, POINTS, QUERY, ROWS,  # noqa: F401
                            SCROLL, Do, Grpc, Raw, Raw2, Rest, Rest2, gzip_bomb, h1, point,
                            rows, search, settings)
from wire_client import (ACK, CLOSED, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS,
                         PADDED, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW, Answer, Hpack, Http1,
                         Http2, frame, grpc_frame, grpc_headers, hpack_int, http1, http2, pb_int,
                         pb_len, pseudo, request_bytes)

LIVEZ = b"GET /livez HTTP/1.1\r\nhost: q\r\n\r\n"
ALIVE = "healthz check passed"
PRIORITY = 2
SLOW_SECONDS = 60


def dribble(first, again=b"", node="short", half_close=False):
    """Sends first, then `again` four times a second, until there is an answer or the end."""
    def run(nodes):
        conn = Http1(nodes[node].http, seconds=SLOW_SECONDS)
        try:
            conn.send(first)
            if half_close:
                conn.sock.shutdown(socket.SHUT_WR)
            until = time.monotonic() + SLOW_SECONDS
            while time.monotonic() < until:
                if select.select([conn.sock], [], [], 0.25)[0]:
                    break
                if again and not conn.send(again):
                    break
            return conn.receive()
        finally:
            conn.close()
    return Do("HTTP/1.1", run)


def alone(data, node="main"):
    """The first answer to these bytes, and that there is no second: nothing was smuggled in."""
    def run(nodes):
        conn = Http1(nodes[node].http)
        try:
            conn.send(data if isinstance(data, bytes) else data.encode("latin-1"))
            conn.sock.shutdown(socket.SHUT_WR)
            got = conn.receive()
            more = conn.receive()
            return got if more.status == CLOSED else Answer(f"{got.status}, then {more.status}")
        finally:
            conn.close()
    return Do("HTTP/1.1", run)


HIDDEN = "GET /hidden HTTP/1.1\r\nhost: q\r\n\r\n"


def smuggle(headers, body=""):
    lines = "".join(h + "\r\n" for h in headers.split("|"))
    return alone(f"POST {SCROLL} HTTP/1.1\r\nhost: q\r\n{lines}\r\n{body}{HIDDEN}")


def chunks(text):
    return smuggle("transfer-encoding: chunked", text)


def then_livez(attack, times=1, pause=0):
    """Does it several times; what counts is that others are served."""
    def run(nodes):
        for _ in range(times):
            attack(nodes)
            time.sleep(pause)
        return http1(nodes["main"].http, "GET", "/livez")
    return Do("HTTP/1.1", run)


def hard_reset(data):
    def run(nodes):
        conn = Http1(nodes["main"].http)
        conn.send(data)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
    return run


def idle_after_answer(nodes):
    conn = Http1(nodes["short"].http, seconds=SLOW_SECONDS)
    try:
        got = conn.ask("GET", "/livez")
        return conn.receive() if got.status == 200 else got
    finally:
        conn.close()


def never_continues(nodes):
    conn = Http1(nodes["short"].http, seconds=SLOW_SECONDS)
    try:
        conn.send(f"PUT {POINTS} HTTP/1.1\r\nhost: q\r\ncontent-length: 9\r\nexpect: 100-continue"
                  "\r\n\r\n".encode())
        got = conn.receive(head_only=True)
        return conn.receive() if got.status == 100 else got
    finally:
        conn.close()


def unread_then_gone(nodes):
    """Pipelines 5,000 requests, reads nothing, closes."""
    conn = Http1(nodes["main"].http, seconds=2)
    conn.send(request_bytes("POST", SCROLL, b'{"limit":100}') * 5000)
    conn.close()


def pipeline_all(nodes):
    """5,000 requests at once, all read: the last answer."""
    conn = Http1(nodes["main"].http)
    try:
        got = Answer("none")
        for _ in range(5):
            conn.send(LIVEZ * 1000)
            for _ in range(1000):
                got = conn.receive()
        return got
    finally:
        conn.close()


def unread_answers(nodes):
    """Asks and does not read; the server ends it, within its write time-out."""
    conn = Http1(nodes["short"].http, seconds=SLOW_SECONDS)
    try:
        one = request_bytes("POST", SCROLL, b'{"limit":1000,"with_vector":true}') * 100
        conn.sock.settimeout(0.25)
        until = time.monotonic() + SLOW_SECONDS
        while time.monotonic() < until:
            try:
                conn.sock.sendall(one)
            except socket.timeout:
                continue
            except OSError:
                return Answer(CLOSED)
        return Answer("silent")
    finally:
        conn.close()


def headers_of(n, size=10):
    return "GET /livez HTTP/1.1\r\nhost: q\r\n" + "".join(
        f"x{i}: {'a' * size}\r\n" for i in range(n)) + "\r\n"


rows(
    "attack_http1",
    ("nothing at all", dribble(b""), CLOSED, "", True),
    ("half a method, then nothing", dribble(b"GE"), 408, "Timeout: ", True),
    ("a path, a letter now and then", dribble(b"GET /", b"a"), 408, "Timeout: ", True),
    ("headers, a line now and then", dribble(LIVEZ[:-2], b"x: y\r\n"), 408, "Timeout: ", True),
    ("a body, a byte now and then", dribble(request_bytes("PUT", POINTS, b" " * 99)[:-99], b" "),
     408, "Timeout: ", True),
    ("chunks of a byte now and then", dribble(
        b"PUT /x HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"), 408,
     "Timeout: ", True),
    ("a chunk extension now and then", dribble(
        b"PUT /x HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n1;x=", b"y"), 408,
     "Timeout: ", True),
    ("trailers now and then", dribble(
        b"PUT /x HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"), 408,
     "Timeout: ", True),
    ("half the HTTP/2 preface", dribble(PREFACE[:12]), CLOSED, "", True),
    ("an answer, then nothing", Do("HTTP/1.1", idle_after_answer), CLOSED, "", True),
    ("asks to go on, then does not", Do("HTTP/1.1", never_continues), 408, "Timeout: ", True),
    ("answers that are never read", Do("HTTP/1.1", unread_answers), CLOSED, "", True),
    ("half-closed without a word", alone(b""), CLOSED, ""),
    ("half-closed in a path", alone("GET /li"), 400, BAD),
    ("half-closed in a chunk", alone(
        "PUT /x HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"), 400,
     "incomplete"),
    ("half-closed behind the request", alone(LIVEZ), 200, ALIVE),
    ("300 bodies that end in a reset", then_livez(
        hard_reset(request_bytes("PUT", POINTS, b" " * 20000)[:-1]), 300), 200, ALIVE),
    ("300 requests and a reset", then_livez(
        hard_reset(request_bytes("POST", QUERY, search().encode())), 300), 200, ALIVE),
    ("5,000 requests at once, unread, gone", then_livez(unread_then_gone, 3), 200, ALIVE),
    ("5,000 requests in five pieces, all read", Do("HTTP/1.1", pipeline_all), 200, ALIVE),
    ("length, then chunks", smuggle("content-length: 4|transfer-encoding: chunked", "0\r\n\r\n"),
     400, BAD),
    ("chunks, then length", smuggle("transfer-encoding: chunked|content-length: 4", "0\r\n\r\n"),
     400, BAD),
    ("the same length twice", smuggle("content-length: 2|content-length: 2", "{}"), 400, BAD),
    ("a list of lengths", smuggle("content-length: 2, 2", "{}"), 400, BAD),
    ("a length with a plus", smuggle("content-length: +2", "{}"), 400, BAD),
    ("a length in hexadecimal", smuggle("content-length: 0x2", "{}"), 400, BAD),
    ("a length of two words", smuggle("content-length: 2 3", "{}"), 400, BAD),
    ("an empty length", smuggle("content-length:", "{}"), 400, BAD),
    ("chunked twice", smuggle("transfer-encoding: chunked|transfer-encoding: chunked",
                              "0\r\n\r\n"), 400, BAD),
    ("chunked twice in one line", smuggle("transfer-encoding: chunked, chunked", "0\r\n\r\n"), 400,
     BAD),
    ("chunked, then identity", smuggle("transfer-encoding: chunked, identity", "0\r\n\r\n"), 400,
     BAD),
    ("nearly chunked", smuggle("transfer-encoding: xchunked", "0\r\n\r\n"), 501,
     "transfer codings"),
    ("chunked, quoted", smuggle('transfer-encoding: "chunked"', "0\r\n\r\n"), 501,
     "transfer codings"),
    ("chunked behind a control character", smuggle("transfer-encoding: \x0bchunked", "0\r\n\r\n"),
     400, BAD),
    ("chunked, folded", smuggle("transfer-encoding:\r\n chunked", "0\r\n\r\n"), 400, BAD),
    ("a blank before the colon of chunked", smuggle("transfer-encoding : chunked", "0\r\n\r\n"),
     400, BAD),
    ("chunked in HTTP/1.0", alone("POST /x HTTP/1.0\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n"
                                  "0\r\n\r\n" + HIDDEN), 400, BAD),
    ("line feeds alone", alone("GET /livez HTTP/1.1\nhost: q\n\n" + HIDDEN), 400, BAD),
    ("a line feed alone in the headers", alone(
        "GET /livez HTTP/1.1\r\nhost: q\nx: y\r\n\r\n" + HIDDEN), 400, BAD),
    ("carriage returns alone", alone("GET /livez HTTP/1.1\rhost: q\r\r" + HIDDEN), 400, BAD),
    ("a chunk size with 0x", chunks("0x2\r\n{}\r\n0\r\n\r\n"), 400, BAD),
    ("a chunk size with a plus", chunks("+2\r\n{}\r\n0\r\n\r\n"), 400, BAD),
    ("a chunk size below 0", chunks("-2\r\n{}\r\n0\r\n\r\n"), 400, BAD),
    ("a blank before a chunk size", chunks(" 2\r\n{}\r\n0\r\n\r\n"), 400, BAD),
    ("no chunk size", chunks("\r\n{}\r\n0\r\n\r\n"), 400, BAD),
    ("a chunk that ends in a line feed", chunks("2\r\n{}\n0\r\n\r\n"), 400, BAD),
    ("a chunk size that ends in a line feed", chunks("2\n{}\r\n0\r\n\r\n"), 400, BAD),
    ("a chunk extension of 10 MB", Raw(lambda: [
        b"PUT /x HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n1;"] + [b"x" * 65536] * 160),
     400, BAD),
    ("a chunk size of 10 MB of zeros", Raw(lambda: [
        b"PUT /x HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n"] + [b"0" * 65536] * 160),
     400, BAD),
    ("10 MB of line ends", Raw(lambda: [b"\r\n" * 32768] * 160), 400, BAD),
    ("128 headers", alone(headers_of(127)), 200, ALIVE),
    ("129 headers", alone(headers_of(128)), 431, "headers"),
    ("headers of 60 kB", alone(headers_of(60, 1000)), 200, ALIVE),
    ("headers of 66 kB", alone(headers_of(66, 1000)), 431, "headers"),
    ("a header name of 70 kB", alone("GET / HTTP/1.1\r\nhost: q\r\n" + "n" * 70000 + ": v\r\n\r\n"),
     431, "headers"),
    ("a method of 1 MB", Raw(lambda: [b"G" * 65536] * 16), 400, BAD),
    ("an upgrade to h2c", h1("GET /livez HTTP/1.1|host: q|connection: Upgrade, HTTP2-Settings|"
                             "upgrade: h2c|http2-settings: AAMAAABkAAQCAAAAAAIAAAAA"), 200, ALIVE),
    ("an upgrade to TLS", h1("OPTIONS * HTTP/1.1|host: q|connection: upgrade|upgrade: TLS/1.2"), 404,
     ""),
    ("the HTTP/2 preface as a second request", alone(LIVEZ + PREFACE), "200, then 400", ""),
    ("TRACE", h1("TRACE / HTTP/1.1|host: q"), 405, "not allowed"),
    ("PRI", h1("PRI * HTTP/1.1|host: q"), 400, BAD),
)

# ---- HTTP/2 --------------------------------------------------------------------------------------

POST = Hpack.encode(pseudo("PUT", POINTS))
BIG = Hpack.encode(pseudo("POST", SCROLL))


def slow2(run, method="PUT", path=POINTS, end=False):
    """A request on the server `short`, then run(conn), which gives the answer."""
    def whole(nodes):
        conn = Http2(nodes["short"].http, seconds=SLOW_SECONDS)
        try:
            if method:
                conn.headers(1, pseudo(method, path), end=end)
            return run(conn)
        finally:
            conn.close()
    return Do("HTTP/2", whole)


def dribble2(kind, payload, stream=1, reads=True):
    def run(conn):
        until = time.monotonic() + SLOW_SECONDS
        while time.monotonic() < until and conn.end is None and 1 not in conn.answers:
            conn.send(frame(kind, 0, stream, payload))
            while select.select([conn.sock], [], [], 0.25)[0] and conn.end is None and reads:
                conn.step()
                if 1 in conn.answers:
                    break
        return conn.answers.get(1) or Answer(conn.end or "silent")
    return run


def stalled(what):
    """A large answer for which no window is opened; pings go on."""
    def whole(nodes):
        first = settings((4, 100)) if what == "stream" else b""
        conn = Http2(nodes["short"].http, seconds=SLOW_SECONDS)
        conn._take_all = conn._take

        def take(kind, flags, stream, payload):
            if kind != DATA:  # no window for what came
                conn._take_all(kind, flags, stream, payload)
        conn._take = take
        try:
            conn.send(first)
            if what == "connection":
                conn.send(settings((4, 1 << 24)))
            body = b'{"limit":1000,"with_vector":true,"with_payload":true}'
            streams = [2 * i + 1 for i in range(8 if what == "connection" else 1)]
            for s in streams:
                conn.headers(s, pseudo("POST", SCROLL), end=False)
                conn.data(s, body)
            return dribble2(PING, b"12345678", 0)(conn)
        finally:
            conn.close()
    return Do("HTTP/2", whole)


def flood2(pieces, stream=None):
    return Raw2(lambda: pieces, stream)


def made_to_reset():
    """Streams whose bodies are longer than they said: the server resets each."""
    head = Hpack.encode(pseudo("PUT", POINTS) + [("content-length", "1")])
    for first in range(0, 20000, 500):
        yield b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1, head) +
                       frame(DATA, END_STREAM, 2 * i + 1, b"12") for i in range(first, first + 500))


def hpack_bomb():
    """One header of 4 kB in the table, then thousands of references to it."""
    block = GET + b"\x40" + Hpack._text("x") + Hpack._text("a" * 4000)
    yield frame(HEADERS, END_HEADERS | END_STREAM, 1, block)
    for i in range(20):
        yield frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 3, GET + b"\xbe" * 16000)


def over_streams(ack):
    """40 streams at once, of which 16 are allowed; the answer on the last one."""
    def whole(nodes):
        conn = Http2(nodes["short"].http)
        try:
            if ack:
                while conn.initial == 65535 and conn.end is None:
                    conn.step()  # the server's SETTINGS, acknowledged
            conn.send(b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1, POST) for i in range(40)))
            return conn.answer(79)
        finally:
            conn.close()
    return Do("HTTP/2", whole)


def beyond_window(nodes):
    """2 MB of a body on a stream whose window has 1, without waiting."""
    conn = Http2(nodes["keys"].http)
    try:
        conn.headers(1, pseudo("PUT", POINTS), end=False)  # refused: no key, so nothing is taken
        for _ in range(200):
            if not conn.send(frame(DATA, 0, 1, b" " * 16384)):
                break
        got = conn.answer(1)
        return conn.alive() if got.status == 401 else got
    finally:
        conn.close()


def after_flood(pieces):
    """A flood that is let pass: the answer to a request behind it."""
    def whole(nodes):
        conn = Http2(nodes["main"].http)
        try:
            for p in pieces:
                conn.send(p)
            return conn.alive()
        finally:
            conn.close()
    return Do("HTTP/2", whole)


def half_closed2(data, stream):
    def whole(nodes):
        conn = Http2(nodes["main"].http)
        try:
            conn.send(data)
            got = conn.answer(stream)
            conn.sock.shutdown(socket.SHUT_WR)
            return conn.ending() if got.status == 200 else got
        finally:
            conn.close()
    return Do("HTTP/2", whole)


def window(stream, n):
    return frame(WINDOW, 0, stream, struct.pack(">I", n))


def goaway_or(what):
    return "goaway " + what


OPEN = frame(HEADERS, END_HEADERS, 1, POST)
PROTOCOL, CALM = "goaway PROTOCOL_ERROR", "goaway ENHANCE_YOUR_CALM"

rows(
    "attack_http2",
    ("headers that do not end", slow2(lambda conn: (conn.send(
        frame(HEADERS, END_STREAM, 1, GET)), conn.ending())[1], None), "cut", "", True),
    ("a body, a byte now and then", slow2(dribble2(DATA, b" ")), 408, "Timeout: ", True),
    ("a body that stops", slow2(lambda conn: (conn.send(frame(DATA, 0, 1, b" " * 9999)),
                                              conn.answer(1))[1]), 408, "Timeout: ", True),
    ("the preface, then nothing", slow2(lambda conn: conn.ending(), None), CLOSED, "", True),
    ("an answer, then nothing", slow2(lambda conn: (conn.answer(1), conn.ending())[1], "GET",
                                      "/livez", True), CLOSED, "", True),
    ("a stream's window that stays shut", stalled("stream"), "reset CANCEL", "", True),
    ("the connection's window stays shut", stalled("connection"), "cut", "", True),
    ("half-closed behind the request", half_closed2(
        frame(HEADERS, END_HEADERS | END_STREAM, 1, GET), 1), CLOSED, ""),
    ("100,000 windows moved by 1", flood2([window(0, 1) * 1000] * 100), "cut", ""),
    ("100,000 priorities", flood2([b"".join(frame(PRIORITY, 0, 2 * i + 1, b"\0\0\0\0\x10")
                                            for i in range(1000))] * 100), "cut", ""),
    ("100,000 acknowledged pings", flood2([frame(PING, ACK, 0, b"12345678") * 1000] * 100), "cut",
     ""),
    ("100,000 frames of an unknown kind", after_flood([frame(0x42, 0, 0, b"x") * 1000] * 100), 200,
     ALIVE),
    ("20,000 streams that the server has to reset", Raw2(made_to_reset), "cut", ""),
    ("10,000 requests without a path", flood2([b"".join(frame(
        HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, Hpack.encode([(":method", "GET")]))
        for i in range(10000))]), "cut", ""),
    ("headers of 4 kB, 16,000 times by index", Raw2(hpack_bomb), "cut", ""),
    ("40 streams, 16 are allowed", over_streams(False), "reset REFUSED_STREAM", ""),
    ("40 streams, 16 are allowed, and it knows", over_streams(True), "cut", ""),
    ("a body beyond the window", Do("HTTP/2", beyond_window), 200, ALIVE),
    ("a stream's window moved by 0", flood2([OPEN + window(1, 0)]), PROTOCOL, ""),
    ("a stream's window overflows", flood2([OPEN + window(1, 0x7FFFFFFF)], 1),
     "reset FLOW_CONTROL_ERROR", ""),
    ("all windows overflow by SETTINGS", flood2([OPEN + window(1, 1 << 20) + settings(
        (4, 0x7FFFFFFF))], 1), "reset FLOW_CONTROL_ERROR", ""),
    ("a reset of a stream that never was", flood2([frame(RST_STREAM, 0, 1, b"\0\0\0\x08")]), PROTOCOL,
     ""),
    ("a reset of 3 bytes", flood2([OPEN + frame(RST_STREAM, 0, 1, b"\0\0\0")]),
     "goaway FRAME_SIZE_ERROR", ""),
    ("a reset on stream 0", flood2([frame(RST_STREAM, 0, 0, b"\0\0\0\x08")]), PROTOCOL, ""),
    ("a ping on a stream", flood2([frame(PING, 0, 1, b"12345678")]), PROTOCOL, ""),
    ("a GOAWAY on a stream", flood2([frame(GOAWAY, 0, 1, b"\0" * 8)]), PROTOCOL, ""),
    ("a GOAWAY of 4 bytes", flood2([frame(GOAWAY, 0, 0, b"\0" * 4)]), "goaway FRAME_SIZE_ERROR", ""),
    ("a window update of 3 bytes", flood2([frame(WINDOW, 0, 0, b"\0\0\1")]),
     "goaway FRAME_SIZE_ERROR", ""),
    ("push allowed twice over", flood2([settings((2, 2))]), PROTOCOL, ""),
    ("frames of 2^24", flood2([settings((5, 1 << 24))]), PROTOCOL, ""),
    ("unknown settings", after_flood([settings((0x99, 1), (0xFFFF, 2))]), 200, ALIVE),
    ("1,000 SETTINGS frames, acknowledged, are many", flood2(
        [frame(SETTINGS, ACK, 0) * 1000] * 20), "cut", ""),
    ("a table of 4 GB", flood2([frame(HEADERS, END_HEADERS | END_STREAM, 1, hpack_int(
        (1 << 32) - 1, 5, 0x20) + GET)]), "goaway COMPRESSION_ERROR", ""),
    ("a number without end in a header block", flood2([frame(
        HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\x7f" + b"\xff" * 100)]),
     "goaway COMPRESSION_ERROR", ""),
    ("a text longer than its block", flood2([frame(
        HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\x10\x01a\x7f\xff\xff\x03")]),
     "goaway COMPRESSION_ERROR", ""),
    ("a wrong Huffman code", flood2([frame(
        HEADERS, END_HEADERS | END_STREAM, 1, GET + b"\x10\x01a\x84\xff\xff\xff\xff")]),
     "goaway COMPRESSION_ERROR", ""),
    ("padding that fills the frame, 10,000 times", after_flood(
        [OPEN] + [frame(DATA, PADDED, 1, b"\xff" + b"\0" * 255) * 100] * 20), 200, ALIVE),
    ("CONTINUATION on another stream", flood2([frame(HEADERS, END_STREAM, 1, GET) + frame(
        CONTINUATION, END_HEADERS, 3, b"")]), PROTOCOL, ""),
    ("CONTINUATIONs full of headers", flood2([frame(HEADERS, END_STREAM, 1, GET)] + [
        frame(CONTINUATION, 0, 1, Hpack.encode([("x", "a" * 16000)]))] * 1000), "cut", ""),
    ("a frame of 16 MB, it says", flood2([b"\xff\xff\xff" + frame(DATA, 0, 1)[3:] + b"x" * 9999]),
     "goaway FRAME_SIZE_ERROR", ""),
    ("a stream that depends on itself", flood2([frame(
        HEADERS, END_HEADERS | END_STREAM | 0x20, 1, b"\0\0\0\x01\x10" + GET)], 1), "cut", ""),
    ("a CONNECT", Raw2(lambda: frame(HEADERS, END_HEADERS | END_STREAM, 1, Hpack.encode(
        [(":method", "CONNECT"), (":authority", "q:1")])), 1), 400, BAD),
    ("an upgrade inside HTTP/2", Raw2(lambda: frame(HEADERS, END_HEADERS | END_STREAM, 1, Hpack.encode(
        pseudo("GET", "/livez") + [("upgrade", "h2c")])), 1), "reset PROTOCOL_ERROR", ""),
    ("transfer-encoding inside HTTP/2", Raw2(lambda: frame(
        HEADERS, END_HEADERS | END_STREAM, 1, Hpack.encode(pseudo("GET", "/livez") + [
            ("transfer-encoding", "chunked")])), 1), "reset PROTOCOL_ERROR", ""),
    ("two lengths", Raw2(lambda: frame(HEADERS, END_HEADERS, 1, Hpack.encode(
        pseudo("PUT", POINTS) + [("content-length", "2"), ("content-length", "3")])) +
        frame(DATA, END_STREAM, 1, b"{}"), 1), "reset PROTOCOL_ERROR", ""),
    ("a line end in a header", Raw2(lambda: frame(HEADERS, END_HEADERS | END_STREAM, 1, Hpack.encode(
        pseudo("GET", "/livez") + [("x", "a\r\nb: c")])), 1), "reset PROTOCOL_ERROR", ""),
    ("a line end in the path", Raw2(lambda: frame(HEADERS, END_HEADERS | END_STREAM, 1, Hpack.encode(
        pseudo("GET", "/livez\r\nx"))), 1), "reset PROTOCOL_ERROR", ""),
    ("200 headers", Raw2(lambda: frame(HEADERS, END_HEADERS | END_STREAM, 1, Hpack.encode(
        pseudo("GET", "/livez") + [(f"x{i}", "1") for i in range(200)])), 1), 431, "headers"),
)

# ---- gzip ----------------------------------------------------------------------------------------

GZIP = [("content-encoding", "gzip")]
ASK_GZIP = [("accept-encoding", "gzip")]
GRPC_GZIP = [("grpc-encoding", "gzip")]
UPLOAD = point(ident="901", payload='{"pad":"' + "x" * 5000 + '"}').encode()
PUT_WAIT = POINTS + "?wait=true"
UNSUPPORTED = "Unsupported media type"


def zeros(n, member=gzip.compress):
    return member(b" " * n)


def packed(body, headers=tuple(GZIP), kind=Rest, node="main", path=PUT_WAIT, method="PUT"):
    return kind(method, path, body, list(headers), node)


def grpc_packed(message, node="main", method="Points/Query", headers=tuple(GRPC_GZIP)):
    return Grpc(method, headers=list(headers), framed=lambda: grpc_frame(message(), 1), node=node)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def answer_packed(ask, accept, wanted):
    """200 when the answer is packed as wanted, and unpacks to what a plain one holds."""
    def run(nodes):
        body = b'{"limit":100,"with_vector":true}'
        got = ask(nodes["main"].http, "POST", SCROLL, body, [("accept-encoding", accept)])
        plain = ask(nodes["main"].http, "POST", SCROLL, body)
        is_packed = got.headers.get("content-encoding") == "gzip"
        if is_packed != wanted or got.headers.get("vary") != "accept-encoding":
            return Answer(f"content-encoding {got.headers.get('content-encoding')}, vary "
                          f"{got.headers.get('vary')}")
        text = gzip.decompress(got.body) if is_packed else got.body
        same = json.loads(text)["result"] == plain.json()["result"]
        return Answer(got.status if same else "another answer")
    return Do("HTTP/2" if ask is http2 else "HTTP/1.1", run)


def grpc_answer_packed(accept, wanted):
    def run(nodes):
        conn = Http2(nodes["main"].grpc)
        try:
            conn.headers(1, grpc_headers("Points/Query", [("grpc-accept-encoding", accept)]), end=False)
            conn.data(1, grpc_frame(KNOWN + NEAREST + pb_int(8, 200)))
            kept = {}
            take = conn._take

            def keep(kind, flags, stream, payload):
                if kind == DATA:
                    kept[stream] = kept.get(stream, b"") + payload
                take(kind, flags, stream, payload)
            conn._take = keep
            got = conn.answer(1)
            flag, n = struct.unpack(">BI", kept[1][:5])
            if flag != wanted or (got.headers.get("grpc-encoding") == "gzip") != wanted:
                return Answer(f"flag {flag}, grpc-encoding {got.headers.get('grpc-encoding')}")
            if wanted and len(gzip.decompress(kept[1][5:5 + n])) <= n:
                return Answer("not smaller")
            return got
        finally:
            conn.close()
    return Do("gRPC", run)


def many_bombs(nodes):
    """Eight bombs at once, on as many connections; an answer that is not 413, if there is one."""
    conns = [Http1(nodes["main"].http) for _ in range(8)]
    try:
        for c in conns:
            c.send(request_bytes("PUT", PUT_WAIT, gzip_bomb(), GZIP))
        got = [c.receive() for c in conns]
        return next((g for g in got if g.status != 413), got[0])
    finally:
        for c in conns:
            c.close()


def gone_meanwhile(nodes):
    conn = Http1(nodes["main"].http)
    conn.send(request_bytes("PUT", PUT_WAIT, gzip_bomb(), GZIP))
    conn.close()


def two_members():
    return gzip.compress(UPLOAD[:9]) + gzip.compress(UPLOAD[9:])


rows(
    "gzip",
    ("a packed body", packed(gzip.compress(UPLOAD)), 200, ""),
    ("a packed body, small", packed(gzip.compress(point(ident="901").encode())), 200, ""),
    ("a packed body, HTTP/2", packed(gzip.compress(UPLOAD), kind=Rest2), 200, ""),
    ("a packed body in chunks", Raw(lambda: [
        f"PUT {PUT_WAIT} HTTP/1.1\r\nhost: q\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked"
        "\r\n\r\n".encode()] + [b"1\r\n" + bytes([b]) + b"\r\n" for b in gzip.compress(UPLOAD)] +
        [b"0\r\n\r\n"]), 200, ""),
    ("x-gzip", packed(gzip.compress(UPLOAD), [("content-encoding", "x-gzip")]), 200, ""),
    ("identity", packed(point(ident="901").encode(), [("content-encoding", "identity")]), 200, ""),
    ("what it was is undone", Rest("POST", POINTS + "/delete?wait=true", '{"points":[901]}'), 200, ""),
    ("a bomb of 256 MB", packed(gzip_bomb()), 413, "Payload too large"),
    ("a bomb of 256 MB, HTTP/2", packed(gzip_bomb(), kind=Rest2), 413, "Payload too large"),
    ("a bomb of a kilobyte", packed(zeros(MIB + 1), node="tight"), 413, "Payload too large"),
    ("as much as is allowed", packed(zeros(MIB), node="tight"), 400, FORMAT),
    ("a bomb, gRPC, a kilobyte", grpc_packed(lambda: zeros(MIB + 1), "tight"), "RESOURCE_EXHAUSTED",
     ""),
    ("eight bombs at once", Do("HTTP/1.1", many_bombs), 413, "Payload too large"),
    ("bombs whose clients have gone", then_livez(gone_meanwhile, 10), 200, ALIVE),
    ("cut short", packed(gzip.compress(UPLOAD)[:-9]), 400, BAD),
    ("only the header of gzip", packed(gzip.compress(UPLOAD)[:10]), 400, BAD),
    ("a wrong checksum", packed(flipped(gzip.compress(UPLOAD), -6)), 400, BAD),
    ("a wrong length", packed(flipped(gzip.compress(UPLOAD), -2)), 400, BAD),
    ("a flipped bit", packed(flipped(gzip.compress(UPLOAD), 2)), 400, BAD),
    ("bytes behind it", packed(gzip.compress(UPLOAD) + b"x"), 400, BAD),
    ("two members", packed(two_members()), 400, BAD),
    ("packed twice, said once", packed(gzip.compress(gzip.compress(UPLOAD))), 400, FORMAT),
    ("packed twice, said so", packed(gzip.compress(gzip.compress(UPLOAD)),
                                     [("content-encoding", "gzip, gzip")]), 415, UNSUPPORTED),
    ("packed twice, said in two lines", packed(gzip.compress(gzip.compress(UPLOAD)), GZIP * 2), 415,
     UNSUPPORTED),
    ("not packed at all", packed(UPLOAD), 400, BAD),
    ("zlib, not gzip", packed(zlib.compress(UPLOAD)), 400, BAD),
    ("deflate", packed(zlib.compress(UPLOAD), [("content-encoding", "deflate")]), 415, UNSUPPORTED),
    ("br", packed(UPLOAD, [("content-encoding", "br")]), 415, UNSUPPORTED),
    ("zstd, HTTP/2", packed(UPLOAD, [("content-encoding", "zstd")], Rest2), 415, UNSUPPORTED),
    ("nothing, packed", packed(gzip.compress(b"")), 400, FORMAT),
    ("an empty body that is said to be packed", packed(b""), 400, FORMAT),
    ("a GET that says gzip", Rest("GET", "/livez", headers=GZIP), 200, ALIVE),
    ("wrong JSON inside", packed(gzip.compress(b'{"points":')), 400, FORMAT),
    ("an answer as gzip", answer_packed(http1, "gzip", True), 200, ""),
    ("an answer as gzip, HTTP/2", answer_packed(http2, "br, gzip;q=0.5", True), 200, ""),
    ("an answer as gzip, refused", answer_packed(http1, "gzip;q=0, *", False), 200, ""),
    ("an answer, nothing accepted that we have", answer_packed(http1, "br, identity;q=0", False), 200,
     ""),
    ("an accept-encoding of 50 kB", Rest("POST", SCROLL, '{"limit":100}', [
        ("accept-encoding", "a;q=0," * 8000)]), 200, ""),
    ("gRPC, packed", grpc_packed(lambda: gzip.compress(KNOWN + NEAREST)), "OK", ""),
    ("gRPC, packed, and 100 kB", grpc_packed(lambda: gzip.compress(
        KNOWN + NEAREST + pb_len(31, "x" * 100000))), "OK", ""),
    ("gRPC, packed, cut short", grpc_packed(lambda: gzip.compress(KNOWN + NEAREST)[:-3]), "INTERNAL",
     ""),
    ("gRPC, packed, empty", grpc_packed(lambda: b""), "INTERNAL", ""),
    ("gRPC, an encoding that is not used", Grpc("Points/Query", KNOWN + NEAREST, [
        ("grpc-encoding", "br")]), "OK", ""),
    ("gRPC, flag without an encoding", grpc_packed(lambda: gzip.compress(KNOWN + NEAREST), headers=()),
     "UNIMPLEMENTED", ""),
    ("gRPC, content-encoding means nothing", Grpc("Points/Query", KNOWN + NEAREST, GZIP), "OK", ""),
    ("gRPC, an answer as gzip", grpc_answer_packed("identity,deflate,gzip", True), "OK", ""),
    ("gRPC, an answer plain", grpc_answer_packed("identity,deflate", False), "OK", ""),
)

# ---- caps ----------------------------------------------------------------------------------------


def over_connections(nodes):
    """Where 32 connections are allowed, of 60 most are closed at once; with room again, one asks."""
    port = nodes["few"].http
    conns = []
    closed = served = 0
    try:
        for _ in range(60):
            try:
                conns.append(Http1(port))
            except OSError:
                closed += 1
        for c in conns:
            got = c.ask("GET", "/livez")
            closed += got.status == CLOSED
            served += got.status == 200
    finally:
        for c in conns:
            c.close()
    if not served or served > 32 or closed < 28:
        return Answer(f"{served} served, {closed} closed")
    return until_served(port)


def until_served(port):
    got = Answer("none")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            got = http1(port, "GET", "/livez")
        except OSError:
            pass
        if got.status == 200:
            break
        time.sleep(0.05)
    return got


def over_buffered(nodes):
    """Bodies of 900 kB on 8 connections where 4 MiB are held: some are refused, with 429."""
    until_served(nodes["few"].http)
    conns = [Http1(nodes["few"].http) for _ in range(8)]
    head = request_bytes("PUT", POINTS, b" " * 900000)
    try:
        for c in conns:
            c.send(head[:-1])
        select.select([c.sock for c in conns], [], [], 20)
        answers = [c.receive() for c in conns if select.select([c.sock], [], [], 0)[0]]
        if not answers:
            return Answer("all of it is held")
        return next((a for a in answers if a.status != 429), answers[0])
    finally:
        for c in conns:
            c.close()


def idle_streams(nodes):
    """100 connections with 100 open streams each; then one asks."""
    conns = []
    try:
        for _ in range(100):
            conns.append(Http2(nodes["main"].http))
            conns[-1].send(b"".join(frame(HEADERS, END_HEADERS, 2 * i + 1, POST) for i in range(100)))
        return http1(nodes["main"].http, "GET", "/livez")
    finally:
        for c in conns:
            c.close()


rows(
    "resources",
    ("60 connections where 32 are allowed", Do("HTTP/1.1", over_connections), 200, ALIVE),
    ("more bodies at once than may be held", Do("HTTP/1.1", over_buffered), 429,
     "too many bytes of requests"),
    ("10,000 open streams", Do("HTTP/2", idle_streams), 200, ALIVE),
)
