"""The headline table: who is in it, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rewardsmith.headline import (
    FIRST,
    HUMAN,
    SPARSE,
    WINNER,
    Entrant,
    human_normalised,
    improvement,
    list_entrants,
    trained_together,
)
from rewardsmith.summary import headline_rows
from rewardsmith.tasks.baselines import Baseline
from rewardsmith.types import Candidate, Evaluation, Fault, RewardFunction, Status
from tests.conftest import load_settings
from tests.search.made_up import evaluated, trial

SETTINGS = load_settings("env=point")
ONE = trial("1/0", evaluated(10, 10, 10))
TWO = trial("2/3", evaluated(14, 14, 14))


def baseline(name: str, hidden: bool = False) -> Baseline:
    fields = ("environment_reward",) if hidden else ()
    env = SETTINGS.env.model_copy(update={"environment_fields": fields})
    return Baseline(name, f"# {name}", env)


def entrant(name: str, evaluation: Evaluation | None) -> Entrant:
    candidate = Candidate(0, 0, RewardFunction(""), origin=name)
    return Entrant((name,), candidate, SETTINGS, evaluation)


def test_the_winner_meets_the_best_of_iteration_1_and_the_baselines() -> None:
    found = list_entrants(TWO, [ONE, TWO], [baseline(SPARSE), baseline(HUMAN)], SETTINGS)
    assert [item.names for item in found] == [(WINNER,), (FIRST,), (SPARSE,), (HUMAN,)]
    assert [item.candidate.label for item in found] == ["2/3", "1/0", "sparse", "human"]


def test_a_winner_of_iteration_1_is_trained_once_only() -> None:
    found = list_entrants(ONE, [ONE], [], SETTINGS)
    assert [item.names for item in found] == [(WINNER, FIRST)]


def test_an_iteration_1_without_any_success_leaves_no_row() -> None:
    failed = trial("1/0", Evaluation(Status.CRASHED, fault=Fault(Status.CRASHED, "x", "x")))
    found = list_entrants(TWO, [failed, TWO], [], SETTINGS)
    assert [item.names for item in found] == [(WINNER,)]


def test_what_needs_other_settings_is_trained_apart() -> None:
    waiting = list_entrants(TWO, [ONE, TWO], [baseline(SPARSE), baseline(HUMAN, True)], SETTINGS)
    groups = [[item.candidate.label for item in group] for group in trained_together(waiting)]
    assert groups == [["2/3", "1/0", "sparse"], ["human"]]
    [[human]] = [group for group in trained_together(waiting) if len(group) == 1]
    assert human.settings.training.model_dump()["hindsight"] == 0


def test_what_is_trained_is_not_trained_again() -> None:
    waiting = list_entrants(TWO, [ONE, TWO], [], SETTINGS)
    done = [replace(waiting[0], evaluation=evaluated(3)), waiting[1]]
    assert trained_together(done) == [[waiting[1]]]


def test_the_scale_runs_from_the_sparse_to_the_human_reward() -> None:
    rows = [
        entrant("ours", evaluated(12, 12, 12)),
        entrant(SPARSE, evaluated(3, 3, 3)),
        entrant(HUMAN, evaluated(9, 9, 9)),
    ]
    found = human_normalised(rows)
    assert found == pytest.approx({"ours": 1.5, SPARSE: 0.0, HUMAN: 1.0})


@pytest.mark.parametrize(
    "human",
    [None, evaluated(3), evaluated(4), evaluated(0)],
    ids=["not trained", "no better", "hardly better", "worse"],
)
def test_there_is_no_scale_without_a_distance(human: Evaluation | None) -> None:
    rows = [entrant("ours", evaluated(12)), entrant(SPARSE, evaluated(3)), entrant(HUMAN, human)]
    assert human_normalised(rows) == {}


def test_the_probability_of_improvement_counts_pairs_of_trainings() -> None:
    found = improvement(evaluated(15, 15, 9), evaluated(9, 9, 3))
    assert found is not None
    assert found.probability == pytest.approx((3 + 3 + 2) / 9)
    assert found.low < found.probability < found.high


def test_winning_every_time_is_no_certainty() -> None:
    few = improvement(evaluated(15, 15), evaluated(3, 3))
    more = improvement(evaluated(*[15] * 5), evaluated(*[3] * 5))
    assert few is not None and more is not None
    assert (few.probability, few.high) == (more.probability, more.high) == (1.0, 1.0)
    assert few.low < 0.5 < more.low < 0.8
    equal = improvement(evaluated(*[15] * 5), evaluated(*[15] * 5))
    assert equal is not None
    assert equal.low < 0.3 and equal.high > 0.7


def test_one_training_alone_says_nothing_of_the_spread() -> None:
    assert improvement(evaluated(15), evaluated(3, 4)) is None


def test_a_row_that_failed_says_so() -> None:
    fault = Fault(Status.DIVERGED, "diverged", "It diverged.")
    rows = [
        replace(list_entrants(ONE, [ONE], [], SETTINGS)[0], evaluation=evaluated(15, 15)),
        entrant(HUMAN, Evaluation(Status.DIVERGED, fault=fault)),
    ]
    winner, human = headline_rows(rows, "success")
    assert winner["name"] == "winner, best of iteration 1 (1/0)"
    assert human["fitness"] == "diverged"
    assert (human["better"], human["normalised"], human["scores"]) == ("–", "–", "")
