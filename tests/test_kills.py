"""Runs that are killed, or whose disk is full: each goes on, and ends as one left alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.disks import small_disk
from tests.kills import Life, Provider, Timeline, moments, undisturbed
from tests.runs import comparable, compared, learned, summary, wait_for

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("REWARDSMITH_KILLS", "20"))
"""Fewer, while something is tried out."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Life, Timeline]]:
    with undisturbed(tmp_path_factory.mktemp("undisturbed")) as found:
        yield found


def assert_same_end(life: Life, model: Life, told: str) -> None:
    assert life.run is not None
    assert model.run is not None
    assert comparable(life.run) == comparable(model.run), told
    assert compared(life.run) == compared(model.run), told
    assert learned(life.run) == learned(model.run), told
    assert summary(life.run)["best"]["candidate"] == summary(model.run)["best"]["candidate"]
    assert summary(life.run)["usage"] == summary(model.run)["usage"], told
    assert summary(life.run)["usage"]["usd"] == pytest.approx(sum(life.recorded().values()))
    assert summary(life.run)["usage"]["usd"] > 0
    assert not list(life.run.rglob("*.tmp")), told
    assert json.loads((life.run / "run.json").read_text())["found"] is True
    assert (life.run / "report.html").exists()


@pytest.mark.timeout(1800)
def test_a_run_killed_at_random_moments_goes_on_and_ends_the_same(
    model: tuple[Life, Timeline], tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    calm, timeline = model
    chosen = moments(KILLS, timeline.length, random.Random(seed))
    with Provider() as provider:
        life = Life(tmp_path, provider)
        for number, moment in enumerate(chosen):
            life.kill_at(moment, timeline, everyone=number % 2 == 0)
        code, said = life.end()
    told = f"seed {seed}, killed at {[round(item) for item in chosen]} s: {life.phases}\n{said}"
    print(told)
    assert code == 0, told
    assert "Traceback" not in said, told
    assert set(provider.sent) == set(calm.provider.sent), told
    assert life.written_again() == [], told
    assert life.paid_twice() == [], told
    assert life.survivors == [], told
    assert life.troubles == [], told
    assert_same_end(life, calm, told)


def sentence_of(process: subprocess.Popen[str], reason: str) -> str:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 2, out + err
    assert len(err.strip().splitlines()) == 1, err
    assert "Traceback" not in out + err
    assert f"cannot be written: {reason}" in err
    return err


def statuses(run: Path) -> set[str]:
    files = run.glob("iteration_*/candidate_*.json")
    return {json.loads(file.read_text())["evaluation"]["status"] for file in files}


FULL = "No space left on device. Free some space."


def test_a_disk_that_is_full_or_read_only_ends_a_run_with_a_sentence(tmp_path: Path) -> None:
    with small_disk(tmp_path / "results") as disk, Provider() as provider:
        life = Life(tmp_path, provider)
        provider.on_request = disk.fill  # while requests are in flight
        process = life.start()
        wait_for(lambda: 0 < len(life.recorded()) == sum(provider.sent.values()))
        provider.on_request = None
        disk.fill()  # what was kept for the replies, too
        text = sentence_of(process, FULL)
        assert "experiment.resume=results/point" in text
        asked = sum(provider.sent.values())
        assert asked == len(life.recorded()) > 0, "what was paid for is there"
        disk.free()
        assert life.run is not None
        shutil.rmtree(life.run / "tensorboard_logs", ignore_errors=True)
        process = life.start()
        curves = life.run / "tensorboard_logs" / "iteration_1"
        wait_for(lambda: list(curves.glob("candidate_*/seed_0/events*")))
        with disk.read_only():
            text = sentence_of(process, "Read-only file system. Make it writable.")
            assert f"experiment.resume={life.run}" in text
            asked = sum(provider.sent.values())
            text = sentence_of(life.start(), "Read-only file system. Make it writable.")
            assert sum(provider.sent.values()) == asked, "it says so before anything is spent"
        assert life.paid_twice() == []
        assert statuses(life.run) == set(), "no candidate is to blame"


def test_a_disk_that_is_full_at_the_end_of_a_run_costs_nothing(
    model: tuple[Life, Timeline], tmp_path: Path
) -> None:
    calm, _ = model
    assert calm.run is not None
    late = ("headline", "populations/final*", "summary.json", "report.html", "best/video*")
    with small_disk(tmp_path / "results") as disk, Provider() as provider:
        life = Life(tmp_path, provider)
        run = tmp_path / "results" / "point"
        shutil.copytree(calm.run, run)
        for file in [file for name in late for file in run.glob(name)]:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        shutil.rmtree(run / "tensorboard_logs" / "baselines")
        (run / "metrics.jsonl").unlink()
        moments: list[Callable[[], object]] = [
            lambda: list(run.glob("tensorboard_logs/baselines/*/*/events*")),  # training
            lambda: '"finished"' in (run / "metrics.jsonl").read_text(),  # film and report
        ]
        for moment in moments:
            process = life.start()
            wait_for(moment)
            disk.fill()
            sentence_of(process, FULL)
            disk.free()
            assert statuses(run) == {"ok"}
        code, said = life.end()
        assert code == 0, said
        assert not provider.sent, "nothing is asked again"
        assert_same_end(life, calm, said)
