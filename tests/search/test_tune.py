"""Tuning: which numbers are varied, how, and what is learned from ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.llm.types import Request
from rewardsmith.reward.extract import extract_code
from rewardsmith.reward.probe import probe
from rewardsmith.reward.process import RewardProcess
from rewardsmith.search.base import Draft, Proposal
from rewardsmith.search.constants import all_numbers, find_constants, with_numbers
from rewardsmith.settings import SandboxSettings
from rewardsmith.types import RewardFunction, Trial
from tests.conftest import DATA
from tests.search.trials import POINT, SOURCE, build, failed, text_of, trained, world

SINCERE = sorted((DATA / "sincere").glob("*.txt"))


@pytest.mark.parametrize(
    ("text", "varied"),
    [
        ("a = 2.0 * x + 0.5", [2.0, 0.5]),
        ("a = -0.01 * np.square(action).sum(axis=-1)", [0.01]),
        ("a = 10 * x / 3 - 7", [10, 3, 7]),
        ("a = np.exp(-5 * d ** 2)", [5]),
        ("a = np.power(d / 0.3, 2.0)", [0.3]),
        ("a = x[:, 3:6] - x[..., 2] * 4.0", [4.0]),
        ("a = np.linalg.norm(2.5 * x, 2, 1)", [2.5]),
        ("a = np.sum(x, 2) + x.sum(2) + x.reshape(-1, 3)", []),
        ("a = np.where(d < 0.05, 1.0, 0.0)", [0.05]),
        ("a = 1.0 - np.tanh(8.0 * d)", [8.0]),
        ("a = 1.0 / (1.0 + d)", []),
        ("a = 1.0 * near + 1 * far", [1.0, 1.0]),
        ("a = x / (np.linalg.norm(x, axis=-1) + 1e-8)", []),
        ("a = np.clip(x, -5, 0.5) + x.clip(0, 3)", [5, 0.5, 3]),
        ("a = np.maximum(x, 2) + np.round(x, 2)", [2]),
        ("a = sum(i * 0.1 for i in range(5))", [0.1]),
        ("a = np.zeros(3) + np.full(4, 2.0)", []),
        ("a = np.array([1, 2, 3]) * np.array([0.5, 2.0])", [0.5, 2.0]),
        ("a = 0.5 if x.ndim == 2 else 3.0", [0.5, 3.0]),
        ("a = x % 2 + x // 3", []),
        ("a = np.where(stage == 2, 0.5 * x, 0.0) * (stage != 3.0) * (d > 2)", [0.5, 2]),
        ("a = True * 3.0", [3.0]),
        ("WEIGHT = 1.0\nn = 1\nRATE = 20", [1.0, 20]),
        ("W = {'a': 1.0, 'b': 2.5}\nb = W['a'] * x", [1.0, 2.5]),
        ("START = 3\nSIZE = 4.0\na = x[:, START:] * SIZE", [4.0]),
        ("POWER = 2.0\na = d ** POWER", []),
        ("p, k = 2.0, 0.5\na = k * d ** p", []),
        ("W = {'e': 2.0}\na = d ** W['e']", []),
        ("def f(d, k=2.0, *, p=3.0):\n    return (k * d) ** p\na = f(d, 4.0, p=5.0)", [2, 4, 5]),
        ("a = 2.0 * x  # ä 3.0\nb = 'ö'\nc = 0.7", [2.0, 0.7]),
    ],
)
def test_numbers_that_shape_values_are_found_and_structure_is_left_alone(
    text: str, varied: list[float]
) -> None:
    assert [constant.value for constant in find_constants(text)] == varied


@pytest.mark.parametrize("file", SINCERE, ids=lambda file: file.stem)
def test_everything_but_the_numbers_stays_as_it_was(file: object) -> None:
    source = file.read_text()  # type: ignore[attr-defined]
    constants = find_constants(source)
    changed = with_numbers(source, {item.place: item.value * 1.5 for item in constants})
    before, after = all_numbers(source), all_numbers(changed)
    varied = {item.place for item in constants}
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        assert new == pytest.approx(old * 1.5 if place in varied else old, rel=1e-3)
    assert len(changed.splitlines()) == len(source.splitlines())


def test_comments_and_formatting_survive_whatever_the_line_ends_with() -> None:
    text = "# é \x0c\u2028 2.0\r\na = ( 10 *d )  # ten: 10\nb = 3.5;c=x [:, 2]"
    assert with_numbers(text, {1: 5.0, 0: 12.3456}) == (
        "# é \x0c\u2028 2.0\r\na = ( 12.35 *d )  # ten: 10\nb = 5.0;c=x [:, 2]"
    )


def test_variants_stay_within_bounds_and_the_incumbent_is_not_proposed_again() -> None:
    strategy = build("tune", "strategies.tune.spread=2.0")
    strategy.tell(1, [trained(1, 0, 0.5)])
    for iteration in (2, 3, 4):
        proposals = strategy.ask(iteration)
        assert len({item.source for item in proposals} | {SOURCE}) == 9  # type: ignore[union-attr]
        for item in proposals:
            assert isinstance(item, Draft)
            assert (item.origin, item.parents) == ("tune", ("1/0",))
            weight, rate = varied(item)
            assert 0.999 <= weight <= 4.001
            assert 2.499 <= rate <= 10.01
        strategy.tell(iteration, judged(proposals, lambda numbers: 0.4))


def varied(proposal: Proposal) -> tuple[float, float]:
    """The weight and the rate of a variant of `SOURCE`."""
    assert isinstance(proposal, Draft)
    places = [item.place for item in find_constants(SOURCE)]
    weight, rate = (all_numbers(proposal.source)[place] for place in places)
    return weight, rate


def judged(
    proposals: Sequence[Proposal], fitness: Callable[[tuple[float, float]], float]
) -> list[Trial]:
    trials = []
    for item in proposals:
        assert isinstance(item, Draft)
        value = fitness(varied(item))
        trials.append(trained(item.iteration, item.candidate, value, item.source, proposal=item))
    return trials


@pytest.mark.parametrize("count", [1, 3, 8])
def test_it_finds_better_numbers(count: int) -> None:
    def fitness(numbers: tuple[float, float]) -> float:
        weight, rate = numbers
        return 1.0 - abs(math.log(weight / 5.0)) - abs(math.log(rate / 2.0))

    strategy = build("tune", f"experiment.candidates={count}")
    strategy.tell(1, [trained(1, 0, fitness((2.0, 5.0)))])
    best = -math.inf
    for iteration in range(2, 2 + 48 // count):
        trials = judged(strategy.ask(iteration), fitness)
        best = max([best, *(trial.evaluation.fitness.mean for trial in trials)])  # type: ignore[union-attr]
        strategy.tell(iteration, trials)
    assert best > 0.5  # it began at -0.83


def test_only_ranks_count() -> None:
    first, second = (build("tune") for _ in range(2))
    for strategy, scale in ((first, 1.0), (second, 0.01)):
        strategy.tell(1, [trained(1, 0, 0.3 * scale)])
        for iteration in (2, 3):
            proposals = strategy.ask(iteration)
            strategy.tell(iteration, judged(proposals, lambda n, s=scale: n[0] * 0.1 * s))
    assert first.ask(4) == second.ask(4)


def test_failures_rank_last() -> None:
    """Numbers that fail are turned away from: here, all rates above the incumbent's."""
    strategy = build("tune")
    strategy.tell(1, [trained(1, 0, 0.5)])
    for iteration in range(2, 8):
        proposals = strategy.ask(iteration)
        trials = judged(proposals, lambda numbers: 0.6)
        strategy.tell(
            iteration,
            [
                failed(item) if varied(item)[1] > 5.0 else trial
                for item, trial in zip(proposals, trials, strict=True)
            ],
        )
    rates = [varied(item)[1] for item in strategy.ask(8)]
    assert np.median(rates) < 5.0


def test_tuning_starts_again_from_a_better_reward_of_somebody_elses() -> None:
    strategy = build("tune")
    strategy.tell(1, [trained(1, 0, 0.5)])
    strategy.tell(2, judged(strategy.ask(2), lambda numbers: 0.6))
    other = SOURCE.replace("5.0", "50.0")
    strategy.tell(3, [trained(3, 0, 0.9, other)])
    for item in strategy.ask(4):
        assert item.parents == ("3/0",)
        assert varied(item)[1] > 12.0


def test_before_anything_is_trained_the_provider_is_asked() -> None:
    strategy = build("tune")
    greedy = build("greedy")
    assert strategy.ask(1) == greedy.ask(1)


def test_a_reward_without_numbers_is_said_to_have_none_and_the_provider_is_asked() -> None:
    plain = SOURCE.replace("2.0 * np.exp(-5.0 * gap)", "1.0 - np.tanh(gap)")
    strategy = build("tune", "experiment.candidates=2")
    reflection = strategy.tell(1, [trained(1, 0, 0.5, plain)])
    assert "Reward 1/0 holds no number that could be tuned" in reflection
    asked = strategy.ask(2)
    assert all(isinstance(item, Request) for item in asked)
    assert "no number that could be tuned" not in text_of(asked[0])  # type: ignore[arg-type]


def test_one_number_is_enough() -> None:
    one = SOURCE.replace("2.0 * np.exp(-5.0 * gap)", "np.exp(-5.0 * gap)")
    strategy = build("tune")
    strategy.tell(1, [trained(1, 0, 0.5, one)])
    for iteration in (2, 3):
        proposals = strategy.ask(iteration)
        strategy.tell(iteration, [failed(item) for item in proposals])
        assert len({item.source for item in proposals if isinstance(item, Draft)}) == 8


def test_variants_can_be_trained(sandbox: SandboxSettings) -> None:
    task, play = world(POINT)
    strategy = build("tune", "experiment.candidates=3")
    strategy.tell(1, [trained(1, 0, 0.5)])
    for item in strategy.ask(2):
        assert isinstance(item, Draft)
        assert probe(RewardFunction(item.source), task.layout, play.probe, sandbox) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["push", "pick_and_place", "reach", "slide"])
def test_rewards_of_language_models_still_work_with_other_numbers(
    name: str, sandbox: SandboxSettings
) -> None:
    task, play = world((f"env={name}",))
    rows, chance = play.probe, np.random.default_rng(0)
    files = sorted((DATA / "replies" / name).glob("good_*.md"))
    assert files
    with RewardProcess(task.layout, sandbox) as process:
        for file in files:
            source = extract_code(file.read_text())
            assert source is not None
            constants = find_constants(source)
            for _ in range(4):
                numbers = {
                    item.place: item.value * 4 ** chance.uniform(-1, 1) for item in constants
                }
                process.load(RewardFunction(with_numbers(source, numbers)))
                rewards = process.evaluate(rows.state, rows.action, rows.next_state)
                assert np.ptp(rewards.total) > 0, file


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("strategies.tune.spread=1", "strategies.tune.spread is 1, but it should be greater"),
        ("+strategies.tune.steps=1", "strategies.tune.steps is not a setting of strategies.tune"),
    ],
)
def test_a_wrong_option_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{sentence}"):
        build("tune", override)
