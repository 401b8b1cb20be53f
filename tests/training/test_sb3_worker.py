"""One training: it learns, it repeats, and it says how it failed."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3 import SAC, HerReplayBuffer

from rewardsmith.errors import StorageError
from rewardsmith.evaluation import RANKING_SEEDS, run_episodes
from rewardsmith.tasks.task import Task
from rewardsmith.training import sb3_worker
from tests.conftest import load_settings
from tests.training.conftest import GOOD, point_settings

RARELY_NAN = """
def compute_reward(state, action, next_state):
    root = np.sqrt(0.995 - action[:, 0])
    return root, {"root": root}
"""
TOO_LARGE_IN_THE_END = """
def compute_reward(state, action, next_state):
    large = 1e7 * (action[:, 0] > 0.995)
    return large, {"large": large}
"""


def silent(data: dict[str, Any]) -> None:
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A training with a good reward, what it said, and its files."""
    folder = tmp_path_factory.mktemp("trained")
    settings = point_settings()
    heard: list[dict[str, Any]] = []
    data = {
        "env": settings.env.model_dump(),
        "training": settings.training.model_dump(by_alias=True),
        "sandbox": settings.sandbox.model_dump(),
        "source": GOOD,
        "seed": 0,
        "run_seed": 0,
        "first_seed": RANKING_SEEDS,
        "episodes": 20,
        "model_file": str(folder / "model.zip"),
        "tensorboard": str(folder / "tensorboard"),
    }
    value = sb3_worker.train(data, heard.append)
    return {**value, "heard": heard, "model": folder / "model.zip", "data": data, "folder": folder}


@pytest.mark.slow
def test_a_good_reward_teaches_the_task(trained: dict[str, Any]) -> None:
    assert trained["fault"] is None
    assert trained["fault"] is None
    assert np.mean(trained["episodes"]["successes"]) >= 0.8
    assert trained["timesteps"] == 700
    assert [point["timesteps"] for point in trained["curve"]][-1] == 700


@pytest.mark.slow
def test_the_curve_shows_the_learning(trained: dict[str, Any]) -> None:
    first, last = trained["curve"][0], trained["curve"][-1]
    assert last["success"] > first["success"]
    assert last["own_return"] > first["own_return"]
    assert set(last["components"]) == {"progress", "near"}
    per_step = sum(last["components"].values())
    assert per_step * last["episode_length"] == pytest.approx(last["own_return"])


@pytest.mark.slow
def test_checkpoints_are_told_as_they_come(trained: dict[str, Any]) -> None:
    told = [item["checkpoint"] for item in trained["heard"] if "checkpoint" in item]
    assert told == trained["curve"]
    steps = [item["timesteps"] for item in trained["heard"]]
    assert steps == sorted(steps)
    json.dumps(trained["heard"])


_OPEN = """
import json, sys
import numpy as np
from stable_baselines3 import SAC
try:
    import rewardsmith
    raise SystemExit("rewardsmith is not hidden")
except ImportError:
    pass
model = SAC.load(sys.argv[1], device="cpu")
rows = json.load(sys.stdin)
for row in rows:
    row = {key: np.array(value) for key, value in row.items()}
    print(json.dumps(model.predict(row, deterministic=True)[0].tolist()))
"""


def observations(task: Task, count: int = 20) -> list[dict[str, list[float]]]:
    env = task.make()
    return [
        {key: value.tolist() for key, value in env.reset(seed=seed)[0].items()}
        for seed in range(count)
    ]


def actions_elsewhere(model: Path, rows: list[Any]) -> np.ndarray:
    """What a model does on raw observations where rewardsmith is not installed."""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", _OPEN, str(model)],
        input=json.dumps(rows),
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return np.array([json.loads(line) for line in ran.stdout.splitlines()])


@pytest.mark.slow
def test_the_model_opens_without_rewardsmith(trained: dict[str, Any], point_task: Task) -> None:
    rows = observations(point_task)
    elsewhere = actions_elsewhere(trained["model"], rows)
    goals = np.array([row["desired_goal"] for row in rows])
    places = np.array([row["achieved_goal"] for row in rows])
    far = np.abs(goals - places) > 0.4
    assert (np.sign(elsewhere) == np.sign(goals - places))[far].mean() > 0.9
    model = SAC.load(trained["model"])
    here = [
        model.predict({key: np.array(value) for key, value in row.items()}, deterministic=True)[0]
        for row in rows
    ]
    np.testing.assert_allclose(elsewhere, here, atol=1e-6)


@pytest.mark.slow
def test_the_saved_policy_is_the_one_that_was_measured(
    trained: dict[str, Any], point_task: Task
) -> None:
    data = {
        "env": trained["data"]["env"],
        "algorithm": "SAC",
        "model_file": str(trained["model"]),
        "first_seed": 1_400_000_000,
        "episodes": 20,
    }
    assert sb3_worker.evaluate(data, silent) == trained["episodes"]
    policy = sb3_worker.policy_of(SAC.load(trained["model"]))
    again, _ = run_episodes(point_task, policy, range(1_400_000_000, 1_400_000_020))
    assert again.successes == trained["episodes"]["successes"]


@pytest.mark.slow
def test_tensorboard_shows_components_fitness_and_the_source(trained: dict[str, Any]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained["folder"] / "tensorboard")).Reload()
    tags = set(events.Tags()["scalars"])
    assert {
        "reward/progress",
        "reward/near",
        "rollout/ep_rew_mean",
        "rollout/success_rate",
        "checkpoint/success",
        "fitness/success",
    } <= tags
    score = np.mean(trained["episodes"]["successes"])
    assert events.Scalars("fitness/success")[-1].value == pytest.approx(score)
    assert events.Scalars("fitness/success")[-1].step == 700
    [text] = [tag for tag in events.Tags()["tensors"] if tag.startswith("reward/source")]
    source = events.Tensors(text)[0].tensor_proto.string_val[0].decode()
    assert GOOD.strip() in source


@pytest.mark.slow
def test_the_same_seed_gives_the_same_training(payload: Any) -> None:
    settings = point_settings(timesteps=240, checkpoints=2)
    one, two, other = (sb3_worker.train(payload(settings, seed=seed), silent) for seed in (3, 3, 4))
    assert one["curve"] == two["curve"]
    assert one["episodes"] == two["episodes"]
    assert one["curve"] != other["curve"]


@pytest.mark.slow
def test_the_curve_has_as_many_points_as_were_asked_for(payload: Any) -> None:
    result = sb3_worker.train(payload(point_settings(timesteps=200, checkpoints=3)), silent)
    assert [point["timesteps"] for point in result["curve"]] == [66, 132, 200]


# -- hindsight goals ------------------------------------------------------------------------------


@pytest.mark.slow
def test_hindsight_rewards_are_the_generated_ones(
    payload: Any, point_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[Any] = []
    original = HerReplayBuffer.sample

    def spy(self: HerReplayBuffer, *arguments: Any, **keywords: Any) -> Any:
        batch = original(self, *arguments, **keywords)
        sampled.append((self, batch))
        return batch

    monkeypatch.setattr(HerReplayBuffer, "sample", spy)
    settings = point_settings("training.replay_buffer=her", timesteps=160, checkpoints=1)
    value = sb3_worker.train(payload(settings), silent)
    assert value["fault"] is None
    assert len(sampled) > 30
    changed = 0
    for buffer, batch in sampled:
        before, after = batch.observations, batch.next_observations
        goal = after["desired_goal"].numpy()
        assert np.array_equal(before["desired_goal"].numpy(), goal)
        distance = [
            np.linalg.norm(part["achieved_goal"].numpy() - goal, axis=1) for part in (before, after)
        ]
        expected = distance[0] - 2 * distance[1]
        rewards = batch.rewards.numpy().ravel()
        np.testing.assert_allclose(rewards, expected, atol=1e-5)
        assert not np.isin(rewards, (0.0, -1.0)).any()
        drawn = {tuple(row) for row in buffer.next_observations["desired_goal"][:, 0].round(6)}
        changed += sum(tuple(row) not in drawn for row in goal.round(6))
    assert changed > 1_000  # most goals are replaced in hindsight


@pytest.mark.slow
def test_a_model_trained_with_hindsight_opens_without_an_environment(
    payload: Any, point_task: Task
) -> None:
    settings = point_settings("training.replay_buffer=her", timesteps=120, checkpoints=1)
    data = payload(settings)
    assert sb3_worker.train(data, silent)["fault"] is None
    assert SAC.load(data["model_file"]).predict(point_task.make().reset()[0])[0].shape == (2,)
    assert actions_elsewhere(Path(data["model_file"]), observations(point_task, 3)).shape == (3, 2)
    played = sb3_worker.evaluate(
        {**data, "algorithm": "SAC", "first_seed": 0, "episodes": 2}, silent
    )
    assert len(played["successes"]) == 2


@pytest.mark.slow
def test_a_small_hindsight_buffer_wraps_around(payload: Any) -> None:
    settings = point_settings(
        "training.replay_buffer=her", "+training.kwargs.buffer_size=60", timesteps=150
    )
    assert sb3_worker.train(payload(settings), silent)["fault"] is None


# -- other algorithms -----------------------------------------------------------------------------

UPRIGHT = """
def compute_reward(state, action, next_state):
    upright = 1.0 - np.abs(next_state["observation"][:, 2])
    return upright, {"upright": upright}
"""


def small(env_id: str, algorithm: str, *overrides: str) -> Any:
    return load_settings(
        "env=gym",
        f"env.id={env_id}",
        "env.description=x",
        "sandbox.allow_weaker=true",
        "experiment.evaluation_episodes=3",
        "training=sb3",
        f"training.algorithm={algorithm}",
        "training.total_timesteps=150",
        "training.checkpoints=2",
        "training.checkpoint_episodes=2",
        *overrides,
    )


@pytest.mark.parametrize(
    ("env_id", "algorithm", "overrides"),
    [
        ("CartPole-v1", "PPO", ["+training.kwargs.n_steps=64"]),
        ("CartPole-v1", "A2C", []),
        ("CartPole-v1", "DQN", ["+training.kwargs.learning_starts=50"]),
        ("Pendulum-v1", "TD3", ["+training.kwargs.policy_kwargs.net_arch=[16]"]),
        ("FrozenLake-v1", "PPO", ["+training.kwargs.n_steps=64"]),
        ("Pendulum-v1", "SAC", ["training.normalize_observations=false"]),
    ],
)
def test_other_algorithms_run(
    payload: Any, env_id: str, algorithm: str, overrides: list[str]
) -> None:
    source = UPRIGHT
    if env_id == "FrozenLake-v1":
        source = source.replace('["observation"][:, 2]', '["observation"] / 15.0')
    value = sb3_worker.train(payload(small(env_id, algorithm, *overrides), source), silent)
    assert value["fault"] is None
    assert value["timesteps"] >= 150
    assert value["episodes"]["successes"] == []
    assert len(value["episodes"]["returns"]) == 3
    assert all(point["success"] is None for point in value["curve"])


# -- failures -------------------------------------------------------------------------------------


def test_a_huge_learning_rate_is_a_divergence(payload: Any) -> None:
    settings = point_settings("training.learning_rate=1e6", timesteps=400)
    value = sb3_worker.train(payload(settings), silent)
    assert value["status"] == "diverged"
    assert value["fault"]["reason"] == "diverged"
    assert "NaN or infinite" in value["fault"]["message"]
    assert value["episodes"] is None
    assert 100 < value["timesteps"] < 400


def test_a_diverging_critic_is_noticed_without_a_sampled_action(payload: Any) -> None:
    settings = small(
        "CartPole-v1",
        "DQN",
        "training.learning_rate=1e30",
        "+training.kwargs.learning_starts=20",
    )
    value = sb3_worker.train(payload(settings, UPRIGHT), silent)
    assert value["status"] == "diverged"


@pytest.mark.parametrize(
    ("source", "reason"), [(RARELY_NAN, "not_finite"), (TOO_LARGE_IN_THE_END, "too_large")]
)
def test_a_reward_that_breaks_late_is_to_blame(payload: Any, source: str, reason: str) -> None:
    value = sb3_worker.train(payload(point_settings(timesteps=400), source, seed=1), silent)
    assert value["status"] == "crashed"
    assert value["fault"]["reason"] == reason
    assert value["timesteps"] > 0
    assert value["episodes"] is None
    assert not Path(payload(point_settings())["model_file"]).exists()


# -- what cannot be built -------------------------------------------------------------------------


def check(*overrides: str) -> None:
    settings = point_settings(*overrides)
    data = {
        "env": settings.env.model_dump(),
        "training": settings.training.model_dump(by_alias=True),
    }
    sb3_worker.check(data, silent)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.algorithm=SCA"], "training.algorithm is 'SCA', .* A2C, .*PPO, SAC"),
        (["training.algorithm=HerReplayBuffer"], "it must be one of"),
        (["+training.kwargs.gama=0.9"], "SAC cannot be built .*'gama'"),
        (["training.algorithm=DQN"], "DQN cannot be built"),
        (["training.policy=OddPolicy"], "OddPolicy"),
        (["training.device=warp"], "warp"),
        (["training.algorithm=PPO", "training.replay_buffer=her"], "PPO cannot be built"),
        (
            ["training.replay_buffer=her", "++training.kwargs.learning_starts=5"],
            "learning_starts is 5, .*her needs a whole episode .*learning_starts=20 or more",
        ),
        (
            ["env=gym", "env.id=Pendulum-v1", "env.description=x", "training.replay_buffer=her"],
            "training.replay_buffer is 'her', but Pendulum-v1 has no goals",
        ),
    ],
)
def test_what_cannot_be_built_is_one_sentence(overrides: list[str], message: str) -> None:
    with pytest.raises(sb3_worker.ConfigurationError, match=message) as caught:
        check(*overrides)
    assert "\n" not in str(caught.value)


def test_what_can_be_built_passes() -> None:
    check()
    check("training.replay_buffer=her")


def test_images_keep_the_extractor_of_their_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picture(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (36, 36, 3), dtype=np.uint8)
        action_space = gymnasium.spaces.Discrete(2)

        def reset(self, **keywords: Any) -> Any:
            super().reset(seed=keywords.get("seed"))
            return self.observation_space.sample(), {}

        def step(self, action: Any) -> Any:
            return self.observation_space.sample(), 0.0, False, False, {}

    if "Picture-v0" not in gymnasium.registry:
        gymnasium.register(id="Picture-v0", entry_point=Picture, max_episode_steps=20)
    monkeypatch.setattr("rewardsmith.tasks.task.RANDOM_PLAY_STEPS", 40)
    settings = small("Picture-v0", "PPO")
    policy = settings.training.model_copy(update={"policy": "CnnPolicy"})
    task = sb3_worker.build_task(settings.env)
    play = sb3_worker.play_randomly(task, 0)
    model = sb3_worker.build_model(task, task.make(), play, policy, seed=0)
    assert type(model.policy.features_extractor).__name__ == "NatureCNN"


@pytest.mark.slow
def test_a_full_disk_is_no_fault_of_a_reward(
    payload: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(watch: Any) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    data = payload(point_settings())
    monkeypatch.setattr(sb3_worker._Watch, "_on_step", full)
    with pytest.raises(
        StorageError, match=r"cannot be written: No space left .* Free some"
    ) as found:
        sb3_worker.train(data, silent)
    assert str(found.value).startswith(data["tensorboard"])
    monkeypatch.undo()
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match="taken"):
        sb3_worker.train({**data, "tensorboard": str(tmp_path / "taken" / "curves")}, silent)
