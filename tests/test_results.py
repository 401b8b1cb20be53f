"""The files of a run: never over an older one, always whole."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rewardsmith.errors import ResultsError, StorageError
from rewardsmith.files import room, storage_error, write_whole
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


HOLDER = """
import subprocess, sys, time
from pathlib import Path
from rewardsmith.results import RunDirectory
with RunDirectory(Path(sys.argv[1])).held():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_processes_cannot_go_on_with_one_run_and_a_killed_one_is_in_nobodys_way(
    tmp_path: Path,
) -> None:
    run = RunDirectory.create(tmp_path, "reach")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.root)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    children = psutil.Process(holder.pid).children()
    try:
        with pytest.raises(
            ResultsError, match=rf"reach is a run that is still going \(process {holder.pid}\)\."
        ):
            run.held().__enter__()
        holder.kill()
        holder.wait()
        (run.root / ".file.txt.1-1.tmp").write_text("half")  # what a killed run may leave
        with run.held():  # though a child of the killed process is still there
            assert [child.status() == psutil.STATUS_ZOMBIE for child in children] == [False]
            assert [file.name for file in run.root.iterdir()] == [".lock"]
    finally:
        for child in children:
            child.kill()


def test_what_is_read_only_says_so_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.create(tmp_path, "reach")

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"\.lock cannot be written: .* Make it writable\."):
        run.held().__enter__()


def test_room_is_kept_for_what_has_to_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    with room(file, 1 << 20):
        (spare,) = tmp_path.iterdir()
        assert spare.stat().st_size == 1 << 20
    assert list(tmp_path.iterdir()) == []


def test_without_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(StorageError, match=r"cannot be written: No space left .* Free some space"):
        room(tmp_path / "file.txt", 1).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_found_behind_another_error() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "model.zip")
        except OSError as error:
            raise RuntimeError("a library gave up") from error
    except RuntimeError as error:
        found = storage_error(error)
    assert str(found) == "model.zip cannot be written: No space left on device. Free some space."
    assert storage_error(OSError(errno.ENOENT, "no such file")) is None
