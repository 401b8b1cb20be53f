"""What a run may have spent outlives the run, however it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewardsmith.errors import ResultsError
from rewardsmith.llm.budget import Budget
from rewardsmith.llm.ledger import Ledger
from rewardsmith.llm.types import Usage
from rewardsmith.settings import Price

PRICES = {"small": Price(prompt=1.0, completion=4.0), "free": Price(prompt=0.0, completion=0.0)}


def _budget(file: Path, usage: Usage | None = None) -> Budget:
    budget = Budget(0.05, PRICES)
    budget.count_spent(usage or Usage(), Ledger(file))
    return budget


def test_a_second_run_knows_what_the_first_has_spent(tmp_path: Path) -> None:
    file = tmp_path / "spent.jsonl"
    first = _budget(file)
    first.settle(first.reserve("small", 1000, 1000), Usage(1, 1000, 500))  # 0.003
    first.release(first.reserve("small", 1000, 1000))
    first.lose(first.reserve("small", 1000, 1000))  # 0.005
    first.reserve("small", 1000, 2000)  # 0.009, and then it was killed
    assert first.spent == pytest.approx(0.008)
    second = _budget(file)
    assert second.spent == pytest.approx(0.017)
    second.settle(second.reserve("small", 1000, 0), Usage(1, 1000, 0))
    assert _budget(file).spent == pytest.approx(0.018)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_off_never_makes_room(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "spent.jsonl"
    first = _budget(file)
    for _ in range(3):
        first.settle(first.reserve("small", 1000, 1000), Usage(1, 1000, 500))
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    after = _budget(file)
    assert 0.006 <= after.spent <= 0.011001
    after.settle(after.reserve("small", 1000, 0), Usage(1, 1000, 0))
    assert _budget(file).spent == pytest.approx(after.spent)


def test_a_run_of_before_there_were_ledgers(tmp_path: Path) -> None:
    file = tmp_path / "spent.jsonl"
    old = Usage(9, 1, 1, usd=0.02)
    first = _budget(file, old)
    assert first.spent == pytest.approx(0.02)
    first.settle(first.reserve("small", 1000, 0), Usage(1, 1000, 0))
    assert _budget(file, old + Usage(1, 1000, 0, usd=0.001)).spent == pytest.approx(0.021)


def test_what_costs_nothing_leaves_no_file(tmp_path: Path) -> None:
    budget = _budget(tmp_path / "spent.jsonl")
    for model in ("free", "unknown"):
        budget.settle(budget.reserve(model, 10, 10), Usage(1, 10, 10))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_noted_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "spent.jsonl").mkdir()
    with pytest.raises(ResultsError, match=r"spent\.jsonl cannot be written: "):
        _budget(tmp_path / "spent.jsonl").reserve("small", 10, 10)
