"""The files of a run: never over an older one, always whole."""

import os
import stat
from pathlib import Path

import pytest

from rewardsmith.errors import ResultsError
from rewardsmith.files import write_whole
from rewardsmith.results import RunDirectory
from rewardsmith.types import Candidate, Evaluation, Fault, RewardFunction, Status, Trial


def test_a_second_run_goes_beside_the_first(tmp_path: Path) -> None:
    runs = [RunDirectory.create(tmp_path, "reach") for _ in range(3)]
    assert [run.root.name for run in runs] == ["reach", "reach-2", "reach-3"]


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file.txt"
    write_whole(file, "one")
    write_whole(file, "two")
    assert file.read_text() == "two"
    assert [path.name for path in file.parent.iterdir()] == ["file.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_gives_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ResultsError, match="cannot be written: Permission denied"):
        write_whole(tmp_path / "file.txt", "x")


def test_a_place_that_is_a_file_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ResultsError, match=r"taken/reach cannot be made: .* paths.results=FOLDER"):
        RunDirectory.create(tmp_path / "taken", "reach")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file.txt"
    write_whole(file, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResultsError, match="No space left on device"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_trial_comes_back_as_it_was(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "reach")
    fault = Fault(Status.REJECTED, "while_loop", "no while", 3, "while True:")
    candidate = Candidate(2, 1, RewardFunction("x"), "reply ü", ("1/0",), 2, fault)
    trial = Trial(candidate, Evaluation(Status.REJECTED, fault=fault, seconds=0.1 + 0.2))
    run.write_trial(trial)
    assert run.read_trial(2, 1) == trial
    assert run.read_trial(2, 0) is None


def test_a_damaged_trial_gives_one_sentence(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "reach")
    write_whole(run.iteration(1) / "candidate_0.json", "{half")
    with pytest.raises(ResultsError, match=r"candidate_0.json is damaged; delete it"):
        run.read_trial(1, 0)
