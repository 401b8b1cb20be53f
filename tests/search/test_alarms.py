"""What raises an alarm, what must not, and that real hacks are caught in real trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rewardsmith.search.alarms import find_alarms
from rewardsmith.types import Checkpoint, Fault, Status, Trial
from tests.search.made_up import curve, episodes, failed, trained
from tests.training.conftest import GOOD, Training, candidates
from tests.training.population.conftest import population_settings

RISING = (0.1, 0.3, 0.5, 0.7, 0.9)
NEVER = (0.0, 0.0, 0.0, 0.0, 0.0)
ONE_PART = {"near": RISING}
AWAY = """
def compute_reward(state, action, next_state):
    gap = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    moved = np.linalg.norm(next_state["achieved_goal"] - state["achieved_goal"], axis=-1)
    return gap + moved, {"far": gap, "speed": moved}
"""


def names(trial: Trial) -> list[str]:
    return [alarm.name for alarm in find_alarms(trial)]


def three(
    successes: Sequence[float | None], solved: int, kind: str = "success", **parts: Sequence[float]
) -> Trial:
    """Three equal trainings, ten ranking episodes each."""
    return trained([curve(successes, **parts)] * 3, [episodes(solved, 10)] * 3, kind)


def test_an_honest_reward_raises_no_alarm() -> None:
    assert find_alarms(three((0.0, 0.25, 0.5, 0.75, 1.0), 10, near=RISING, effort=NEVER)) == ()


def test_own_return_that_rises_without_success_names_both() -> None:
    (alarm,) = find_alarms(three((0.25, 0.0, 0.25, 0.0, 0.25), 1, **ONE_PART))
    assert alarm.name == "return_without_success"
    assert "own return rose from 5 to 45 while success went from 0.25 to 0.25" in alarm.message
    assert alarm.numbers["correlation"] == pytest.approx(0.0)
    assert alarm.numbers["looks"] == 15


@pytest.mark.parametrize(
    ("successes", "solved", "own"),
    [
        ((0.0, 0.0, 0.25, 0.25, 0.5), 5, RISING),  # success follows
        ((1.0, 0.75, 1.0, 0.75, 1.0), 9, RISING),  # nothing left to gain
        (NEVER, 1, (0.5, 0.1, 0.6, 0.2, 0.5)),  # own return does not rise
        (NEVER, 1, (0.5, 0.501, 0.502, 0.503, 0.504)),  # hardly does
    ],
)
def test_without_a_clear_rise_or_with_success_there_is_no_such_alarm(
    successes: tuple[float, ...], solved: int, own: tuple[float, ...]
) -> None:
    assert "return_without_success" not in names(three(successes, solved, near=own))


def test_three_looks_are_too_few_to_speak_of_a_rise() -> None:
    trial = trained([curve((0.0, 0.0, 0.0), near=(0.1, 0.5, 0.9))], [episodes(1, 10)])
    assert names(trial) == []


def test_one_component_that_supplies_nearly_all_is_named_where_success_is_missing() -> None:
    parts = {"near": (0.5,) * 5, "effort": (-0.01,) * 5}
    (alarm,) = find_alarms(three(NEVER, 1, **parts))
    assert alarm.name == "one_component"
    assert "`near` is 98.0% of the reward" in alarm.message
    assert find_alarms(three((0.0, 0.5, 1.0, 1.0, 1.0), 10, **parts)) == ()
    assert find_alarms(three(NEVER, 1, near=(0.5,) * 5, effort=(-0.05,) * 5)) == ()
    assert find_alarms(three(NEVER, 1, near=(0.5,) * 5)) == ()  # there is no other


def mixed(successful: float, unsuccessful: float) -> tuple[Checkpoint, ...]:
    points = curve((0.5, 0.25, 0.5, 0.25, 0.5), near=(0.5,) * 5)
    return tuple(
        replace(
            point,
            return_of_successes=successful + place,
            return_of_failures=unsuccessful + 2 * place,
        )
        for place, point in enumerate(points)
    )


def test_failures_that_earn_more_than_successes_raise_an_alarm() -> None:
    paid = trained([mixed(10.0, 15.0)] * 3, [episodes(3, 10)] * 3)
    (alarm,) = find_alarms(paid)
    assert alarm.name == "paid_for_failure"
    assert "failed episodes earn 19, successful ones 12 (means of the 15 looks" in alarm.message
    honest = trained([mixed(25.0, 15.0)] * 3, [episodes(3, 10)] * 3)
    assert find_alarms(honest) == ()
    few = trained([mixed(10.0, 15.0)[:4]], [episodes(3, 10)])
    assert find_alarms(few) == ()


def test_a_policy_that_is_paid_in_full_and_never_succeeds_raises_an_alarm() -> None:
    flat = curve(NEVER, near=(0.55, 0.1, 0.7, 0.15, 0.65))
    (alarm,) = find_alarms(trained([flat] * 3, [episodes(0, 10)] * 3))
    assert alarm.name == "paid_for_failure"
    assert "earns 0.7 per step, 88% of the way from the least (0) to the most (0.8)" in (
        alarm.message
    )
    wide = tuple(replace(point, extremes={"near": (0.0, 2.0)}) for point in flat)
    assert find_alarms(trained([wide] * 3, [episodes(0, 10)] * 3)) == ()


def test_success_in_training_that_is_not_there_afterwards_raises_an_alarm() -> None:
    (alarm,) = find_alarms(three((0.0, 0.5, 1.0, 1.0, 1.0), 5, near=RISING, effort=RISING))
    assert alarm.name == "success_gap"
    assert "success was 1.00 in the 12 episodes" in alarm.message
    assert "but 0.50 in 30 other episodes" in alarm.message
    assert alarm.numbers["chance"] < 0.01


@pytest.mark.parametrize("solved", [8, 9, 10])
def test_a_gap_that_few_episodes_cannot_tell_from_chance_raises_none(solved: int) -> None:
    one = trained([curve((0.0, 0.5, 1.0, 1.0, 1.0), near=RISING)], [episodes(solved, 10)])
    assert find_alarms(one) == ()


def test_the_gap_is_measured_where_the_policy_was_taken_from() -> None:
    """Own return is highest at the second look, where success was 0.5 as it is afterwards."""
    points = curve((0.5, 0.5, 1.0, 1.0, 1.0), near=(0.1, 0.9, 0.3, 0.2, 0.1))
    assert "success_gap" not in names(trained([points] * 3, [episodes(5, 10)] * 3))


def test_without_a_success_flag_only_the_components_can_raise_an_alarm() -> None:
    nothing = (None,) * 5
    assert names(three(nothing, 0, "return", near=RISING, effort=NEVER)) == ["one_component"]
    assert names(three(nothing, 0, "return", near=RISING, effort=RISING)) == []


def test_what_was_not_trained_raises_none() -> None:
    assert find_alarms(failed((1, 0), Fault(Status.REJECTED, "while_loop", "no."))) == ()


@pytest.mark.slow
def test_a_hack_is_caught_in_a_real_training_and_an_honest_reward_is_not(tmp_path: Path) -> None:
    """A reward for moving and staying away from the goal, beside one for coming to it."""
    settings = population_settings(
        "training.total_timesteps=1200",
        "training.checkpoints=5",
        "experiment.candidates=2",
        "experiment.seeds=2",
    )
    chosen = candidates(AWAY, GOOD)
    evaluations = Training(tmp_path, settings)(chosen)
    hack, honest = (Trial(item, evaluations[item.index]) for item in chosen)
    assert "return_without_success" in names(hack)
    for alarm in find_alarms(hack):
        assert alarm.numbers
    assert find_alarms(honest) == ()
