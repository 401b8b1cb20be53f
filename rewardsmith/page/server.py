"""Serve the live page of a run, to this machine alone.

There is no login, so the server listens on the loopback address, and answers only requests that
name it by that: a page of somebody else's cannot reach it through a name of its own (DNS
rebinding), nor read or embed what it says. It gives two things, ``/`` (the page) and ``/events``
(what is on it, as server-sent events), takes nothing, and writes nothing.
"""

from __future__ import annotations

import errno
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from rewardsmith.errors import ConfigurationError
from rewardsmith.page.feed import Feed
from rewardsmith.page.follow import Follower
from rewardsmith.page.render import live_policy, render
from rewardsmith.results import RunDirectory

ADDRESS = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost", "[::1]")
PORT = 8765
PORTS_TRIED = 100
STREAMS = 16
HEARTBEAT_S = 15.0
TICK_S = 0.2
PATIENCE_S = 10.0
"""Seconds that a client may take to send its request, or to take in a part of the answer."""

HEADERS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
NOTHING_ELSE = "default-src 'none'; frame-ancestors 'none'"


class PageServer(ThreadingHTTPServer):
    """Serves one run's page; see `open_server`.

    Attributes:
        feed: what is shown.
        streams: of events, that may still be opened.
    """

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there it would share a port that is taken

    def __init__(self, port: int, feed: Feed) -> None:
        """Listen.

        Args:
            port: on the loopback address; 0 for any.
            feed: what is shown.

        Raises:
            OSError: the port is taken, or not allowed.
        """
        self.feed = feed
        self.streams = threading.BoundedSemaphore(STREAMS)
        self._stopping = threading.Event()
        super().__init__((ADDRESS, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking a name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"

    @property
    def hosts(self) -> set[str]:
        """What a request may call us."""
        named = {f"{name}:{self.server_port}" for name in NAMES}
        return named | set(NAMES) if self.server_port == 80 else named

    @property
    def stopping(self) -> bool:
        """Whether streams should end."""
        return self._stopping.is_set()

    def server_close(self) -> None:
        """Stop listening, and end the streams."""
        self._stopping.set()
        super().server_close()
        deadline = time.monotonic() + 5 * TICK_S
        for _ in range(STREAMS):
            self.streams.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong inside, unless the client has merely gone."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: PageServer
    server_version = "rewardsmith"
    sys_version = ""
    protocol_version = default_request_version = "HTTP/1.1"
    timeout = PATIENCE_S

    def do_GET(self) -> None:  # noqa: N802 - named by http.server
        """Answer, if it is our name that was asked for."""
        refusal = self._refusal()
        if refusal is not None:
            self._say(HTTPStatus.FORBIDDEN, refusal)
        elif self._path == "/":
            self._page()
        elif self._path == "/events":
            self._events()
        else:
            self._say(HTTPStatus.NOT_FOUND, "There is nothing here; the page is at /.")

    do_HEAD = do_GET  # noqa: N815

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _refusal(self) -> str | None:
        hosts = self.server.hosts
        named = self.headers.get_all("Host", [])
        if len(named) != 1 or named[0].strip().lower() not in hosts:
            return f"This page answers only to its own name; open {self.server.url}."
        for origin in self.headers.get_all("Origin", []):
            if origin.strip().lower() not in {f"http://{host}" for host in hosts}:
                return "Another page cannot read this one."
        return None

    def _page(self) -> None:
        page = render(self.server.feed.latest().data, "watch")
        self._answer(HTTPStatus.OK, page, "text/html", live_policy())

    def _say(self, status: HTTPStatus, sentence: str, **headers: str) -> None:
        self._answer(status, sentence + "\n", "text/plain", NOTHING_ELSE, **headers)

    def _answer(
        self, status: HTTPStatus, text: str, kind: str, policy: str, **headers: str
    ) -> None:
        raw = text.encode(errors="backslashreplace")
        self._begin(status, kind, policy, {"Content-Length": str(len(raw)), **headers})
        if self.command != "HEAD":
            self.wfile.write(raw)

    def _begin(
        self, status: HTTPStatus, kind: str, policy: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", policy)
        for name, value in {**HEADERS, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what cannot be understood, and any other method: in plain text, as all else."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            refused = HTTPStatus.METHOD_NOT_ALLOWED
            self._say(refused, "This page can only be looked at.", Allow="GET, HEAD")
        else:
            status = HTTPStatus(code)
            self._say(status, f"This cannot be answered: {message or status.phrase}.")

    # -- events -------------------------------------------------------------------------------

    def _events(self) -> None:
        if self.command == "HEAD":
            self._begin(HTTPStatus.OK, "text/event-stream", NOTHING_ELSE)
        elif not self.server.streams.acquire(blocking=False):
            self._say(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{STREAMS} pages follow this run already; close one.",
            )
        else:
            try:
                self._begin(HTTPStatus.OK, "text/event-stream", NOTHING_ELSE)
                self.wfile.write(b"retry: 1000\n\n")
                self._stream()
            finally:
                self.server.streams.release()

    def _stream(self) -> None:
        """Tell what is new until the client goes or the server stops."""
        shown, told = 0, time.monotonic()
        while not self.server.stopping:
            snapshot = self.server.feed.latest()
            now = time.monotonic()
            if snapshot.number != shown:
                self.wfile.write(snapshot.event)
                shown, told = snapshot.number, now
            elif now - told >= HEARTBEAT_S:
                self.wfile.write(b": still here\n\n")
                told = now
            if self._gone():
                return

    def _gone(self) -> bool:
        """Wait a little; whether the client hung up meanwhile (it has nothing more to send)."""
        self.connection.settimeout(TICK_S)
        try:
            self.connection.recv(1)
            return True
        except TimeoutError:
            return False
        finally:
            self.connection.settimeout(PATIENCE_S)

    def log_message(self, format: str, *values: Any) -> None:
        """Nobody wants to read who looked at what."""


def open_server(run: RunDirectory, port: int | None = None) -> PageServer:
    """Listen on a port, or on the first free one from `PORT` on.

    Args:
        run: to be shown.
        port: 0 for any; None where the user has not chosen.

    Raises:
        ConfigurationError: it is taken, or they all are.
    """
    feed = Feed(run, Follower(run))
    ports = range(PORT, PORT + PORTS_TRIED) if port is None else [port]
    reason = ""
    for number in ports:
        try:
            return PageServer(number, feed)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                break
    if port is None:
        raise ConfigurationError(
            f"None of the ports {ports[0]} to {ports[-1]} can be listened on ({reason}); "
            "choose another with --port."
        )
    raise ConfigurationError(
        f"--port is {port}, but it cannot be listened on ({reason}); choose another, "
        "or leave --port out."
    )
