"""Keys are planted, everything is run, and whatever it lets out is searched for them."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

from tests.llm.faulty_server import Answer, FaultyServer, Sent, failure, ok
from tests.runs import ROOT, SMALL, environment, summary

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc"),
]

EXTRA = ("WANDB_API_KEY", "HF_TOKEN", "MY_SECRET_TOKEN")
TINY = (*SMALL, "env=point", "experiment.repairs=1", "llm.concurrency=1", "llm.max_retries=1")
ONE = ("experiment.candidates=1", "experiment.iterations=1", "experiment.final_seeds=0")
RUN = "results/point"
GOOD = """def compute_reward(state, action, next_state):
    gap = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    near = 1.0 - np.tanh(2.0 * gap)
    return near, {"near": near}
"""
BAD = "import os\n" + GOOD
CRASHING = """
class Crashing:
    name, model = "crashing", "none"

    def __init__(self, settings, environment):
        self.key = environment["OPENAI_API_KEY"]

    def describe(self):
        return "crashes"

    def complete(self, request):
        raise RuntimeError(f"401 for the header 'Authorization: Bearer {self.key}'")
"""


def variables() -> list[str]:
    """Every variable that a provider's file names as that of its key, and some more."""
    files = sorted((ROOT / "cfg" / "llm").glob("*.yaml"))
    named = {yaml.safe_load(file.read_text()).get("key_variable") for file in files}
    return sorted((named | set(EXTRA)) - {None})


def planted(where: str) -> dict[str, str]:
    """A key for each variable that looks like none other."""
    return {
        name: f"sk-{hashlib.sha256(f'{where} {name}'.encode()).hexdigest()[:40]}"
        for name in variables()
    }


IN_PROCESS, IN_FILE = planted("process"), planted("file")
# Without it the process's own value would hide the file's from every provider.
del IN_PROCESS["LLM_API_KEY"]
KEY = IN_PROCESS["OPENAI_API_KEY"]


# -- searching ------------------------------------------------------------------------------------


def needles() -> dict[bytes, str]:
    """What must not be found, and whose it is: either half of each key, plainly and as base64."""
    found: dict[bytes, str] = {}
    for where, keys in (("process", IN_PROCESS), ("file", IN_FILE)):
        for name, key in keys.items():
            found |= dict.fromkeys((key[3:19].encode(), key[-16:].encode()), f"{name} ({where})")
            for shift in range(3):  # by where it stands in what was encoded
                coded = base64.b64encode(b" " * shift + key.encode())
                found[coded[4:-4][:40]] = f"{name} ({where}), as base64"
    return found


NEEDLES = needles()
_ESCAPE = re.compile(rb"\\u00([0-7][0-9a-fA-F])|\\x([0-7][0-9a-fA-F])|%([2-7][0-9a-fA-F])")
_BLOB = re.compile(rb"[A-Za-z0-9+/]{200,}={0,2}")


def search(data: bytes, depth: int = 0) -> set[str]:
    """Whose keys are in there, also behind escapes, line ends, compression and base64."""
    plain = _ESCAPE.sub(lambda m: bytes([int(next(filter(None, m.groups())), 16)]), data)
    joined = re.sub(rb"\x1b\[[0-9;]*m|[\s\"'+]|\\n|\xe2\x94\x82", b"", plain)
    texts = {data, plain, joined}
    found = {whose for needle, whose in NEEDLES.items() if any(needle in text for text in texts)}
    if depth < 4:
        for inner in unfolded(data):
            found |= search(inner, depth + 1)
    return found


def unfolded(data: bytes) -> Iterator[bytes]:
    """What a file holds inside."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if data.startswith(b"\x1f\x8b"):
        yield gzip.decompress(data)
    if data[:1] == b"\x78":
        with contextlib.suppress(zlib.error):
            yield zlib.decompress(data)
    for blob in _BLOB.findall(data):
        yield base64.b64decode(blob + b"=" * (-len(blob) % 4))


def test_the_search_finds_what_is_hidden() -> None:
    text = f"nothing here but {KEY}."
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inner.txt", text)
    wrapped = text[:30] + "\n│ " + text[30:]
    escaped = json.dumps(text).replace("a", "\\u0061")
    more = "".join(hashlib.sha256(bytes([i])).hexdigest() for i in range(9))
    coded = base64.b64encode(gzip.compress((text + more).encode()))
    long = base64.b64encode(text.encode() * 9)
    for hidden in (text, wrapped, escaped, f"…{KEY[-16:]}", long.decode()):
        assert search(hidden.encode()) >= {"OPENAI_API_KEY (process)"}, hidden
    for packed in (archive.getvalue(), gzip.compress(text.encode()), zlib.compress(text.encode())):
        assert search(packed) == {"OPENAI_API_KEY (process)"}
    assert search(base64.b64encode(f"x:{KEY}".encode())) == {"OPENAI_API_KEY (process), as base64"}
    assert search(b'page = "' + coded + b'"') == {"OPENAI_API_KEY (process)"}
    assert search(b"nothing here") == set()


# -- running --------------------------------------------------------------------------------------


@dataclass
class Seen:
    """All that was run, and all that it let out.

    Attributes:
        folder: where it ran, with the home of the user in it.
        outputs: standard streams, by what was run.
        codes: exit codes, by what was run.
        children: command line and environment of every process below.
        prompts: every request, without its headers.
        headers: of the requests.
        pages: what the live page sent.
    """

    folder: Path
    outputs: dict[str, bytes] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    children: dict[tuple[bytes, bytes], str] = field(default_factory=dict)
    prompts: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    pages: list[bytes] = field(default_factory=list)

    def start(self, name: str, *command: str, **more: str) -> subprocess.Popen[bytes]:
        """Start something, and look at its children until it ends."""
        own = {"HOME": str(self.folder / "home"), "PYTHONPATH": f"{ROOT}:{self.folder}"}
        # Doctor asks all providers whose keys are there: none of them may hear of it.
        nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
        given = environment(**{**IN_PROCESS, **own, **nowhere, "HF_HUB_OFFLINE": "1", **more})
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._watch, args=(name, process), daemon=True).start()
        return process

    def run(self, name: str, *command: str, **more: str) -> None:
        """Run something to its end."""
        process = self.start(name, *command, **more)
        self.outputs[name], _ = process.communicate(timeout=600)
        self.codes[name] = process.returncode

    @contextlib.contextmanager
    def page(self, run: str) -> Iterator[None]:
        """Have the live page of a run open, and keep what it is sent."""
        process = self.start("watch", "-u", "-m", "rewardsmith", "watch", run)
        try:
            assert process.stdout is not None
            told = b""
            while not (found := re.search(rb"http://127\.0\.0\.1:\d+/", told)):
                told += (line := process.stdout.readline())
                assert line, told
            address = found[0].decode()
            events = urllib.request.urlopen(f"{address}events", timeout=60)
            reader = threading.Thread(target=lambda: self.pages.extend(events), daemon=True)
            reader.start()
            yield
            page = urllib.request.urlopen(address, timeout=60).read()
            self.pages += [page, b"".join(self.pages)]
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=30)
            self.outputs["watch"] = told + rest
        finally:
            process.kill()

    def _watch(self, name: str, process: subprocess.Popen[bytes]) -> None:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                own = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                for child in parent.children(recursive=True):
                    folder = Path(f"/proc/{child.pid}")
                    line = (folder / "cmdline").read_bytes()
                    if line and line != own:  # else it is about to become another program
                        self.children[line, (folder / "environ").read_bytes()] = name
            except (OSError, psutil.Error):
                pass
            time.sleep(0.05)


def careless(text: str, code: str) -> Callable[[Sent], Answer]:
    """Answer as the most careless of servers would: with the key in every place."""

    def answer(sent: Sent) -> Answer:
        key = sent.headers["authorization"].removeprefix("Bearer ")
        reply = f"{text} {key}:\n```python\n# {key}\n{code}```\n"
        return ok(reply, model=f"model-{key}", finish_reason=key)

    return answer


class Careless:
    """Answers well after one repair, each time with another reward."""

    def __init__(self) -> None:
        self._asked = 0

    def __call__(self, sent: Sent) -> Answer:
        if sent.body["messages"][-2]["role"] != "assistant":
            return careless("With", BAD)(sent)
        self._asked += 1
        return careless("Sorry for", GOOD.replace("2.0", f"2.{self._asked}"))(sent)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("work")
    (folder / ".env").write_text("".join(f"{name}={key}\n" for name, key in IN_FILE.items()))
    (folder / "reward.py").write_text(GOOD)
    (folder / "crashing.py").write_text(CRASHING)
    found = Seen(folder)
    with FaultyServer() as server:
        refusal = failure(400, f"bad request with Bearer {KEY}")
        trouble = failure(500, f"trouble with Bearer {KEY}", headers={"Retry-After": "0.05"})
        server.script(refusal, trouble, trouble)  # of two candidates
        server.rules.append(Careless())
        run_everything(found, server.url)
        found.prompts = [json.dumps(body).encode() for body in server.bodies]
        found.headers = [sent.headers for sent in server.journal]
    return found


def run_everything(seen: Seen, url: str) -> None:
    gen = str(ROOT / "gen.py")
    to = (f"llm.base_url={url}", "llm.model=gpt-5-nano")
    seen.run(
        "gen", gen, "llm.provider=openai", *to, *TINY, "training=sb3", "tracking=trackio",
        "experiment.iterations=1", "experiment.candidates=3", "experiment.final_seeds=0",
    )  # fmt: skip
    with seen.page(RUN):
        seen.run(
            "resume", gen, f"experiment.resume={RUN}", "experiment.iterations=2",
            "experiment.candidates=1", "experiment.final_seeds=1", "video.episodes=1",
            "tracking._target_=rewardsmith.tracking.wandb.WeightsAndBiases",
            "tracking.mode=offline",
        )  # fmt: skip
    command = ("-m", "rewardsmith")
    of_file = [
        (gen, "llm.provider=compatible", *to, *TINY, *ONE, "paths.results=of_file"),
        (*command, "replay", "of_file/point"),
    ]
    others = [
        (gen, "llm.provider=openai", "llm._target_=crashing.Crashing", *TINY, "paths.results=bug"),
        (*command, "play", RUN, "shown.gif", "--record", "--episodes", "1", "--trust"),
        (*command, "compare", RUN, "bug/point"),
        (*command, "report", RUN),
        (*command, "export", RUN),
        (*command, "check", "reward.py", "--env", "point"),
        (*command, "doctor", f"llm.base_url={url}"),
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda commands: run_each(seen, commands), (of_file, others)))


def run_each(seen: Seen, commands: Sequence[Sequence[str]]) -> None:
    for command in commands:
        name = command[2] if command[0] == "-m" else command[-1].removeprefix("paths.results=")
        seen.run(name, *command)


# -- what was found -------------------------------------------------------------------------------


def test_everything_was_run_with_the_keys_that_are_searched_for(seen: Seen) -> None:
    codes = {name: code for name, code in seen.codes.items() if name != "doctor"}
    assert codes.pop("bug") == 1
    assert set(codes.values()) == {0}, {name: seen.outputs[name] for name in codes if codes[name]}
    sent = {headers["authorization"] for headers in seen.headers}
    assert sent == {f"Bearer {KEY}", f"Bearer {IN_FILE['LLM_API_KEY']}"}
    assert summary(seen.folder / "results" / "point")["best"]


def test_no_key_is_in_any_output(seen: Seen) -> None:
    for name, output in seen.outputs.items():
        assert not search(output), (name, output.decode())
    assert b"Traceback" in seen.outputs["bug"]


def test_no_key_is_in_any_file(seen: Seen) -> None:
    files = [file for file in seen.folder.rglob("*") if file.is_file() and not file.is_symlink()]
    found = {file.relative_to(seen.folder).as_posix(): search(file.read_bytes()) for file in files}
    assert found.pop(".env")
    assert not {name: whose for name, whose in found.items() if whose}
    names = "\n".join(found)
    for kind in ("events.out", "report.html", "exchange_0_0.json", "log.txt", "best/video", "hub/"):
        assert kind in names
    assert re.search(r"wandb.*\.wandb", names) and re.search(r"trackio.*\.db", names)


def test_no_key_is_in_any_prompt(seen: Seen) -> None:
    assert any(b"assistant" in prompt for prompt in seen.prompts)  # a repair saw a reply
    for prompt in seen.prompts:
        assert not search(prompt)


def test_no_key_is_on_the_live_page(seen: Seen) -> None:
    assert any(b"event: " in page for page in seen.pages)
    assert any(b"<html" in page for page in seen.pages)
    for page in seen.pages:
        assert not search(page)


def test_no_key_is_in_any_child(seen: Seen) -> None:
    lines = [line for line, _ in seen.children]
    assert any(b"import server" in line for line in lines)
    assert any(b"OMP_NUM_THREADS" in variables for _, variables in seen.children)  # a worker
    for (line, variables), name in seen.children.items():
        assert not search(line), (name, line)
        assert not search(variables), (name, line)
