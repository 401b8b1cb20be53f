"""What the screens stop, what they let through, and when they have nothing to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from rewardsmith.experience import StoredEpisode
from rewardsmith.search.screens import Screens, build_store, preference, savings
from rewardsmith.settings import SandboxSettings, ScreenSettings
from rewardsmith.tasks.point import RADIUS
from rewardsmith.tasks.task import RandomPlay, Task, play_randomly
from rewardsmith.training.population.replay import Replay
from rewardsmith.types import Candidate, Evaluation, RewardFunction, Status, Transitions, Trial

ON = ScreenSettings(static=True, behaviour=True, preference="reject")
DISTANCE = 'np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)'


def reward(expression: str, name: str = "value") -> str:
    return (
        "def compute_reward(state, action, next_state):\n"
        f"    d = {DISTANCE}\n"
        f"    {name} = {expression}\n"
        f'    return {name}, {{"{name}": {name}}}\n'
    )


@pytest.fixture(scope="module")
def play(point_task: Task) -> RandomPlay:
    return play_randomly(point_task, 0)


class Examiner:
    """Shows rewards to one set of screens, one after the other."""

    def __init__(
        self, task: Task, play: RandomPlay, sandbox: SandboxSettings, **kwargs: Any
    ) -> None:
        self.screens = Screens(kwargs.pop("settings", ON), task, play, sandbox, **kwargs)
        self.count = 0

    def __call__(self, source: str, iteration: int = 1) -> Candidate:
        candidate = Candidate(iteration, self.count, RewardFunction(source))
        self.count += 1
        return self.screens.examine(candidate)


@pytest.fixture
def examine(point_task: Task, play: RandomPlay, sandbox: SandboxSettings) -> Examiner:
    return Examiner(point_task, play, sandbox)


def test_the_later_of_two_that_differ_in_wording_is_the_duplicate(examine: Examiner) -> None:
    assert examine(reward("-d")).fault is None
    fault = examine(reward("-d", "closeness")).fault
    assert fault is not None
    assert (fault.status, fault.reason) == (Status.DUPLICATE, "static_duplicate")
    assert "candidate 1/0" in fault.message


@pytest.mark.parametrize("twin", ["-np.sqrt(d * d)", "-2.0 * d", "-d - 0.0001 * action[:, 0]"])
def test_what_says_the_same_is_a_duplicate(twin: str, examine: Examiner) -> None:
    examine(reward("-d"))
    fault = examine(reward(twin)).fault
    assert fault is not None
    assert (fault.status, fault.reason) == (Status.DUPLICATE, "behavioural_duplicate")


@pytest.mark.parametrize("other", ["np.exp(-5.0 * d)", "-1000.0 * d", "3.0 - 2.0 * d", "d"])
def test_what_only_has_the_same_ranks_or_shape_is_none(other: str, examine: Examiner) -> None:
    examine(reward("-d"))
    assert examine(reward(other)).fault is None


def test_a_duplicate_of_an_earlier_iteration_counts(examine: Examiner) -> None:
    examine(reward("-d"))
    assert examine(reward("-d"), iteration=2).fault is not None


def test_screens_can_be_turned_off(
    point_task: Task, play: RandomPlay, sandbox: SandboxSettings
) -> None:
    off = ScreenSettings(static=False, behaviour=False, preference="skip")
    examine = Examiner(point_task, play, sandbox, settings=off)
    assert [examine(reward("-d")).fault for _ in range(2)] == [None, None]


# -- preference ---------------------------------------------------------------------------------


def episode(task: Task, success: bool, seed: int, length: int = 10) -> StoredEpisode:
    """Made-up steps: near the goal where they succeed, away from it where they do not."""
    generator = np.random.default_rng(seed)
    records = generator.normal(size=(length + 1, task.layout.state_width)).astype(np.float32)
    goal, achieved = task.columns("desired_goal"), task.columns("achieved_goal")
    records[:, goal] = records[0, goal]
    gap = generator.uniform(0.0, 0.1, (length + 1, 2)) + (0.0 if success else 2.0)
    records[:, achieved] = records[:, goal] + gap
    action = generator.uniform(-1, 1, (length, task.layout.action_width))
    states = records.astype(np.float64)
    return StoredEpisode(
        Transitions(states[:-1], action, states[1:], np.zeros(length, bool)), success
    )


def kept(task: Task, folder: Path, successes: int, failures: int, unknown: int = 0) -> Path:
    """An experience file as a population leaves it behind."""
    box = gymnasium.spaces.Box(-1.0, 1.0, (task.layout.action_width,))
    replay = Replay(task, box, 10_000, candidates=1, learners=1, hindsight=0, seed=0)
    for number in range(successes + failures + unknown):
        success = number < successes
        played = episode(task, success, number, length=5 + number % 7)
        known = played.success if number < successes + failures else None
        replay.add(played.transitions, success=known)
    file = folder / "experience.npz"
    replay.save(file)
    return file


def with_experience(task: Task, sandbox: SandboxSettings, file: Path, mode: str) -> Examiner:
    play = replace(play_randomly(task, 0), episodes=())
    settings = ScreenSettings(static=True, behaviour=True, preference=mode)  # type: ignore[arg-type]
    files = lambda before: [file] if before > 1 else []  # noqa: E731
    return Examiner(task, play, sandbox, settings=settings, experience=files)


def test_a_reward_that_puts_failure_first_is_rejected_with_the_numbers(
    point_task: Task, sandbox: SandboxSettings, tmp_path: Path
) -> None:
    file = kept(point_task, tmp_path, successes=11, failures=12)
    examine = with_experience(point_task, sandbox, file, "reject")
    good, bad = examine(reward("-d"), 2), examine(reward("d"), 2)
    assert good.fault is None
    assert good.preference is not None and good.preference.share == 1.0
    assert bad.fault is not None and bad.preference is not None
    assert (bad.fault.status, bad.fault.reason) == (Status.SCREENED, "prefers_failure")
    assert bad.preference.share == 0.0
    assert (bad.preference.successes, bad.preference.failures) == (11, 12)
    assert "it orders 0% rightly [0%, 0%] (11 successful, 12 failed)" in bad.fault.message


def test_or_only_noted(point_task: Task, sandbox: SandboxSettings, tmp_path: Path) -> None:
    file = kept(point_task, tmp_path, successes=11, failures=12)
    noted = with_experience(point_task, sandbox, file, "note")(reward("d"), 2)
    skipped = with_experience(point_task, sandbox, file, "skip")(reward("d"), 2)
    assert noted.fault is None and noted.preference is not None and noted.preference.high < 0.5
    assert skipped.fault is None and skipped.preference is None


@pytest.mark.parametrize("counts", [(20, 0), (0, 20), (4, 20), (20, 4), (0, 0)])
def test_the_screen_abstains_with_too_few_of_a_kind(
    counts: tuple[int, int], point_task: Task, sandbox: SandboxSettings, tmp_path: Path
) -> None:
    file = kept(point_task, tmp_path, *counts, unknown=20)
    judged = with_experience(point_task, sandbox, file, "reject")(reward("d"), 2)
    assert judged.fault is None
    assert judged.preference is None


def test_only_experience_of_iterations_before_counts(
    point_task: Task, sandbox: SandboxSettings, tmp_path: Path
) -> None:
    examine = with_experience(point_task, sandbox, kept(point_task, tmp_path, 8, 8), "reject")
    assert examine(reward("d"), 1).fault is None


def test_what_breaks_on_stored_transitions_is_not_trained(
    point_task: Task, sandbox: SandboxSettings, tmp_path: Path
) -> None:
    examine = with_experience(point_task, sandbox, kept(point_task, tmp_path, 8, 8), "note")
    fault = examine(reward("-np.sqrt(2.5 - d)"), 2).fault  # the failures are further away
    assert fault is not None
    assert (fault.status, fault.reason) == (Status.PROBE_FAILED, "not_finite")


def test_files_without_flags_are_left_out(point_task: Task, tmp_path: Path) -> None:
    file = kept(point_task, tmp_path, 8, 8)
    with np.load(file) as data:
        older = {key: data[key] for key in data.files if key != "success"}
    np.savez_compressed(file, **older)
    play = replace(play_randomly(point_task, 0), episodes=())
    assert build_store(play, [file], 0).episodes == ()


def test_the_store_is_limited_and_always_the_same(point_task: Task, tmp_path: Path) -> None:
    file = kept(point_task, tmp_path, 130, 40)
    play = replace(play_randomly(point_task, 0), episodes=())
    first, again = build_store(play, [file], 3), build_store(play, [file], 3)
    assert (len(first.successes), len(first.failures)) == (100, 40)
    for one, other in zip(first.episodes, again.episodes, strict=True):
        assert one.transitions.state.tobytes() == other.transitions.state.tobytes()


def test_random_play_knows_how_its_episodes_ended(point_task: Task, play: RandomPlay) -> None:
    assert sum(len(item.transitions) for item in play.episodes) == len(play.transitions)
    ended = [item for item in play.episodes if item.success is not None]
    assert ended
    for item in ended:
        last = item.transitions.next_state[-1]
        gap = last[point_task.columns("achieved_goal")] - last[point_task.columns("desired_goal")]
        assert item.success == (np.linalg.norm(gap) <= RADIUS)


def test_ties_count_half_and_the_interval_holds_the_share() -> None:
    found = preference(np.array([0.1] * 6), np.array([0.1 + 1e-16] * 6))
    assert [found.share, found.low, found.high] == pytest.approx([0.5, 0.5, 0.5])
    generator = np.random.default_rng(0)
    mixed = preference(generator.normal(1.0, 1.0, 30), generator.normal(0.0, 1.0, 50))
    assert 0.5 < mixed.low < mixed.share < mixed.high < 1.0


def test_savings_count_what_was_stopped(examine: Examiner) -> None:
    candidates = [examine(reward(text)) for text in ("-d", "-d", "-2.0 * d", "np.exp(-d)")]
    trials = [
        Trial(item, Evaluation(item.fault.status, fault=item.fault))
        if item.fault
        else Trial(item, Evaluation(Status.OK, timesteps=100))
        for item in candidates
    ]
    assert savings(trials) == {
        "static_duplicate": 1,
        "behavioural_duplicate": 1,
        "prefers_failure": 0,
        "noted": 0,
        "saved": 0.5,
    }
    assert savings([])["saved"] == 0.0
