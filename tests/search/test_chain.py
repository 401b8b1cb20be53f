"""Strategies one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rewardsmith.search.base import Draft, Proposal
from rewardsmith.search.chain import Chain
from rewardsmith.types import Trial
from tests.search.trials import build, trained, trials_of


class Named:
    """Remembers what it was told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: list[int] = []

    def ask(self, iteration: int) -> list[Proposal]:
        return [Draft(iteration, 0, "", self.name)]

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        self.told.append(iteration)
        return f"{self.name} on {iteration}"


@pytest.mark.parametrize(
    ("count", "iterations", "turns"),
    [(1, 3, "aaa"), (2, 5, "aaabb"), (2, 4, "aabb"), (3, 3, "abc"), (3, 7, "aaabbcc")],
)
def test_the_iterations_are_split_in_order(count: int, iterations: int, turns: str) -> None:
    strategies = [Named(name) for name in "abc"[:count]]
    chain = Chain(strategies, iterations)
    numbers = range(1, iterations + 1)
    assert "".join(chain.ask(number)[0].origin for number in numbers) == turns
    reflections = [chain.tell(number, [trained(number, 0, 0.5)]) for number in numbers]
    assert reflections == [
        f"{name} on {number}" for name, number in zip(turns, numbers, strict=True)
    ]
    assert all(strategy.told == list(numbers) for strategy in strategies)


def test_the_last_one_goes_on_where_a_run_is_prolonged() -> None:
    chain = Chain([Named("a"), Named("b")], 2)
    assert "".join(chain.ask(number)[0].origin for number in (1, 2, 3, 4)) == "abbb"


def test_tuning_goes_on_with_what_evolution_has_found() -> None:
    chain = Chain([build(name, "experiment.candidates=4") for name in ("evolution", "tune")], 4)
    trials: list[Trial] = []
    for iteration in (1, 2):
        trials = trials_of(chain.ask(iteration))
        trials[0] = trained(iteration, 0, 0.9 + iteration / 100)
        chain.tell(iteration, trials)
    variants = chain.ask(3)
    assert all(isinstance(item, Draft) and item.parents == ("2/0",) for item in variants)
