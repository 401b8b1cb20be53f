"""A run that is killed again and again goes on each time, and ends as one that was left alone."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from tests.kills import Life, Provider, moments, undisturbed
from tests.runs import comparable, compared, learned, summary

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("REWARDSMITH_KILLS", "20"))
"""Fewer, while something is tried out."""


def test_a_run_killed_at_random_moments_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    with undisturbed(tmp_path / "undisturbed") as (model, timeline), Provider() as provider:
        life = Life(tmp_path, provider)
        chosen = moments(KILLS, timeline.length, random.Random(seed))
        for number, moment in enumerate(chosen):
            life.kill_after(timeline.delay(moment, life.run), everyone=number % 2 == 0)
        code, said = life.end()
        told = f"seed {seed}, killed at {[round(item) for item in chosen]} s: {life.phases}\n{said}"
        assert code == 0, told
        assert "Traceback" not in said, told
        assert life.run is not None
        assert model.run is not None
        assert comparable(life.run) == comparable(model.run), told
        assert compared(life.run) == compared(model.run), told
        assert learned(life.run) == learned(model.run), told
        assert summary(life.run)["best"]["candidate"] == summary(model.run)["best"]["candidate"]
        assert set(provider.sent) == set(model.provider.sent), told
        assert life.written_again() == [], told
        assert life.paid_twice() == [], told
        assert life.survivors == [], told
        paid = sum(life.recorded().values())
        assert paid > 0
        assert summary(life.run)["usage"]["usd"] == pytest.approx(paid), told
        assert summary(life.run)["usage"] == summary(model.run)["usage"], told
        assert not list(life.run.rglob("*.tmp")), told
        record = json.loads((life.run / "run.json").read_text())
        assert record["found"] is True
        assert (life.run / "report.html").exists()
        print(told)
