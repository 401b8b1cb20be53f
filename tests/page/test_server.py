"""The server of the live page: who may ask, for what, and what is told when something changes."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.page import server as page_server
from rewardsmith.page.data import collect
from rewardsmith.page.feed import Feed
from rewardsmith.page.follow import Follower
from rewardsmith.page.server import PORT, PageServer, open_server
from rewardsmith.results import RunDirectory
from tests.page.served import Events, ask, begin_run, digest, request, served


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return begin_run(tmp_path / "results" / "point")


@pytest.fixture
def server(run: RunDirectory) -> Iterator[PageServer]:
    with served(run) as found:
        yield found


def test_the_page_is_served_to_this_machine_alone(server: PageServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    answer = request(server)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    text = answer.read().decode()
    assert 'data-mode="watch"' in text
    assert '"title":"point"' in text


@pytest.mark.parametrize("path", ["/", "/events", "/nothing"])
def test_every_answer_says_that_it_is_not_to_be_kept_framed_or_read_elsewhere(
    server: PageServer, path: str
) -> None:
    headers = request(server, path, "HEAD").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert not [name for name in headers if name.startswith("Access-Control") or "Cookie" in name]


def test_the_header_allows_what_the_page_allows_itself(server: PageServer) -> None:
    answer = request(server)
    own = re.search(
        r'http-equiv="Content-Security-Policy" content="([^"]+)"', answer.read().decode()
    )
    assert own is not None
    allowed = own[1].replace("&#39;", "'")
    assert answer.headers["Content-Security-Policy"] == f"{allowed}; frame-ancestors 'none'"


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}"])
def test_it_answers_to_the_names_of_this_machine(server: PageServer, host: str) -> None:
    assert request(server, Host=host.format(server.server_port)).status == 200


@pytest.mark.parametrize("path", ["/", "/events"])
@pytest.mark.parametrize(
    "host", ["evil.example:{}", "127.0.0.1", "localhost:1", "127.0.0.1:{}.evil.example", ""]
)
def test_it_does_not_answer_to_another_name(server: PageServer, host: str, path: str) -> None:
    answer = request(server, path, Host=host.format(server.server_port))
    assert answer.status == 403
    assert answer.read().decode() == (
        f"This page answers only to its own name; open http://127.0.0.1:{server.server_port}/.\n"
    )


def test_a_request_without_a_host_or_with_two_is_refused(server: PageServer) -> None:
    name = f"Host: 127.0.0.1:{server.server_port}\r\n"
    for hosts in ("", name + name, name + "Host: evil.example\r\n"):
        with socket.create_connection(server.server_address, timeout=30) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\n{hosts}\r\n".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_another_page_cannot_follow_the_run(server: PageServer) -> None:
    assert request(server, "/events", Origin="http://evil.example").status == 403
    assert request(server, "/events", Origin="null").status == 403
    own = f"http://localhost:{server.server_port}"
    assert request(server, "/events", "HEAD", Origin=own).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_nothing_can_be_sent(server: PageServer, method: str) -> None:
    answer = request(server, "/", method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    ["/config.yaml", "/../config.yaml", "/%2e%2e/config.yaml", "/events/", "//config.yaml", "*"],
)
def test_no_file_of_the_run_can_be_asked_for(server: PageServer, path: str) -> None:
    assert request(server, path).status == 404


def test_what_cannot_be_understood_is_refused_in_plain_text(server: PageServer) -> None:
    with socket.create_connection(server.server_address, timeout=30) as connection:
        connection.sendall(b"<script>alert(1)</script> nonsense and more\r\n\r\n")
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: text/plain" in answer


def test_events_come_at_once_and_after_every_change(server: PageServer, run: RunDirectory) -> None:
    events = Events(server)
    assert events.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    name, data = events.next()
    assert (name, data["title"], data["candidates"]) == ("data", "point", [])
    ask(run, candidates=3)
    name, data = events.next()
    assert name == "data"
    assert [item["label"] for item in data["candidates"]] == ["1/0", "1/1", "1/2"]
    run.write_summary({"stopped": "enough"})
    assert events.next()[0] == "data"
    events.close()


def test_a_damaged_file_is_told_and_its_repair_too(server: PageServer, run: RunDirectory) -> None:
    events = Events(server)
    events.next()
    good = run.record_file.read_text()
    run.record_file.write_text("{")
    name, text = events.next()
    assert name == "trouble"
    assert text.startswith(f"{run.record_file} cannot be read")
    assert request(server).status == 200
    run.record_file.write_text(good)
    assert events.next()[0] == "data"
    events.close()


def test_a_run_that_is_removed_is_told(server: PageServer, run: RunDirectory) -> None:
    events = Events(server)
    events.next()
    run.root.rename(run.root.with_name("elsewhere"))
    name, text = events.next()
    assert (name, "is gone" in text) == ("trouble", True)
    run.root.with_name("elsewhere").rename(run.root)
    assert events.next()[0] == "data"
    events.close()


def test_a_torn_line_is_passed_over_until_it_is_whole(
    server: PageServer, run: RunDirectory
) -> None:
    ask(run)
    events = Events(server)
    events.next()
    with run.metrics_file.open("a") as stream:
        stream.write('{"time": 1.0, "event": "iteration", "number": 2, ')
        stream.flush()
        assert events.next()[1]["iteration"]["number"] == 1
        stream.write('"of": 2, "candidates": 1}\n')
        stream.flush()
        data = events.next()[1]
    assert data["iteration"]["number"] == 2
    assert "2/0" in [item["label"] for item in data["candidates"]]
    events.close()


def test_so_many_streams_and_no_more_until_one_is_closed(
    monkeypatch: pytest.MonkeyPatch, run: RunDirectory
) -> None:
    monkeypatch.setattr(page_server, "STREAMS", 3)
    with served(run) as server:
        streams = [Events(server) for _ in range(3)]
        for stream in streams:
            stream.next()
        refused = request(server, "/events")
        assert refused.status == 503
        assert "3 pages follow this run already" in refused.read().decode()
        assert request(server).status == 200
        streams.pop().close()
        deadline = time.monotonic() + 30
        while (answer := request(server, "/events")).status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for item in (answer, *streams):
            item.close()


def test_streams_end_when_the_server_stops(run: RunDirectory) -> None:
    with served(run) as server:
        events = Events(server)
        events.next()
    with pytest.raises(EOFError):
        events.next()


def test_silence_is_filled_with_comments(
    monkeypatch: pytest.MonkeyPatch, run: RunDirectory
) -> None:
    monkeypatch.setattr(page_server, "HEARTBEAT_S", 0.1)
    with served(run) as server:
        events = Events(server)
        events.next()
        assert events.response.readline() == b"\n"
        assert events.response.readline().startswith(b": ")
        events.close()


def test_nothing_is_written(run: RunDirectory) -> None:
    ask(run)
    before = digest(run.root.parent)
    with served(run) as server:
        events = Events(server)
        events.next()
        for path in ("/", "/events/x", "/config.yaml"):
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
                request(server, path, method).close()
        events.close()
    assert digest(run.root.parent) == before


def test_what_has_not_changed_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch, run: RunDirectory
) -> None:
    monkeypatch.setattr("rewardsmith.page.feed.LOOK_S", 0.0)
    monkeypatch.setattr("rewardsmith.page.feed.SHARE", 1e9)
    read: list[RunDirectory] = []
    feed = Feed(run, lambda: {"times": read.append(run) or len(read)})
    assert [feed.latest().number for _ in range(5)] == [1] * 5
    ask(run)
    assert [feed.latest().data for _ in range(3)] == [{"times": 2}] * 3
    assert len(read) == 2


def test_numbers_that_json_does_not_know_are_trouble_rather_than_a_broken_page(
    run: RunDirectory,
) -> None:
    snapshot = Feed(run, lambda: {"fitness": float("nan")}).latest()
    assert snapshot.event.startswith(b'event: trouble\ndata: "The run cannot be read (ValueError')


def test_the_next_free_port_is_taken_unless_one_was_chosen(
    monkeypatch: pytest.MonkeyPatch, run: RunDirectory
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"--port is {port}, but it cannot be"):
            open_server(run, port)
        monkeypatch.setattr(page_server, "PORT", port)
        with open_server(run) as server:
            assert port < server.server_port < port + page_server.PORTS_TRIED
    assert PORT == 8765


def test_what_is_added_to_the_events_is_read_and_nothing_twice(run: RunDirectory) -> None:
    """Read on or read anew, it comes to the same: also of a large file, and of another one."""
    follower = Follower(run)
    assert follower()["candidates"] == []
    lines = [
        json.dumps(
            {
                "time": 1.0,
                "event": "progress",
                "candidate": f"1/{step % 3}",
                "training": 0,
                "timesteps": step,
                "checkpoint": {
                    "timesteps": step,
                    "success": 0.5,
                    "own_return": 1.0 * step,
                    "components": {"near": 1.0 * step},
                    "episode_length": 20.0,
                },
            }
        )
        for step in range(1, 400)
    ]
    ask(run)
    text = "\n".join(lines) + "\n"
    for start in range(0, len(text), 7_777):  # in pieces that end within lines
        with run.metrics_file.open("a") as stream:
            stream.write(text[start : start + 7_777])
        found = follower()
    assert [item["curves"]["timesteps"][-1] for item in found["candidates"]] == [399, 397, 398]
    assert without_clock(found) == without_clock(collect(run, full=False))
    run.metrics_file.unlink()
    ask(run, candidates=1)
    assert [item["label"] for item in follower()["candidates"]] == ["1/0"]


def without_clock(data: dict[str, Any]) -> dict[str, Any]:
    """All but the moment at which it was collected."""
    return {**data, "state": {**data["state"], "now": None}}
