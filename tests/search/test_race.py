"""Who gets more seeds: those that cannot be told from the best, as long as it matters."""

from __future__ import annotations

from rewardsmith.evaluation import merge
from rewardsmith.search.base import rank
from rewardsmith.search.race import rivals
from rewardsmith.types import Evaluation, Fault, Status, Trial
from tests.search.made_up import evaluated, trial


def picked(trials: list[Trial], most: int = 4, indifference: float = 0.1) -> list[str]:
    return [item.candidate.label for item in rivals(trials, most, indifference)]


def test_a_best_one_that_stands_alone_needs_no_race() -> None:
    assert picked([trial("1/0", evaluated(15, 15, 15)), trial("1/1", evaluated(5, 4, 6))]) == []


def test_those_whose_intervals_reach_the_best_ones_race() -> None:
    trials = [
        trial("1/0", evaluated(9, 10, 11)),
        trial("1/1", evaluated(12, 11, 10)),
        trial("1/2", evaluated(2, 1, 0)),
    ]
    assert picked(trials) == ["1/1", "1/0"]


def test_no_race_where_it_hardly_matters_who_is_best() -> None:
    trials = [trial(f"1/{index}", evaluated(15, 15, 15)) for index in range(3)]
    assert picked(trials) == []
    assert picked(trials, indifference=0.05) == ["1/0", "1/1", "1/2"]


def test_only_the_highest_ranked_race_and_two_at_least() -> None:
    trials = [trial(f"1/{index}", evaluated(8 + index, 8, 8)) for index in range(5)]
    assert picked(trials, most=3) == ["1/4", "1/3", "1/2"]
    assert picked(trials, most=0) == ["1/4", "1/3"]


def test_the_best_of_earlier_iterations_takes_part() -> None:
    earlier = [trial("1/0", evaluated(9, 9, 9)), trial("1/1", evaluated(8, 8, 8))]
    later = [trial(f"2/{index}", evaluated(10, 10, 10)) for index in range(3)]
    assert picked([*earlier, *later], most=2) == ["2/0", "1/0"]


def test_nothing_trained_means_no_race() -> None:
    fault = Fault(Status.CRASHED, "worker", "It died.")
    assert picked([trial("1/0", Evaluation(Status.CRASHED, fault=fault))]) == []


def test_more_seeds_count_together_with_those_before() -> None:
    merged = merge("success", evaluated(15, 12, 15), evaluated(9, 15, 12, first=3))
    assert merged.fitness is not None
    assert (merged.fitness.seeds, merged.fitness.episodes) == (6, 90)
    assert merged.fitness.mean == 78 / 90
    assert merged.fitness.iqm is not None, "six are enough for an interquartile mean"
    assert merged.trainings == (0, 1, 2, 3, 4, 5)
    assert len(merged.curves) == len(merged.scores) == 6


def test_a_reward_that_fails_on_more_seeds_has_failed() -> None:
    fault = Fault(Status.DIVERGED, "diverged", "It diverged.")
    merged = merge("success", evaluated(15), Evaluation(Status.DIVERGED, fault=fault, timesteps=9))
    assert (merged.status, merged.fault, merged.fitness) == (Status.DIVERGED, fault, None)
    assert merged.timesteps == 9


def test_a_race_that_died_costs_nobody_what_was_known() -> None:
    fault = Fault(Status.CRASHED, "worker", "Its process was killed.")
    first = evaluated(15, 12)
    merged = merge("success", first, Evaluation(Status.CRASHED, fault=fault, timesteps=9))
    assert (merged.status, merged.fitness, merged.scores) == (
        Status.OK,
        first.fitness,
        first.scores,
    )
    assert merged.timesteps == 9, "but it is counted"


def test_the_policy_to_keep_is_named_by_its_training() -> None:
    assert evaluated(3, 9, 9, first=6).best_training == 7


def test_equals_are_ordered_by_how_early_they_succeeded_within_an_iteration_only() -> None:
    slow, fast = evaluated(15, early=0.2), evaluated(15, early=0.9)
    ranking = rank([trial("1/0", slow), trial("1/1", fast), trial("2/0", fast)])
    assert [item.candidate.label for item in ranking] == ["1/1", "1/0", "2/0"]
