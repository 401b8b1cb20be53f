"""Files of a run that are damaged or missing: done again with the same result, or one sentence."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from rewardsmith.config import recorded, to_yaml
from rewardsmith.errors import ConfigurationError, ResultsError
from rewardsmith.files import append_line, write_whole
from rewardsmith.llm.exchanges import read_exchanges, write_exchange
from rewardsmith.llm.types import Message, Reply, Request
from rewardsmith.metrics import read_metrics
from rewardsmith.results import RunDirectory
from rewardsmith.settings import SandboxSettings, Settings
from rewardsmith.tasks.task import Task, play_randomly
from rewardsmith.types import RewardFunction
from tests.conftest import load_settings
from tests.test_loop import Run

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "first byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "all but the end": lambda data: data.rstrip()[:-1],
    "zeros": lambda data: bytes(len(data)),
    "half zeros": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "another object": lambda data: b"{}",
    "a list": lambda data: b"[1]",
    "nothing": lambda data: b"null",
    "no text": lambda data: b"\xff\xfe\x00",
}
READ = (
    "iteration_1/candidate_0.json",
    "iteration_1/candidate_3.json",
    "iteration_1/race_1.json",
    "iteration_2/race_1.json",
    "iteration_1/evaluations.json",
    "iteration_2/evaluations.json",
    "headline/1_0_*.json",
    "run.json",
)
UNREAD = ("summary.json", "best/reward.py", "best/model.zip")
"""Written anew, or only for people."""
MADE = ("best/", "models/best.zip")
DONE = ("iteration_*/candidate_*.json", "iteration_*/race_*.json", "headline/*.json")
ITERATIONS = "experiment.iterations=2"


def nothing_is_wrong(rewards: Iterable[RewardFunction], *_: Any) -> Iterator[tuple[None, None]]:
    """Spares the reward processes, which are not what is tested here."""
    return iter([(None, None) for _ in rewards])


@pytest.fixture(scope="module", autouse=True)
def swift(point_task: Task) -> Iterator[None]:
    """No reward is tried out here, and each configuration is composed once."""
    play = play_randomly(point_task, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rewardsmith.search.author.try_each", nothing_is_wrong)
        patch.setattr("tests.test_loop.load_settings", lru_cache(load_settings))
        patch.setattr("tests.test_loop.play_randomly", lambda task, seed: play)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, point_task: Task, sandbox: Any) -> Run:
    run = Run(tmp_path_factory.mktemp("run"), point_task, sandbox, ITERATIONS)
    assert run.directory.read_races(1), "there is a race to be damaged"
    return run


def contents(folder: Path, *but: str) -> dict[str, bytes]:
    """All files, without those that hold times and those that are made of others each time."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")}
    always = ("run.json", "summary.json", "best/card.md")  # hold how long it took
    return {
        name: file.read_bytes()
        for name, file in files.items()
        if file.is_file() and not name.startswith((*but, *always))
    }


def same_result(again: Run, whole: Run) -> None:
    assert again.result.trials == whole.result.trials
    assert again.result.best == whole.result.best
    assert again.result.test == whole.result.test


class Killed(BaseException):
    """What ends a process between one instruction and the next; nothing catches it."""


class Mortal:
    """Writes files until it is killed."""

    def __init__(self, patch: pytest.MonkeyPatch, writes: int) -> None:
        self.left, self.written = writes, 0
        patch.setattr("rewardsmith.results.write_whole", self)

    def __call__(self, file: Path, data: str | bytes) -> None:
        if not self.left:
            raise Killed
        self.left -= 1
        self.written += 1
        write_whole(file, data)


@pytest.mark.slow
def test_a_run_that_is_cut_off_before_any_of_its_writes_ends_the_same(
    whole: Run,
    tmp_path: Path,
    point_task: Task,
    sandbox: SandboxSettings,
) -> None:
    expected = contents(whole.directory.root)
    for writes in itertools.count():
        folder = tmp_path / f"{writes}"
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            Mortal(patch, writes)
            try:
                Run(folder, point_task, sandbox, ITERATIONS)
            except Killed:
                pass
            else:
                break
        early = {file: file.read_bytes() for name in DONE for file in folder.glob(name)}
        same_result(Run(folder, point_task, sandbox, ITERATIONS), whole)
        assert contents(folder) == expected, writes
        assert {file: file.read_bytes() for file in early} == early
    assert writes > 30


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", READ)
def test_a_damaged_file_gets_a_sentence_and_what_it_says_helps(
    name: str,
    damage: str,
    whole: Run,
    tmp_path: Path,
    point_task: Task,
    sandbox: SandboxSettings,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.directory.root, folder)
    (file,) = folder.glob(name)
    before = contents(folder)
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    broken = contents(folder, *MADE)
    if (name, damage) == ("run.json", "another object"):
        return  # it is as good as a new one
    with pytest.raises(ResultsError) as found:
        Run(folder, point_task, sandbox, ITERATIONS)
    text = str(found.value)
    assert "\n" not in text
    assert contents(folder, *MADE) == broken, "nothing is written over what was good"
    if "do not come to what" in text:  # valid, but not what it was
        assert damage == "a list"
        return
    assert str(file) in text
    assert "elete it" in text
    file.unlink()
    again = Run(folder, point_task, sandbox, ITERATIONS)
    same_result(again, whole)
    after, own = contents(folder), file.relative_to(folder).as_posix()
    assert {key: after[key] for key in before if key != own} == {
        key: before[key] for key in before if key != own
    }


@pytest.mark.parametrize("name", [*READ, *UNREAD])
def test_a_missing_file_is_made_again(
    name: str, whole: Run, tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.directory.root, folder)
    before = contents(folder)
    for file in folder.glob(name):
        file.unlink()
    same_result(Run(folder, point_task, sandbox, ITERATIONS), whole)
    assert contents(folder) == before


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", UNREAD)
def test_what_is_only_written_is_written_again(
    name: str,
    damage: str,
    whole: Run,
    tmp_path: Path,
    point_task: Task,
    sandbox: SandboxSettings,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.directory.root, folder)
    before = contents(folder)
    file = folder / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    same_result(Run(folder, point_task, sandbox, ITERATIONS), whole)
    assert contents(folder) == before
    json.loads((folder / "summary.json").read_text())


def test_a_race_that_is_lost_and_may_not_be_had_again_is_noticed(
    whole: Run, tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.directory.root, folder)
    (folder / "iteration_1" / "race_1.json").unlink()
    with pytest.raises(ResultsError, match=r"iteration_1 do not come to what evaluations\.json"):
        Run(folder, point_task, sandbox, ITERATIONS, "experiment.races=0")


def test_a_policy_that_is_missing_is_named(
    whole: Run, tmp_path: Path, point_task: Task, sandbox: SandboxSettings
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.directory.root, folder)
    shutil.rmtree(folder / "models")
    with pytest.raises(ResultsError, match=r"candidate_0.*\.zip is missing.*put it back"):
        Run(folder, point_task, sandbox, ITERATIONS)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_exchange_is_not_asked_again_unless_the_user_says_so(
    damage: str, tmp_path: Path
) -> None:
    request, reply = Request((Message("user", "what?"),), 1, 0), Reply("that", "model-a")
    file = write_exchange(tmp_path / "iteration_1", request, reply, None, "openai", {})
    assert read_exchanges(tmp_path) == {request.key: reply}
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(ResultsError) as found:
        read_exchanges(tmp_path)
    assert str(file) in str(found.value)
    assert "delete it to ask again, which is paid for again" in str(found.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_joint_training_gets_a_sentence(damage: str, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "point")
    run.write_population("1", {"settings": "a", "1/0": "b"}, {"1/0": {"curves": []}})
    file = run.root / "populations" / "1.json"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(ResultsError, match=r"populations/1\.json is damaged; delete it, and the"):
        run.read_population("1", {"settings": "a"})


@pytest.mark.parametrize("damage", [*DAMAGES, None])
def test_experience_that_is_damaged_or_missing_is_never_passed_over(
    damage: str | None, tmp_path: Path
) -> None:
    import numpy as np

    run = RunDirectory.create(tmp_path, "point")
    assert run.experience_files(2) == [], "a backend that keeps none"
    file = run.experience_file(1)
    file.parent.mkdir()
    np.savez_compressed(file, state=np.arange(1000.0))
    run.write_population("1", {}, {})
    assert run.experience_files(2) == [file]
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(ResultsError, match=r"experience\.npz is damaged or missing; delete it"):
        run.experience_files(2)


def test_a_configuration_that_is_cut_off_is_no_other_configuration(tmp_path: Path) -> None:
    settings = load_settings("env=point", "experiment.iterations=7")
    run = RunDirectory.create(tmp_path, "point")
    run.write_config(to_yaml(settings))
    lines = run.config_file.read_text().splitlines(keepends=True)
    for number in (*range(0, len(lines), 10), *range(len(lines) - 12, len(lines))):
        write_whole(run.config_file, "".join(lines[:number]))
        try:
            found = recorded(run.config_file, ())
        except ConfigurationError as error:
            assert "\n" not in str(error), number
        else:
            assert deciding(found) == deciding(settings), number


def deciding(settings: Settings) -> dict[str, Any]:
    """What a result depends on: all but how it is shown."""
    return settings.model_dump(exclude={"video", "tracking"})


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_configuration_gets_a_sentence(damage: str, tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "point")
    run.write_config(to_yaml(load_settings("env=point")))
    run.config_file.write_bytes(DAMAGES[damage](run.config_file.read_bytes()))
    with pytest.raises(ConfigurationError) as found:
        recorded(run.config_file, ())
    assert "\n" not in str(found.value)


def test_a_line_that_was_cut_off_does_not_take_the_next_one_along(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_line(file, json.dumps({"event": "one"}))
    with file.open("a") as stream:
        stream.write('{"event": "cut o')
    append_line(file, json.dumps({"event": "two"}))
    assert [item["event"] for item in read_metrics(file.read_text().splitlines())] == ["one", "two"]
