"""Evolution: islands that stay apart, parents by fitness, migration, and what a request shows."""

from __future__ import annotations

from collections import Counter

import pytest

from rewardsmith.llm.types import Request
from rewardsmith.types import Trial
from tests.search.trials import PENDULUM, SOURCE, build, text_of, trained

ALONE = ("strategies.evolution.migration=100", "strategies.evolution.crossover=0")


def requests(strategy: object, iteration: int) -> list[Request]:
    asked = strategy.ask(iteration)  # type: ignore[attr-defined]
    assert all(isinstance(item, Request) for item in asked)
    return list(asked)


def round_of(*fitness: float, iteration: int = 1, kind: str = "success") -> list[Trial]:
    return [trained(iteration, number, value, kind=kind) for number, value in enumerate(fitness)]


def test_the_first_iteration_asks_for_something_fresh() -> None:
    for request in requests(build("evolution"), 1):
        assert request.parents == ()
        assert "Iteration" not in text_of(request)


def test_islands_use_their_own_members_only() -> None:
    strategy = build("evolution", "experiment.candidates=4", *ALONE)
    strategy.tell(1, round_of(0.1, 0.9, 0.2, 0.8))
    for iteration in (2, 3, 4, 5):
        for request in requests(strategy, iteration):
            (parent,) = request.parents
            assert int(parent.split("/")[1]) % 2 == request.candidate % 2


def test_migration_takes_the_best_of_an_island_to_the_next() -> None:
    strategy = build(
        "evolution",
        "experiment.candidates=2",
        "strategies.evolution.migration=1",
        "strategies.evolution.temperature=0.01",
        "strategies.evolution.crossover=0",
    )
    strategy.tell(1, round_of(0.1, 0.9))
    assert [request.parents for request in requests(strategy, 2)] == [("1/1",), ("1/1",)]


def test_an_island_keeps_its_best_members_only() -> None:
    strategy = build(
        "evolution", "experiment.candidates=4", "strategies.evolution.islands=1",
        "strategies.evolution.size=2", "strategies.evolution.temperature=100",
        "strategies.evolution.crossover=1",
    )  # fmt: skip
    strategy.tell(1, round_of(0.1, 0.9, 0.2, 0.8))
    assert {request.parents for request in requests(strategy, 2)} == {("1/1", "1/3")}


@pytest.mark.parametrize("kind", ["success", "return"])
def test_fitter_members_are_parents_more_often_and_temperature_evens_it_out(kind: str) -> None:
    task = ("env=point",) if kind == "success" else PENDULUM

    def shares(temperature: float) -> Counter[str]:
        strategy = build(
            "evolution", "experiment.candidates=60", "strategies.evolution.islands=1",
            f"strategies.evolution.temperature={temperature}", *ALONE, task=task,
        )  # fmt: skip
        strategy.tell(1, round_of(0.0, 0.5, 1.0, kind=kind))
        return Counter(request.parents[0] for request in requests(strategy, 2))

    cold, warm = shares(0.3), shares(100.0)
    assert cold["1/2"] > cold["1/1"] > cold["1/0"]
    assert cold["1/2"] > 40
    assert min(warm.values()) > 10


def test_a_mutation_shows_its_parent_with_numbers_and_asks_for_one_change() -> None:
    strategy = build("evolution", "experiment.candidates=2", *ALONE)
    strategy.tell(1, round_of(0.25, 0.75))
    (first, second) = requests(strategy, 2)
    assert [message.role for message in first.messages] == ["system", "user"]
    text = text_of(first)
    assert "# Iteration 2: vary a reward" in text
    assert "Reward 1/0 (success rate: 0.25 [0.15, 0.35])" in text
    assert SOURCE.strip() in text
    assert "| success | 0.2, 0.2 |" in text
    assert "| mean of `near` per step | 0.25, 0.25 |" in text
    assert "Change one thing" in text
    assert "1/1" not in text
    assert "1/1" in text_of(second)
    assert [parent.source for parent in first.brief.parents] == [SOURCE]
    assert first.brief.operator == "mutation"


def test_a_crossover_shows_two_different_parents_better_one_first() -> None:
    strategy = build(
        "evolution", "experiment.candidates=6", "strategies.evolution.islands=1",
        "strategies.evolution.crossover=1",
    )  # fmt: skip
    strategy.tell(1, round_of(0.25, 0.75))
    for request in requests(strategy, 2):
        assert request.parents == ("1/1", "1/0")
        text = text_of(request)
        assert "combine two rewards" in text
        assert text.index("Reward 1/1 (success") < text.index("Reward 1/0 (success")
        assert [parent.rank for parent in request.brief.parents] == [1.0, 0.0]
        assert request.brief.operator == "crossover"


def test_an_island_without_members_starts_afresh() -> None:
    strategy = build("evolution", "experiment.candidates=2", *ALONE)
    strategy.tell(1, [trained(1, 1, 0.5)])
    first, second = requests(strategy, 2)
    assert first.parents == ()
    assert "request 3 of 4" in text_of(first)
    assert second.parents == ("1/1",)


def test_where_only_ranks_may_be_told_parents_show_ranks() -> None:
    strategy = build("evolution", "experiment.candidates=2", *ALONE, task=PENDULUM)
    strategy.tell(1, round_of(-917.5, -123.25, kind="return"))
    text = text_of(requests(strategy, 2)[0])
    assert "(fitness: rank 2 of 2)" in text
    assert "917" not in text
    assert "| success |" not in text
