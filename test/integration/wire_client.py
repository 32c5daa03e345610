"""Clients that can say anything: HTTP/1.1 by raw bytes, HTTP/2 by raw frames, gRPC and protobuf put
together by hand. Nothing here refuses to send what a proper client would not.

Only the decoding of answers' header blocks is borrowed: libnghttp2's HPACK decoder, through ctypes.
Every answer is an Answer; a connection that ends without one gives status "closed".
"""

import ctypes
import json
import socket
import struct
import time
import urllib.parse

ANSWER_SECONDS = 30
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = (
    0, 1, 3, 4, 5, 6, 7, 8, 9)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
H2_ERRORS = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR",
             "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL",
             "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY",
             "HTTP_1_1_REQUIRED"]
GRPC = ["OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
        "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
        "UNAUTHENTICATED"]


class Answer:
    """status: the HTTP status (int), a gRPC status name, "goaway NAME", "reset NAME" or "closed"."""

    def __init__(self, status, text="", headers=None, body=b""):
        self.status = status
        self.text = text
        self.headers = headers or {}
        self.body = body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.text[:300]!r}"


CLOSED = "closed"


def error_text(body):
    """The text a person would read: status.error of an envelope, else the body."""
    try:
        return json.loads(body)["status"]["error"]
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")


# ---- HTTP/1.1 ----


def request_bytes(method, path, body=None, headers=(), length=True):
    head = [f"{method} {path} HTTP/1.1", "host: quiver"]
    if body is not None:
        if not any(k == "content-type" for k, _ in headers):
            head.append("content-type: application/json")
        if length:
            head.append(f"content-length: {len(body)}")
    head += [f"{k}: {v}" for k, v in headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + (body or b"")


class Http1:
    def __init__(self, port, seconds=ANSWER_SECONDS):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.left = b""

    def close(self):
        self.sock.close()

    def send(self, data):
        """False when the peer has closed already: an answer may still be waiting."""
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def _more(self):
        got = self.sock.recv(1 << 16)
        self.left += got
        return bool(got)

    def receive(self, head_only=False):
        try:
            return self._receive(head_only)
        except socket.timeout:
            return Answer("silent")
        except OSError:
            return Answer(CLOSED)

    def _receive(self, head_only):
        while b"\r\n\r\n" not in self.left:
            if not self._more():
                return Answer(CLOSED)
        head, self.left = self.left.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {k.lower(): v.strip() for k, v in (s.split(":", 1) for s in lines[1:])}
        n = 0 if head_only else int(headers.get("content-length", 0))
        while len(self.left) < n:
            if not self._more():
                return Answer(CLOSED)
        body, self.left = self.left[:n], self.left[n:]
        return Answer(status, error_text(body), headers, body)

    def ask(self, method, path, body=None, headers=()):
        self.send(request_bytes(method, path, body, headers))
        return self.receive(method == "HEAD")


def http1(port, method, path, body=None, headers=()):
    conn = Http1(port)
    try:
        return conn.ask(method, path, body, headers)
    finally:
        conn.close()


def http1_raw(port, data, half_close=False):
    """Sends bytes (or an iterable of bytes, stopping when the peer hangs up) and gives the first
    answer."""
    conn = Http1(port)
    try:
        for piece in [data] if isinstance(data, bytes) else data:
            if not conn.send(piece):
                break
        if half_close:
            conn.sock.shutdown(socket.SHUT_WR)
        return conn.receive()
    finally:
        conn.close()


# ---- HTTP/2 ----


class _Nv(ctypes.Structure):
    _fields_ = [("name", ctypes.POINTER(ctypes.c_uint8)),
                ("value", ctypes.POINTER(ctypes.c_uint8)), ("namelen", ctypes.c_size_t),
                ("valuelen", ctypes.c_size_t), ("flags", ctypes.c_uint8)]


class Hpack:
    """Encodes as literals that are never indexed; decodes with libnghttp2."""

    def __init__(self):
        self.lib = ctypes.CDLL("libnghttp2.so.14")
        self.lib.nghttp2_hd_inflate_hd2.restype = ctypes.c_ssize_t
        self.lib.nghttp2_hd_inflate_hd2.argtypes = [
            ctypes.c_void_p, ctypes.POINTER(_Nv), ctypes.POINTER(ctypes.c_int), ctypes.c_char_p,
            ctypes.c_size_t, ctypes.c_int]
        self.lib.nghttp2_hd_inflate_end_headers.argtypes = [ctypes.c_void_p]
        self.lib.nghttp2_hd_inflate_del.argtypes = [ctypes.c_void_p]
        self.state = ctypes.c_void_p()
        if self.lib.nghttp2_hd_inflate_new(ctypes.byref(self.state)) != 0:
            raise MemoryError

    def close(self):
        self.lib.nghttp2_hd_inflate_del(self.state)

    def decode(self, block):
        headers = {}
        nv, flags = _Nv(), ctypes.c_int()
        while True:
            n = self.lib.nghttp2_hd_inflate_hd2(self.state, ctypes.byref(nv), ctypes.byref(flags),
                                                block, len(block), 1)
            if n < 0:
                raise ValueError(f"header block: {n}")
            block = block[n:]
            if flags.value & 2:
                name = ctypes.string_at(nv.name, nv.namelen).decode("latin-1")
                headers[name] = ctypes.string_at(nv.value, nv.valuelen).decode("latin-1")
            if flags.value & 1:
                self.lib.nghttp2_hd_inflate_end_headers(self.state)
                return headers

    @staticmethod
    def _text(s):
        data = s if isinstance(s, bytes) else s.encode("latin-1")
        return hpack_int(len(data), 7, 0) + data

    @classmethod
    def encode(cls, headers):
        return b"".join(b"\x10" + cls._text(k) + cls._text(v) for k, v in headers)


def hpack_int(n, bits, first):
    most = (1 << bits) - 1
    if n < most:
        return bytes([first | n])
    out, n = [first | most], n - most
    while n >= 128:
        out.append(n % 128 | 128)
        n //= 128
    return bytes(out + [n])


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Http2:
    """Stream answers are collected in .answers; what ends the connection in .end."""

    def __init__(self, port, seconds=ANSWER_SECONDS, settings=b"", preface=PREFACE):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.seconds = seconds
        self.hpack = Hpack()
        self.left = b""
        self.streams = {}
        self.answers = {}
        self.end = None
        self.window = 65535  # what the connection may still send; streams begin with `initial`
        self.initial = 65535
        self.windows = {}
        self.max_frame = 16384
        self.send(preface + frame(SETTINGS, 0, 0, settings))

    def close(self):
        self.sock.close()
        self.hpack.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
            return True
        except OSError:
            return False

    def headers(self, stream, headers, end=True):
        return self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream,
                               Hpack.encode(headers)))

    def data(self, stream, body, end=True):
        """Sends a body as the windows allow, reading meanwhile."""
        at = 0
        while self.end is None and stream not in self.answers:
            room = min(self.window, self.windows.get(stream, self.initial), self.max_frame)
            n = min(room, len(body) - at)
            if n > 0 or at == len(body):
                last = end and at + n == len(body)
                self.send(frame(DATA, END_STREAM if last else 0, stream, body[at:at + n]))
                self.window -= n
                self.windows[stream] = self.windows.get(stream, self.initial) - n
                at += n
                if at == len(body):
                    return
            else:
                self.step()

    def step(self):
        """Takes one frame."""
        try:
            while len(self.left) < 9 or len(self.left) < 9 + int.from_bytes(self.left[:3], "big"):
                got = self.sock.recv(1 << 16)
                if not got:
                    self.end = self.end or CLOSED
                    return
                self.left += got
        except socket.timeout:
            self.end = self.end or "silent"
            return
        except OSError:
            self.end = self.end or CLOSED
            return
        n = int.from_bytes(self.left[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self.left[3:9])
        payload, self.left = self.left[9:9 + n], self.left[9 + n:]
        self._take(kind, flags, stream & 0x7FFFFFFF, payload)

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                key, value = struct.unpack(">HI", payload[at:at + 6])
                if key == 4:  # open streams move with it
                    for s in self.windows:
                        self.windows[s] += value - self.initial
                    self.initial = value
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW:
            more = struct.unpack(">I", payload)[0]
            if stream == 0:
                self.window += more
            else:
                self.windows[stream] = self.windows.get(stream, self.initial) + more
        elif kind == HEADERS:
            self.streams.setdefault(stream, [{}, b""])[0].update(self.hpack.decode(payload))
        elif kind == DATA:
            self.streams.setdefault(stream, [{}, b""])[1] += payload
            if payload:
                self.send(frame(WINDOW, 0, 0, struct.pack(">I", len(payload))))
                if not flags & END_STREAM:
                    self.send(frame(WINDOW, 0, stream, struct.pack(">I", len(payload))))
        elif kind == RST_STREAM:
            if stream not in self.answers:
                self.answers[stream] = Answer("reset " + H2_ERRORS[struct.unpack(">I", payload)[0]])
        elif kind == GOAWAY:
            code = struct.unpack(">I", payload[4:8])[0]
            if code:
                self.end = "goaway " + H2_ERRORS[code]
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.answers[stream] = answer_of(*self.streams.pop(stream))

    def answer(self, stream):
        """The answer on a stream, or what ended the connection before there was one."""
        until = time.monotonic() + self.seconds
        while stream not in self.answers and self.end is None:
            self.step()
            if time.monotonic() > until:
                return Answer("silent")
        return self.answers.get(stream) or Answer(self.end)

    def alive(self):
        """The answer to a request on a stream beyond all others."""
        self.headers(999999, pseudo("GET", "/livez"))
        return self.answer(999999)

    def ending(self):
        """Reads until the connection ends."""
        until = time.monotonic() + self.seconds
        while self.end is None and time.monotonic() < until:
            self.step()
        return Answer(self.end or "silent")


def answer_of(headers, body):
    if "grpc-status" in headers:
        text = urllib.parse.unquote(headers.get("grpc-message", ""))
        return Answer(GRPC[int(headers["grpc-status"])], text, headers, body[5:])
    status = int(headers.get(":status", 0))
    return Answer(status, error_text(body), headers, body)


def pseudo(method, path):
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "quiver")]


def http2(port, method, path, body=None, headers=()):
    conn = Http2(port)
    try:
        conn.headers(1, pseudo(method, path) + list(headers), end=body is None)
        if body is not None:
            conn.data(1, body)
        return conn.answer(1)
    finally:
        conn.close()


def http2_raw(port, data, stream=None, settings=b""):
    """Sends bytes after the preface; the answer on stream, or how the connection ends."""
    conn = Http2(port, settings=settings)
    try:
        for piece in [data] if isinstance(data, bytes) else data:
            if not conn.send(piece):
                break
        return conn.ending() if stream is None else conn.answer(stream)
    finally:
        conn.close()


# ---- gRPC ----


def grpc_headers(method, headers=(), content_type="application/grpc"):
    path = method if method.startswith("/") else "/qdrant." + method
    return pseudo("POST", path) + [("content-type", content_type), ("te", "trailers")] + list(
        headers)


def grpc_frame(message, compressed=0, length=None):
    return struct.pack(">BI", compressed, len(message) if length is None else length) + message


def grpc(port, method, message, headers=(), framed=None):
    """framed: what goes out as the body instead of the message with its prefix."""
    conn = Http2(port)
    try:
        conn.headers(1, grpc_headers(method, headers), end=False)
        conn.data(1, grpc_frame(message) if framed is None else framed)
        return conn.answer(1)
    finally:
        conn.close()


# ---- protobuf ----


def varint(n):
    n &= (1 << 64) - 1
    out = []
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + [n])


def pb_int(field, n):
    return varint(field << 3) + varint(n)


def pb_len(field, *parts):
    data = b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)
    return varint(field << 3 | 2) + varint(len(data)) + data


def pb_f32(field, x):
    return varint(field << 3 | 5) + struct.pack("<f", x)


def pb_f64(field, x):
    return varint(field << 3 | 1) + struct.pack("<d", x)


def pb_floats(field, xs):
    """Packed."""
    return pb_len(field, struct.pack(f"<{len(xs)}f", *xs))


def pb_nest(field, depth, inner=b""):
    """depth submessages, one in the other; linear in time."""
    heads, n = [], len(inner)
    for _ in range(depth):
        head = varint(field << 3 | 2) + varint(n)
        heads.append(head)
        n += len(head)
    return b"".join(reversed(heads)) + inner


def pb_nest2(outer, inner_field, depth, inner=b""):
    """Like pb_nest, the fields taking turns: outer(inner_field(outer(...)))."""
    heads, n = [], len(inner)
    for i in range(depth):
        head = varint((inner_field if i % 2 == 0 else outer) << 3 | 2) + varint(n)
        heads.append(head)
        n += len(head)
    return b"".join(reversed(heads)) + inner
