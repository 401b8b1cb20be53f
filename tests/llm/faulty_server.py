"""An OpenAI-compatible server on loopback that misbehaves as told and remembers what it was sent.

>>> with FaultyServer() as server:
...     server.script(rate_limited(), ok("hello"))
...     server.url.startswith("http://127.0.0.1:")
True
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RETRY_SOON = {"Retry-After": "0.05"}


@dataclass(frozen=True)
class Answer:
    """One scripted answer.

    Attributes:
        status: of HTTP.
        body: as sent.
        headers: beside the content's type and length.
        delay: seconds before anything is sent.
        cut: send half of the body, then drop the connection.
        crumbs: seconds between single bytes of the body; None sends it at once.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    crumbs: float | None = None


@dataclass(frozen=True)
class Sent:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


Rule = Callable[[Sent], "Answer | None"]


class FaultyServer:
    """Answers with what was scripted, else by its rules, else well.

    Attributes:
        journal: everything that was sent, in order.
        rules: tried in order; the first that gives an answer wins.
        models: what ``GET /models`` lists.
        most_at_once: requests that were in flight together.
    """

    def __init__(self) -> None:
        """Bind a free port."""
        self.journal: list[Sent] = []
        self.rules: list[Rule] = []
        self.models = ["model-a"]
        self.most_at_once = 0
        self._at_once = 0
        self._script: deque[Answer] = deque()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests."""
        return [sent.body for sent in self.journal]

    def script(self, *answers: Answer) -> None:
        """Queue answers for the next requests."""
        self._script.extend(answers)

    def answer(self, sent: Sent) -> Answer:
        """Take the next answer."""
        with self._lock:
            self.journal.append(sent)
            if self._script:
                return self._script.popleft()
        for rule in self.rules:
            answer = rule(sent)
            if answer is not None:
                return answer
        return ok(model=sent.body.get("model", "model-a"))

    def enter(self, step: int) -> None:
        """Count a request in (1) or out (-1)."""
        with self._lock:
            self._at_once += step
            self.most_at_once = max(self.most_at_once, self._at_once)

    def __enter__(self) -> FaultyServer:
        """Start serving."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def ok(
    text: str | None = "fine",
    model: str = "model-a",
    prompt_tokens: int = 100,
    completion_tokens: int = 20,
    finish_reason: str = "stop",
    usage: bool = True,
) -> Answer:
    """Answer with a chat completion."""
    message = {"role": "assistant", "content": text}
    completion: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if usage:
        completion["usage"] = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        }
    return Answer(body=json.dumps(completion).encode())


def failure(
    status: int,
    message: str = "something is wrong",
    code: str | None = None,
    param: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Answer with an error in OpenAI's format."""
    error = {"message": message, "type": "some_error", "param": param, "code": code}
    return Answer(status, json.dumps({"error": error}).encode(), headers or {})


def rate_limited() -> Answer:
    """Answer 429 with a short Retry-After."""
    return failure(429, "slow down", "rate_limit_exceeded", headers=RETRY_SOON)


def broken() -> Answer:
    """Answer 500 with a short Retry-After."""
    return failure(500, "internal trouble", headers=RETRY_SOON)


def slow(seconds: float) -> Answer:
    """Answer well, but late."""
    return replace(ok("late"), delay=seconds)


def cut_off() -> Answer:
    """Drop the connection in the middle of the body."""
    return replace(ok("half"), cut=True)


def crumbling(seconds: float) -> Answer:
    """Send byte after byte, each in time, for far too long."""
    return replace(ok("crumbs"), crumbs=seconds)


def malformed() -> Answer:
    """Answer 200 with broken JSON."""
    return Answer(body=b'{"choices": [{"message": {"content": "ha')


def empty_choices() -> Answer:
    """Answer 200 without a choice."""
    return Answer(body=b'{"id": "x", "object": "chat.completion", "choices": []}')


def only_key(key: str) -> Rule:
    """Refuse every other key, quoting it as careless servers do."""

    def rule(sent: Sent) -> Answer | None:
        given = sent.headers.get("authorization", "").removeprefix("Bearer ")
        if given == key:
            return None
        return failure(401, f"Incorrect API key provided: {given}", "invalid_api_key")

    return rule


def only_model(model: str) -> Rule:
    """Know one model."""

    def rule(sent: Sent) -> Answer | None:
        if sent.body.get("model") == model:
            return None
        return failure(404, f"The model {sent.body.get('model')!r} is unknown", "model_not_found")

    return rule


def refuse(
    name: str, code: str | None = "unsupported_parameter", param: bool = True, status: int = 400
) -> Rule:
    """Refuse requests that have a certain field."""

    def rule(sent: Sent) -> Answer | None:
        if name not in sent.body:
            return None
        message = f"Unsupported parameter: '{name}' is not supported with this model."
        return failure(status, message, code, name if param else None)

    return rule


def _handler(owner: FaultyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            models = [{"id": name, "object": "model"} for name in owner.models]
            self._send(Answer(body=json.dumps({"object": "list", "data": models}).encode()))

        def do_POST(self) -> None:
            owner.enter(1)
            try:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._send(owner.answer(Sent(self.path, headers, body)))
            finally:
                owner.enter(-1)

        def _send(self, answer: Answer) -> None:
            time.sleep(answer.delay)
            try:
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.body)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self._send_body(answer)
            except OSError:
                self.close_connection = True  # the client has left

        def _send_body(self, answer: Answer) -> None:
            if answer.cut:
                self.wfile.write(answer.body[: len(answer.body) // 2])
                self.close_connection = True
            elif answer.crumbs is not None:
                for byte in answer.body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(answer.crumbs)
            else:
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent."""

    return Handler
