"""A proxy on loopback between a client and a provider, which does to requests what networks do.

Each request meets a fault or none, drawn from a seed, its body, and how often that body came: which
thread is faster changes nothing. Beside that there are storms, in which everybody is turned away.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HUGE = 33 * 2**20
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>" * 20
SOON = {"Retry-After": "0.05"}
STORM_SHARE, STORM_LENGTH = 0.03, 12


@dataclass(frozen=True)
class Fault:
    """What happens to a request.

    Attributes:
        name: for the counts.
        weight: how likely it is, beside the others.
        forwards: whether the provider sees the request, and has its answer paid.
        act: does it, given the handler and the provider's answer, if there is one.
    """

    name: str
    weight: float
    forwards: bool
    act: Callable[[Any, bytes], None]


def _refuse(status: int, body: bytes, **headers: str) -> Callable[[Any, bytes], None]:
    return lambda handler, answer: handler.send(status, body, headers)


def _say(body: bytes, kind: str = "application/json") -> Callable[[Any, bytes], None]:
    return lambda handler, answer: handler.send(200, body, {"Content-Type": kind})


def _late(handler: Any, answer: bytes) -> None:
    handler.wait(0.3 * handler.proxy.timeout_s)
    handler.send(200, answer)


def _too_late(handler: Any, answer: bytes) -> None:
    handler.wait(1.5 * handler.proxy.timeout_s)
    handler.send(200, answer)


def _silent(handler: Any, answer: bytes) -> None:
    handler.wait(60)


def _reset(handler: Any, answer: bytes) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.hang_up()


def _cut(handler: Any, answer: bytes) -> None:
    handler.send(200, answer[: len(answer) // 2], {"Content-Length": str(len(answer))})
    handler.hang_up()


def _cut_chunks(handler: Any, answer: bytes) -> None:
    half = answer[: len(answer) // 2]
    chunk = b"%x\r\n%s\r\n" % (len(half), half)
    handler.send(200, chunk, {"Transfer-Encoding": "chunked", "Content-Length": ""})
    handler.hang_up()


def _odd_type(handler: Any, answer: bytes) -> None:
    handler.send(200, answer, {"Content-Type": "text/plain"})


FAULTS = (
    Fault("late", 3, True, _late),
    Fault("too late", 1, True, _too_late),
    Fault("never answered", 1, False, _silent),
    Fault(
        "429 with Retry-After", 3, False, _refuse(429, b'{"error": {"message": "slow"}}', **SOON)
    ),
    Fault("429", 2, False, _refuse(429, b"")),
    Fault("500", 2, False, _refuse(500, b'{"error": {"message": "trouble"}}', **SOON)),
    Fault("503", 2, False, _refuse(503, b"overloaded", **SOON)),
    Fault("502, a page", 2, False, _refuse(502, PAGE, **{"Content-Type": "text/html", **SOON})),
    Fault("502 after the answer", 1, True, _refuse(502, PAGE, **SOON)),
    Fault("reset before", 2, False, _reset),
    Fault("reset after", 3, True, _reset),
    Fault("cut", 3, True, _cut),
    Fault("cut in chunks", 3, True, _cut_chunks),
    Fault("a page for an answer", 2, True, _say(PAGE, "text/html")),
    Fault("no JSON", 2, True, _say(b'{"choices": [{"message": {"content": "ha')),
    Fault("other JSON", 2, True, _say(b'{"choices": [{"text": 7}], "usage": "none"}')),
    Fault("a list", 1, True, _say(b"[1, 2, 3]")),
    Fault("nothing", 2, True, _say(b"")),
    Fault("huge", 0.3, True, lambda handler, answer: handler.send(200, b" " * HUGE)),
    Fault("another content type", 2, True, _odd_type),
)


class FaultProxy:
    """Forwards to a provider, or not.

    Attributes:
        counts: how often each fault was met; ``none`` is for requests that met none.
        faulty: whether there are faults at all; may be switched while serving.
    """

    def __init__(self, upstream: str, seed: int, share: float, timeout_s: float) -> None:
        """Bind a free port.

        Args:
            upstream: base URL of the provider.
            seed: of the faults.
            share: of the requests that meet one.
            timeout_s: of the client.
        """
        parts = urlsplit(upstream)
        self.upstream, self._path = parts.netloc, parts.path
        self.timeout_s = timeout_s
        self.counts: Counter[str] = Counter()
        self.faulty = True
        self.closed = threading.Event()
        self._seed, self._share = seed, share
        self._seen: Counter[bytes] = Counter()
        self._storm = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.proxy = self  # type: ignore[attr-defined]

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    def draw(self, body: bytes) -> Fault | None:
        """The fault that a request meets, if any."""
        with self._lock:
            self._seen[body] += 1
            digest = hashlib.sha256(body).hexdigest()
            chance = random.Random(f"{self._seed}/{digest}/{self._seen[body]}")
            fault = self._drawn(chance) if self.faulty else None
            self.counts[fault.name if fault else "none"] += 1
            return fault

    def _drawn(self, chance: random.Random) -> Fault | None:
        if self._storm:
            self._storm -= 1
            return chance.choice(STORM)
        if chance.random() < STORM_SHARE:
            self._storm = STORM_LENGTH
        if chance.random() >= self._share:
            return None
        return chance.choices(FAULTS, [fault.weight for fault in FAULTS])[0]

    def __enter__(self) -> FaultProxy:
        """Start serving."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop serving, and let go of those that wait."""
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()


STORM = tuple(fault for fault in FAULTS if fault.name.startswith("429"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def proxy(self) -> FaultProxy:
        return self.server.proxy  # type: ignore[attr-defined, no-any-return]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.draw(body)
        answer = self._forward(body) if fault is None or fault.forwards else b""
        with contextlib.suppress(OSError):  # the client has left
            if fault is None:
                self.send(200, answer)
            else:
                fault.act(self, answer)

    def _forward(self, body: bytes) -> bytes:
        names = ("Authorization", "Content-Type")
        headers = {name: self.headers[name] for name in names if name in self.headers}
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=30)
        try:
            connection.request("POST", self.path, body, headers)
            return connection.getresponse().read()
        finally:
            connection.close()

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer; a header that is empty is left out."""
        own = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self.send_response(status)
        for name, value in (own | (headers or {})).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def wait(self, seconds: float) -> None:
        """Say nothing for a while, unless the client hangs up or the proxy ends."""
        end = time.monotonic() + seconds
        self.connection.settimeout(0.05)
        while time.monotonic() < end and not self.proxy.closed.is_set():
            try:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        self.connection.settimeout(None)

    def hang_up(self) -> None:
        """Close the connection now; what else is written to it fails."""
        self.close_connection = True
        socket.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""
