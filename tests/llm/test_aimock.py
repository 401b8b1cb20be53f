"""The same client against a server that others wrote: aimock, a mock of many providers' APIs."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.errors import ProviderError
from rewardsmith.llm.chat import ChatProvider
from rewardsmith.llm.exchanges import read_exchanges
from rewardsmith.llm.keys import without_secrets
from rewardsmith.llm.replay import ReplayProvider
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Reply, Request
from tests.llm.conftest import KEY, llm_settings

pytestmark = pytest.mark.slow

VERSION = "1.43.0"
OLDEST_NODE = (20, 15)
FIXTURES = {
    "fixtures": [
        {
            "match": {"userMessage": "reach the goal", "sequenceIndex": index},
            "response": {"content": f"reward of iteration {index + 1}"},
        }
        for index in range(3)
    ]
    + [{"match": {"userMessage": "anything"}, "response": {"content": "a reward"}}]
}

Make = Callable[..., Request]


class Aimock:
    """A running aimock and its control interface."""

    def __init__(self, port: int) -> None:
        """Remember where it listens."""
        self.root = f"http://127.0.0.1:{port}"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call ``/__aimock/<path>``."""
        request = urllib.request.Request(
            f"{self.root}/__aimock/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        # A proxy of the user's is no way to loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=5) as response:
            return json.loads(response.read() or b"null")


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "rewardsmith-tests" / f"aimock-{VERSION}"


def _node() -> str:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("aimock needs Node and npm, which are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < OLDEST_NODE:
        pytest.skip(f"aimock needs Node 20.15 or later, found {version.strip() or 'none'}")
    return node


def _install(folder: Path) -> None:
    """Install once; other test processes see all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        package = f"@copilotkit/aimock@{VERSION}"
        command = ["npm", "install", "--prefix", temporary, "--no-audit", "--no-fund", package]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=60,
                env=without_secrets(os.environ),
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm could not install aimock within 60 s")
        if done.returncode != 0:
            pytest.skip(f"npm could not install aimock: {done.stderr.strip()[-200:]}")
        if not folder.exists():
            shutil.copytree(temporary, f"{folder}.{os.getpid()}", symlinks=True)
            try:
                os.rename(f"{folder}.{os.getpid()}", folder)
            except OSError:  # another process was faster
                shutil.rmtree(f"{folder}.{os.getpid()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aimock]:
    """One server for all tests of this module."""
    node, folder = _node(), _cache()
    if not folder.exists():
        _install(folder)
    fixtures = tmp_path_factory.mktemp("fixtures") / "rewards.json"
    fixtures.write_text(json.dumps(FIXTURES))
    port = _free_port()
    llmock = folder / "node_modules" / ".bin" / "llmock"
    command = [node, str(llmock.resolve()), "-p", str(port), "-f", str(fixtures), "--strict"]
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": os.defpath}
    )
    try:
        server = Aimock(port)
        _wait_for(server, child)
        yield server
    finally:
        child.terminate()
        child.wait(timeout=10)


def _wait_for(server: Aimock, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while child.poll() is None and time.monotonic() < deadline:
        try:
            server.control("GET", "health")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail("aimock did not start")


@pytest.fixture
def aimock(process: Aimock) -> Aimock:
    """The server with no faults, counters at zero and an empty journal."""
    process.control("DELETE", "chaos")
    process.control("POST", "reset")
    process.control("POST", "fixtures", FIXTURES)
    return process


def _provider(aimock: Aimock, **changes: Any) -> ChatProvider:
    settings = llm_settings("openai", base_url=f"{aimock.root}/v1", **changes)
    return ChatProvider(settings, {"OPENAI_API_KEY": KEY})


def test_three_iterations_are_recorded_and_replayed(
    aimock: Aimock, request_of: Make, tmp_path: Path
) -> None:
    requests = [request_of(text=f"reach the goal, history {i}", iteration=i) for i in range(1, 4)]
    session = Session(_provider(aimock), lambda i: tmp_path / f"iteration_{i}", 1, {})
    live = [session.ask([request])[0] for request in requests]
    expected = [f"reward of iteration {i}" for i in range(1, 4)]
    assert [getattr(reply, "text", reply) for reply in live] == expected
    assert session.usage.requests == 3
    assert session.usage.usd is not None and 0 < session.usage.usd < 0.01

    replay = ReplayProvider(llm_settings("replay", replay=str(tmp_path)), {})
    assert [replay.complete(request).text for request in requests] == expected
    assert len(read_exchanges(tmp_path)) == 3
    assert KEY not in "".join(path.read_text() for path in tmp_path.glob("*/*"))


def test_the_journal_shows_a_well_formed_request(aimock: Aimock, request_of: Make) -> None:
    _provider(aimock, max_completion_tokens=321).complete(request_of(text="anything"))
    (entry,) = aimock.control("GET", "journal")
    assert entry["path"] == "/v1/chat/completions"
    assert entry["body"]["model"] == "gpt-5-mini"
    assert entry["body"]["max_completion_tokens"] == 321
    assert entry["body"]["messages"][-1] == {"role": "user", "content": "anything"}


def test_many_at_once(aimock: Aimock, request_of: Make, tmp_path: Path) -> None:
    session = Session(_provider(aimock), lambda i: tmp_path, 8, {})
    answers = session.ask([request_of(i, "anything") for i in range(16)])
    assert all(isinstance(answer, Reply) and answer.text == "a reward" for answer in answers)


def test_one_server_error_is_survived(aimock: Aimock, request_of: Make) -> None:
    aimock.control("POST", "error", {"status": 503, "body": {"message": "overloaded"}})
    reply = _provider(aimock).complete(request_of(text="anything"))
    assert reply.text == "a reward"
    assert reply.notes == ("1 retries",)


@pytest.mark.parametrize(
    ("chaos", "expected"),
    [
        ({"rateLimitRate": 1}, "limits the rate of requests"),
        ({"malformedRate": 1}, "sent no usable answer"),
        ({"dropRate": 1}, "answered 500"),
        ({"disconnectRate": 1}, "cannot be reached|sent no usable answer"),
    ],
    ids=["rate-limit", "malformed", "drop", "disconnect"],
)
def test_lasting_chaos_is_one_sentence(
    aimock: Aimock, request_of: Make, chaos: dict[str, float], expected: str
) -> None:
    aimock.control("POST", "chaos", chaos)
    with pytest.raises(ProviderError, match=expected) as caught:
        _provider(aimock, max_retries=0).complete(request_of(text="anything"))
    assert "\n" not in str(caught.value)


def test_random_chaos_costs_candidates_not_the_run(
    aimock: Aimock, request_of: Make, tmp_path: Path
) -> None:
    aimock.control("POST", "chaos", {"malformedRate": 0.2, "disconnectRate": 0.2})
    session = Session(_provider(aimock, max_retries=2), lambda i: tmp_path, 8, {})
    answers = session.ask([request_of(i, "anything") for i in range(8)])
    assert sum(isinstance(answer, Reply) for answer in answers) >= 4
    assert len(list(tmp_path.iterdir())) == 8
