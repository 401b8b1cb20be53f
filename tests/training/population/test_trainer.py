"""A population on the point task: what it learns, what it says, and who it takes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from stable_baselines3 import SAC
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rewardsmith.errors import WorkerError
from rewardsmith.evaluation import RANKING_SEEDS, Episode, run_episodes
from rewardsmith.tasks.task import Task
from rewardsmith.training.population import trainer, worker
from rewardsmith.training.population.learner import STATISTICS, Learners
from rewardsmith.training.population.physics import Physics, Play
from rewardsmith.training.population.replay import Replay, stored_episodes
from tests.training.conftest import GOOD
from tests.training.population.conftest import (
    BAD,
    BROKEN_LATE,
    make_payload,
    population_settings,
)

pytestmark = pytest.mark.slow


@dataclass
class Trained:
    """What one population came to, what it said meanwhile, and where its files are."""

    folder: Path
    payload: dict[str, Any]
    results: list[dict[str, Any]]
    heard: list[dict[str, Any]]

    def success(self, candidate: int) -> list[float]:
        """Of each training."""
        episodes = self.results[candidate]["episodes"]
        return [float(np.mean(item["successes"])) for item in episodes]

    def reasons(self) -> list[str | None]:
        """Why each candidate failed."""
        faults = [result["fault"] for result in self.results]
        return [None if fault is None else fault["reason"] for fault in faults]


def train(folder: Path, *sources: str, overrides: tuple[str, ...] = (), **changes: Any) -> Trained:
    payload = make_payload(folder, population_settings(*overrides), *sources, **changes)
    heard: list[dict[str, Any]] = []
    return Trained(folder, payload, worker.train(payload, heard.append), heard)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A good reward and a bad one, two trainings each, room for a third."""
    return train(tmp_path_factory.mktemp("trained"), GOOD, BAD)


def test_a_good_reward_teaches_the_task_and_a_bad_one_does_not(trained: Trained) -> None:
    assert trained.reasons() == [None, None]
    assert min(trained.success(0)) >= 0.9
    assert max(trained.success(1)) <= 0.2


def test_the_curve_has_as_many_points_as_were_asked_for(trained: Trained) -> None:
    for result in trained.results:
        for curve in result["curves"]:
            assert [point["timesteps"] for point in curve] == [300, 600, 900]
    first, *_, last = trained.results[0]["curves"][0]
    assert last["success"] > first["success"]
    assert set(last["components"]) == {"progress", "near"}
    per_step = sum(last["components"].values())
    assert per_step * last["episode_length"] == pytest.approx(last["own_return"])


def test_the_curve_says_how_the_learner_is(trained: Trained) -> None:
    for result in trained.results:
        for curve in result["curves"]:
            assert set(curve[-1]["learner"]) == set(STATISTICS)
            assert np.isfinite(list(curve[-1]["learner"].values())).all()


def test_steps_are_counted_once(trained: Trained) -> None:
    for result in trained.results:
        assert (result["timesteps"], result["collected"]) == (900, 450)
        assert result["seconds"] > 0


def test_progress_is_told_as_it_comes(trained: Trained) -> None:
    told = [item for item in trained.heard if "checkpoint" in item]
    for candidate, result in enumerate(trained.results):
        for training, curve in enumerate(result["curves"]):
            own = [
                item["checkpoint"]
                for item in told
                if (item["candidate"], item["training"]) == (candidate, training)
            ]
            assert own == curve
    steps = [item["timesteps"] for item in trained.heard if "checkpoint" not in item]
    assert steps == sorted(steps)
    assert steps[-1] == 900
    json.dumps(trained.heard)
    json.dumps(trained.results)


def test_the_saved_policy_is_the_one_that_was_measured(trained: Trained, point_task: Task) -> None:
    for candidate, reward in enumerate(trained.payload["rewards"]):
        for training, file in enumerate(reward["model_files"]):
            model = SAC.load(file, device="cpu")

            def policy(seen: Any, model: SAC = model) -> Any:
                return model.predict(seen, deterministic=True)[0]

            again, _ = run_episodes(point_task, policy, range(RANKING_SEEDS, RANKING_SEEDS + 20))
            reported = trained.results[candidate]["episodes"][training]
            assert again.successes == reported["successes"]
            assert again.lengths == reported["lengths"]


def test_the_last_policy_is_kept_too(trained: Trained, point_task: Task) -> None:
    seen, _ = point_task.make().reset(seed=0)
    for reward in trained.payload["rewards"]:
        for file in reward["last_model_files"]:
            assert SAC.load(file, device="cpu").predict(seen)[0].shape == (2,)
    assert not [file.name for file in trained.folder.rglob(".*")]


def test_tensorboard_shows_the_curves_and_the_source(trained: Trained) -> None:
    reward = trained.payload["rewards"][0]
    events = EventAccumulator(reward["tensorboard"][1]).Reload()
    tags = set(events.Tags()["scalars"])
    assert {
        "checkpoint/success",
        "checkpoint/own_return",
        "checkpoint/episode_length",
        "reward/progress",
        "reward/near",
        "fitness/success",
        *(f"train/{name}" for name in STATISTICS),
    } <= tags
    drawn = [(event.step, event.value) for event in events.Scalars("checkpoint/own_return")]
    curve = trained.results[0]["curves"][1]
    assert [step for step, _ in drawn] == [point["timesteps"] for point in curve]
    np.testing.assert_allclose(
        [value for _, value in drawn], [point["own_return"] for point in curve], rtol=1e-6
    )
    [fitness] = events.Scalars("fitness/success")
    assert fitness.value == pytest.approx(trained.success(0)[1])
    assert "reward/source" in events.Tags()["tensors"]
    source = events.Tensors("reward/source")[0].tensor_proto.string_val[0].decode()
    assert GOOD.strip() in source


def numbers(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**result, "seconds": None} for result in results]


def test_the_same_again_is_the_same_on_any_number_of_processes(
    trained: Trained, tmp_path: Path
) -> None:
    again = train(tmp_path, GOOD, BAD, processes=1)
    assert numbers(again.results) == numbers(trained.results)
    kept = [Path(item.payload["experience"]).read_bytes() for item in (again, trained)]
    assert kept[0] == kept[1]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Play], list[int]]:
    """Episodes that were collected for learning, and how much there was to learn from each time."""
    plays: list[Play] = []
    sizes: list[int] = []
    collect, sample = Physics.collect, Replay.sample

    def collecting(self: Physics, play: Play) -> Any:
        plays.append(play)
        return collect(self, play)

    def sampling(self: Replay, *arguments: Any) -> Any:
        sizes.append(self.size)
        return sample(self, *arguments)

    monkeypatch.setattr(Physics, "collect", collecting)
    monkeypatch.setattr(Replay, "sample", sampling)
    return plays, sizes


def test_earlier_experience_makes_a_warm_start(
    trained: Trained, tmp_path: Path, spied: tuple[list[Play], list[int]]
) -> None:
    plays, sizes = spied
    earlier = trained.payload["experience"]
    assert sum(map(len, stored_episodes([Path(earlier)], 10_000))) == 900
    slow = ("training.total_timesteps=600", "env.tuned.learning_starts=600")
    warm = train(tmp_path / "warm", GOOD, overrides=slow, stream=[2, 0], earlier=[earlier])
    at_random = 20 * sum(play.actor is None for play in plays)
    assert at_random <= 300  # only the first round, which fills the time of the start
    assert sizes[0] == 900 + at_random
    assert warm.reasons() == [None]
    assert min(warm.success(0)) >= 0.9
    own = stored_episodes([Path(warm.payload["experience"])], 10_000)
    assert sum(map(len, own)) == 600  # what was there before is not kept twice
    plays.clear()
    sizes.clear()
    cold = train(tmp_path / "cold", GOOD, overrides=slow, stream=[2, 0])
    assert sum(play.actor is None for play in plays) == 600 / 20
    assert sizes == []
    assert max(cold.success(0)) < 0.9


def test_a_bonus_for_moving_fades_and_counts_in_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bonuses: list[float] = []
    sample = Replay.sample

    def sampling(self: Replay, *arguments: Any) -> Any:
        bonuses.append(arguments[3])
        return sample(self, *arguments)

    monkeypatch.setattr(Replay, "sample", sampling)
    chosen = ("training.movement_bonus=2", "training.moving_share=0.5")
    done = train(tmp_path, GOOD, overrides=(*chosen, "training.bounded_values=true"))
    assert 0.0 < bonuses[0] < 2.0
    assert bonuses == sorted(bonuses, reverse=True)
    assert bonuses[-1] == 0.0
    assert done.reasons() == [None]
    assert min(done.success(0)) >= 0.9
    last = done.results[0]["curves"][0][-1]
    per_step = sum(last["components"].values())
    assert per_step * last["episode_length"] == pytest.approx(last["own_return"])


def test_experience_can_be_kept_apart(
    tmp_path: Path, spied: tuple[list[Play], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[bool] = []
    sample = Replay.sample

    def sampling(self: Replay, shape: Any, features: Any, among: bool, *rest: Any) -> Any:
        shared.append(among)
        return sample(self, shape, features, among, *rest)

    monkeypatch.setattr(Replay, "sample", sampling)
    alone = train(
        tmp_path,
        GOOD,
        BAD,
        overrides=("training.share_experience=false", "training.total_timesteps=600"),
        earlier=[],
        experience=None,
    )
    assert alone.reasons() == [None, None]
    assert set(shared) == {False}
    assert min(alone.success(0)) >= 0.8
    for result in alone.results:
        assert (result["timesteps"], result["collected"]) == (1_200, 1_200)
        assert result["curves"][0][-1]["timesteps"] == 600
    assert sum(play.noise is not None for play in spied[0]) == 4 * 600 / 20


def test_no_learner_gets_the_steps_of_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: list[int] = []
    add = Replay.add

    def adding(self: Replay, episode: Any, owner: int | None = None, *rest: Any) -> int:
        count = add(self, episode, owner, *rest)
        owners.extend([-1 if owner is None else owner] * count)
        return count

    monkeypatch.setattr(Replay, "add", adding)
    apart = ("training.share_experience=false", "training.total_timesteps=600")
    mixed = train(tmp_path, BROKEN_LATE, GOOD, overrides=apart)
    assert mixed.reasons() == ["not_finite", None]
    assert owners.count(0) < 300
    for learner in (2, 3):
        assert owners.count(learner) == pytest.approx(600, abs=80)  # a round has 300 of all


def test_those_that_train_alone_get_equal_steps_however_long_their_episodes_are(
    tmp_path: Path,
) -> None:
    reward = (
        "def compute_reward(state, action, next_state):\n"
        '    tilt = {} * np.abs(next_state["observation"][:, 1])\n'
        '    return tilt, {{"tilt": tilt}}\n'
    )
    alone = train(
        tmp_path,
        reward.format("1.0 - 10.0"),  # stands up: episodes grow long
        reward.format("10.0"),  # falls: they stay short
        overrides=(
            "env=gym",
            "env.id=InvertedPendulum-v5",
            "env.description=-",
            "env.tuned.learning_starts=200",
            "training.share_experience=false",
            "training.total_timesteps=1200",
            "training.updates_per_step=0.5",
        ),
        earlier=[],
        experience=None,
    )
    assert alone.reasons() == [None, None]
    lengths = [np.mean(result["episodes"][0]["lengths"]) for result in alone.results]
    assert lengths[0] > 2 * lengths[1], "or this would show nothing"
    for result in alone.results:
        assert result["timesteps"] == pytest.approx(2 * 1_200, rel=0.15)


def poison(part: str, learner: int, call: int) -> Callable[..., Any]:
    """An update that spoils one learner's parameters, after it has given its statistics."""
    original = Learners.update
    calls = 0

    def update(self: Learners, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        statistics = original(self, batch)
        if calls == call:
            spoiled = jax.tree.map(
                lambda values: values.at[learner].set(np.nan), getattr(self.state, part)
            )
            self.state = self.state._replace(**{part: spoiled})
        return statistics

    return update


@pytest.mark.parametrize(("part", "call"), [("critic", 5), ("actor", 5), ("actor", 35)])
def test_a_learner_that_diverges_takes_out_its_candidate_only(
    part: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learners, "update", poison(part, learner=3, call=call))
    mixed = train(tmp_path, GOOD, GOOD)
    assert mixed.reasons() == [None, "diverged"]
    assert mixed.results[1]["fault"]["status"] == "diverged"
    assert mixed.results[1]["episodes"] == []
    assert min(mixed.success(0)) >= 0.9
    for episode in stored_episodes([Path(mixed.payload["experience"])], 10_000):
        assert np.isfinite(episode.action).all()
    assert not (tmp_path / "1_b.zip").exists()


def test_a_huge_learning_rate_is_a_divergence_of_all(tmp_path: Path) -> None:
    lost = train(tmp_path, GOOD, BAD, overrides=("training.learning_rate=1e20",))
    assert lost.reasons() == ["diverged", "diverged"]
    assert "NaN or infinite" in lost.results[0]["fault"]["message"]
    assert lost.results[0]["timesteps"] < 900


def test_a_reward_that_breaks_late_is_to_blame(tmp_path: Path) -> None:
    mixed = train(tmp_path, BROKEN_LATE, GOOD)
    assert mixed.reasons() == ["not_finite", None]
    assert mixed.results[0]["fault"]["status"] == "crashed"
    assert min(mixed.success(1)) >= 0.9
    assert not (tmp_path / "0_a.zip").exists()


def test_a_population_of_which_none_is_left_says_so(tmp_path: Path) -> None:
    lost = train(tmp_path, BROKEN_LATE)
    assert lost.reasons() == ["not_finite"]
    assert lost.results[0]["timesteps"] < 900


def test_without_a_success_flag_the_return_is_measured(tmp_path: Path) -> None:
    upright = """
def compute_reward(state, action, next_state):
    upright = next_state["observation"][:, 0]
    return upright, {"upright": upright}
"""
    found = train(
        tmp_path,
        upright,
        overrides=(
            "env=gym",
            "env.id=Pendulum-v1",
            "env.description=-",
            "training.hidden=[32]",
            "training.batch_size=32",
            "env.tuned.learning_starts=200",
            "experiment.evaluation_episodes=3",
        ),
    )
    assert found.reasons() == [None]
    [episodes, _] = found.results[0]["episodes"]
    assert episodes["successes"] == []
    assert len(episodes["returns"]) == 3
    points = found.results[0]["curves"][0]
    assert len(points) == 3
    assert all(point["success"] is None for point in points)


def test_a_dead_process_of_the_physics_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(future: Any) -> Episode:
        raise WorkerError("a process that plays episodes has died")

    monkeypatch.setattr(trainer, "result", dead)
    with pytest.raises(SystemExit, match="plays episodes has died"):  # to be tried once more
        train(tmp_path, GOOD)
