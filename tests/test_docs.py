"""Every command and every block of the docs is run, the site is built, links lead somewhere.

What is done with a line of shell is said by `TREATMENTS`: the first pattern that matches it. A line
or a block that nothing is said about fails, so whatever is added to the pages is tested by itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from rewardsmith import config as configuration
from rewardsmith.inspection import inspect_reward
from rewardsmith.settings import Settings, check
from rewardsmith.tasks.task import build_task
from tests.conftest import load_settings
from tests.documents import BLOCKS, PAGES, TINY, Block, Workshop
from tests.runs import ROOT, environment

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

LANGUAGES = ("sh", "python", "yaml", "text")  # text is what a program printed; nothing to run
PORT_OPEN_S = 90


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A reader's folder with one finished run."""
    shop = Workshop(tmp_path_factory.mktemp("workshop"))
    shop.furnish()
    return shop


# -- what is done with a line of shell --------------------------------------------------------


def is_a_verb(shop: Workshop, line: str) -> None:
    """A verb of the Makefile; what it does is run by other tests and by whoever runs the tests."""
    words = ["make", "-n", *shlex.split(line)[1:]]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)


def is_made_by_make(shop: Workshop, line: str) -> None:
    """The environment that `make run` makes."""
    assert "VENV ?= .venv" in (ROOT / "Makefile").read_text()


def could_be_installed(shop: Workshop, line: str) -> None:
    """Nothing is installed: the file is there, or the extra or requirement is ours."""
    extras = project()["optional-dependencies"]
    words = shlex.split(line)[2:]
    for word in words:
        if word.startswith("."):
            for extra in re.findall(r"[\w-]+", word[1:]):
                assert extra in extras, f"{word} names no extra of pyproject.toml"
        elif not word.startswith("-"):
            known = {requirement for extra in extras.values() for requirement in extra}
            known |= set((ROOT / "requirements.txt").read_text().splitlines())
            assert (ROOT / word).is_file() or word.removesuffix("+cpu") in known, word


def is_refused(shop: Workshop, line: str) -> None:
    """There is no key and no server here: one sentence, exit code 2."""
    ended = shop.run(line, f"{TINY} llm.max_retries=0")
    said = [text for text in ended.stderr.splitlines() if text.strip()]
    assert ended.returncode == 2, f"{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
    assert len(said) == 1, said


def finds_no_server(shop: Workshop, line: str) -> None:
    """Nobody listens here: the run says so, and ends without a result."""
    ended = shop.run(line, f"{TINY} llm.max_retries=0 experiment.iterations=1")
    assert ended.returncode == 1, f"{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}"
    assert "cannot be reached" in ended.stdout


def is_a_verb_of_ray(shop: Workshop, line: str) -> None:
    """No cluster is started; `tests/test_ray.py` does that."""
    verb, *options = shlex.split(line)[1:]
    ray = Path(sys.executable).with_name("ray")
    said = subprocess.run([ray, verb, "--help"], check=True, capture_output=True, text=True).stdout
    assert all(option.partition("=")[0] in said for option in options)


def finds_no_cluster(shop: Workshop, line: str) -> None:
    """Nobody listens there: one sentence, and nothing happened to the run."""
    ended = shop.run(line, "ray.address=127.0.0.1:1")
    assert ended.returncode == 2, ended.stderr[-2000:]
    assert "There is no Ray cluster" in ended.stderr


def is_planned(shop: Workshop, line: str) -> None:
    """All but the training: Hydra reads the line, the values are checked, the task is built."""
    values = yaml.safe_load(shop.succeed(line, "--cfg job --resolve"))
    build_everything(check(values), shop)


def is_swept(shop: Workshop, line: str) -> None:
    """Each run of a sweep is planned; Hydra runs them one after the other."""
    [(key, values)] = re.findall(r"(\S+)=(\S+,\S+)", line)
    for value in values.split(","):
        one = line.replace("--multirun ", "").replace(f"{key}={values}", f"{key}={value}")
        is_planned(shop, one)


def designs(shop: Workshop, line: str) -> None:
    """The whole run, with a tiny budget."""
    out = shop.succeed(line, f"{TINY} experiment.iterations=1")
    assert "best/reward.py" in out


def goes_on(shop: Workshop, line: str) -> None:
    """A run goes on, with one tiny iteration more where the line asks for more."""
    more = "experiment.iterations=2" if "iterations" in line else ""
    assert "best/reward.py" in shop.succeed(line, more)


def ends_well(shop: Workshop, line: str) -> None:
    """The line as it is."""
    shop.succeed(line)


def finds_out(shop: Workshop, line: str) -> None:
    """The line as it is; what it finds is up to the machine, 1 says that a run would not work."""
    ended = shop.run(line)
    assert ended.returncode in (0, 1) and ended.stdout and not ended.stderr, ended.stderr


def plays(shop: Workshop, line: str) -> None:
    """The line as it is, for one episode."""
    shop.succeed(line, "" if "--episodes" in line else "--episodes 1")


def serves(shop: Workshop, line: str) -> None:
    """A server answers on loopback, and ends when it is told to."""
    port = free_port()
    process = shop.start(f"{line} --port {port}")
    try:
        assert answers(f"http://127.0.0.1:{port}/", process), line
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise


Treatment = Callable[[Workshop, str], None]
TREATMENTS: tuple[tuple[str, Treatment], ...] = (
    (r"make \w+$", is_a_verb),
    (r"pip install ", could_be_installed),
    (r"\. \.venv/bin/activate$", is_made_by_make),
    (r"ray start ", is_a_verb_of_ray),
    (r"tensorboard |(python -m )?rewardsmith watch\b", serves),
    (r"(python -m )?rewardsmith (report|compare|export|replay|tasks|check)\b", ends_well),
    (r"(python -m )?rewardsmith doctor\b", finds_out),
    (r"(python -m )?rewardsmith --help$", ends_well),
    (r"(python -m )?rewardsmith play .*--record\b", plays),
    # the command line of a run
    (r"python gen\.py (--help|.*--cfg job)$", ends_well),
    (r".*llm\.provider=\W?(ollama|compatible)\b", finds_no_server),
    (r".*llm\.provider=\W?(openai|groq|lab)\b", is_refused),
    (r"python gen\.py experiment\.resume=.* executor=ray", finds_no_cluster),
    (r"python gen\.py experiment\.resume=", goes_on),
    (r"python gen\.py --multirun ", is_swept),
    (r"python gen\.py$", designs),
    (r"python gen\.py 'experiment\.seed_rewards=", designs),
    (r"python gen\.py llm\.provider=replay ", designs),
    (r"python gen\.py --config-dir my_cfg env=balance ", designs),
    (r"PYTHONPATH=\. python gen\.py .*llm\.provider=one_answer", designs),
    (r"(PYTHONPATH=\. )?(python gen\.py|rewardsmith run) ", is_planned),
)


def treatment(line: str) -> Treatment | None:
    """What is done with a line; None if nothing is said about it."""
    return next((treat for pattern, treat in TREATMENTS if re.match(pattern, line)), None)


# -- what is done with the other blocks -------------------------------------------------------


def build_everything(settings: Settings, shop: Workshop) -> None:
    """What a run builds of its configuration before it trains."""
    with importing_from(shop.folder):
        build_task(settings.env)
        for chosen in (settings.llm, settings.training, *settings.strategies.values()):
            assert configuration.find_class(chosen.target)


@contextlib.contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def composes(shop: Workshop, block: Block) -> None:
    """A file of configuration, chosen as the pages say."""
    base, group, name = block.title.removesuffix(".yaml").split("/")
    words = [f"{group}={name}", f"hydra.searchpath=[file://{shop.folder / base}]"]
    if group != "llm":
        words.append("llm=builtin")
    settings = configuration.composed(words)
    build_everything(settings, shop)
    part = yaml.safe_load(block.text)
    chosen = getattr(settings, group).model_dump(by_alias=True)
    for key in part.keys() & {"name", "provider", "id", "description", "candidates"}:
        assert chosen[key] == part[key]


def is_accepted(shop: Workshop, block: Block) -> None:
    """A reward that would be trained on FetchReach."""
    file = shop.folder / "shown.py"
    file.write_text(block.text, encoding="utf-8")
    settings = load_settings("env=reach", "sandbox.allow_weaker=true")
    assert [finding for finding in inspect_reward(file, settings, None) if finding.stops] == []


def is_executed(shop: Workshop, block: Block) -> None:
    """A program: the page's earlier blocks come first, since it may use their names."""
    earlier = [
        other.text
        for other in BLOCKS
        if other.page == block.page and other.line < block.line and is_program(other)
    ]
    path = os.pathsep.join(map(str, (ROOT, shop.folder / "results" / "reach" / "best")))
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join([*earlier, block.text])],
        cwd=shop.folder,
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


def is_program(block: Block) -> bool:
    return block.language == "python" and not block.text.startswith("def compute_reward")


# -- the tests --------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_of_a_kind_that_is_tested(block: Block) -> None:
    assert block.language in LANGUAGES, f"a block of {block.language or 'no language'}"
    if block.language == "sh":
        for line in block.commands:
            assert treatment(line) is not None, f"nothing in TREATMENTS says how to run {line!r}"
    if block.language == "yaml":
        assert re.fullmatch(r"my_cfg/\w+/\w+\.yaml", block.title), "a title with its file"
    for other in BLOCKS:
        if block.title and other.title == block.title:
            assert other.text == block.text, f"{other} shows the same file differently"


@pytest.mark.slow
@pytest.mark.parametrize("block", [item for item in BLOCKS if item.language != "text"], ids=str)
def test_block_is_run(block: Block, workshop: Workshop) -> None:
    if block.language == "sh":
        for line in block.commands:
            treat = treatment(line)
            assert treat is not None
            treat(workshop, line)
    elif block.language == "yaml":
        composes(workshop, block)
    elif is_program(block):
        is_executed(workshop, block)
    else:
        is_accepted(workshop, block)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_of_the_python_side_names_modules_that_exist() -> None:
    named = [
        name
        for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)
    ]
    assert len(named) == len(set(named)) > 20
    for name in named:
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), name


def test_every_command_has_a_place_in_the_docs() -> None:
    from rewardsmith.commands import COMMANDS

    page = (ROOT / "docs" / "commands.md").read_text()
    assert set(re.findall(r"^## (\w+)$", page, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.slow
def test_site_builds_without_warnings_and_needs_no_other_host(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=environment(NO_MKDOCS_2_WARNING="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr + built.stdout
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(https?:\S+)", text)
        styles = re.findall(r"<link\b[^>]*\bhref=\"?(https?:\S+)", text)
        assert fetched + styles == [], page.name
    assert "compute_reward" in (tmp_path / "reference" / "reward.html").read_text()


# -- small things -----------------------------------------------------------------------------


def project() -> dict[str, dict[str, list[str]]]:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: dict[str, dict[str, list[str]]] = data["project"]
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(address: str, process: subprocess.Popen[str]) -> bool:
    """Whether a page comes from there, as soon as it does."""
    end = time.monotonic() + PORT_OPEN_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=10) as page:
                return bool(page.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    return False
