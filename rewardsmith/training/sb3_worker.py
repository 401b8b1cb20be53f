"""Train and evaluate one policy with Stable-Baselines3, inside a worker process.

The environments, the learner and the evaluation live here; the candidate's reward lives in a reward
process of its own and is only ever asked for numbers.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import torch
from pydantic import BaseModel
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat, configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space

import rewardsmith.training.normalize as normalize
from rewardsmith.errors import ConfigurationError
from rewardsmith.evaluation import CHECKPOINT_SEEDS, checkpoint, held_out_seeds, run_episodes
from rewardsmith.files import storage_error, write_whole, writing
from rewardsmith.reward.failure import RewardFailure
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import EnvSettings, SandboxSettings, StableBaselines3Settings
from rewardsmith.tasks.task import RandomPlay, Task, build_task, play_randomly
from rewardsmith.tasks.wrapper import RewardWrapper
from rewardsmith.types import Checkpoint, Fault, RewardFunction, Status, Transitions

Report = Callable[[dict[str, Any]], None]
PROGRESS_S = 1.0

cloudpickle.register_pickle_by_value(normalize)  # a model opens where rewardsmith is not installed


class TrainingPayload(BaseModel):
    """Arguments of `train`, as plain data."""

    env: EnvSettings
    training: StableBaselines3Settings
    sandbox: SandboxSettings
    source: str
    seed: int
    run_seed: int
    first_seed: int
    episodes: int
    model_file: str
    tensorboard: str


class EvaluationPayload(BaseModel):
    """Arguments of `evaluate`, as plain data."""

    env: EnvSettings
    algorithm: str
    model_file: str
    first_seed: int
    episodes: int


class Diverged(Exception):
    """The learner's numbers are no longer finite."""


def check(data: dict[str, Any], report: Report) -> None:
    """Build the environment and the learner, and throw them away.

    Args:
        data: ``env`` and ``training``.
        report: not used.

    Raises:
        ConfigurationError: the learner cannot be built.
    """
    torch.set_num_threads(1)
    env_settings = EnvSettings.model_validate(data["env"])
    settings = StableBaselines3Settings.model_validate(data["training"])
    task = build_task(env_settings)
    env = Monitor(task.make())
    build_model(task, env, play_randomly(task, 0), settings, seed=0)
    env.close()


def train(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train a policy on a candidate's reward and evaluate it on the task.

    Args:
        data: fields of `TrainingPayload`.
        report: told steps and checkpoints.

    Returns:
        ``status``, ``curve``, ``episodes``, ``fault``, ``seconds``, ``timesteps``.
    """
    torch.set_num_threads(1)
    payload = TrainingPayload.model_validate(data)
    task = build_task(payload.env)
    play = play_randomly(task, payload.run_seed)
    started = time.monotonic()
    with RewardProcess(task.layout, payload.sandbox) as process:
        watch = _Watch(task, process, play, payload, report)
        fault = _fit(task, process, play, payload, watch)
        episodes = None
        if fault is None:
            watch.restore_best()
            seeds = range(payload.first_seed, payload.first_seed + payload.episodes)
            episodes, _ = run_episodes(task, policy_of(watch.model), seeds)
            _save(watch.model, Path(payload.model_file))
            watch.finish(float(np.mean(episodes.successes or episodes.returns)))
    return {
        "status": (fault.status if fault else Status.OK).value,
        "fault": None if fault is None else asdict(fault),
        "curve": [asdict(point) for point in watch.curve],
        "episodes": None if episodes is None else asdict(episodes),
        "seconds": time.monotonic() - started,
        "timesteps": watch.num_timesteps,
    }


def evaluate(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """Evaluate a saved policy.

    Args:
        data: fields of `EvaluationPayload`.
        report: not used.

    Returns:
        The fields of `rewardsmith.types.Episodes`.
    """
    torch.set_num_threads(1)
    payload = EvaluationPayload.model_validate(data)
    task = build_task(payload.env)
    model = find_algorithm(payload.algorithm).load(payload.model_file, device="cpu")
    seeds = range(payload.first_seed, payload.first_seed + payload.episodes)
    episodes, _ = run_episodes(task, policy_of(model), seeds)
    return asdict(episodes)


def _fit(
    task: Task, process: RewardProcess, play: RandomPlay, payload: TrainingPayload, watch: _Watch
) -> Fault | None:
    """Learn; give what went wrong, if anything."""
    try:
        process.load(RewardFunction(payload.source))
        env = Monitor(
            RewardWrapper(task.make(), task.sources, _caller(process), _capacity(payload.training))
        )
        watch.model = build_model(task, env, play, payload.training, payload.seed)
        with writing(Path(payload.tensorboard)):
            watch.model.set_logger(configure(payload.tensorboard, ["tensorboard"]))
        watch.model.learn(payload.training.total_timesteps, callback=watch, log_interval=4)
        env.close()
    except Diverged:
        return _diverged()
    except RewardFailure as failure:
        if watch.has_diverged():
            return _diverged()
        return failure.fault(Status.CRASHED)
    except OSError as error:
        raise storage_error(error, payload.tensorboard) or error from None
    except (ValueError, RuntimeError, FloatingPointError):
        if watch.has_diverged():
            return _diverged()
        raise
    return None


def _diverged() -> Fault:
    message = "The training diverged: the learner's numbers became NaN or infinite."
    return Fault(Status.DIVERGED, "diverged", message)


def _caller(process: RewardProcess) -> Callable[..., Any]:
    def call(state: np.ndarray, action: np.ndarray, next_state: np.ndarray) -> Any:
        rewards = process.evaluate(state, action, next_state)
        return rewards.total, dict(zip(rewards.names, rewards.components, strict=True))

    return call


def _capacity(settings: StableBaselines3Settings) -> int:
    """Transitions kept for relabelling: as many as the replay buffer can hold."""
    if settings.replay_buffer != "her":
        return 0
    return int(settings.arguments.get("buffer_size", settings.total_timesteps + 1_000))


def find_algorithm(name: str) -> type[BaseAlgorithm]:
    """Find an algorithm of stable_baselines3 or, where installed, sb3_contrib.

    Raises:
        ConfigurationError: there is none of that name.
    """
    import stable_baselines3

    places: list[Any] = [stable_baselines3]
    try:
        import sb3_contrib

        places.append(sb3_contrib)
    except ImportError:
        pass
    for place in places:
        found = getattr(place, name, None)
        if isinstance(found, type) and issubclass(found, BaseAlgorithm):
            return found
    known = sorted(
        key
        for place in places
        for key, value in vars(place).items()
        if isinstance(value, type) and issubclass(value, BaseAlgorithm)
    )
    raise ConfigurationError(
        f"training.algorithm is {name!r}, but it must be one of {', '.join(known)}."
    )


def build_model(
    task: Task, env: gymnasium.Env, play: RandomPlay, settings: StableBaselines3Settings, seed: int
) -> BaseAlgorithm:
    """Build the algorithm with the configuration's keyword arguments.

    Raises:
        ConfigurationError: it does not take them, or does not suit the environment.
    """
    kwargs = settings.arguments
    algorithm = find_algorithm(settings.algorithm)
    if settings.normalize_observations and not _has_images(env.observation_space):
        kwargs["policy_kwargs"] = {
            "features_extractor_class": normalize.NormalizedFeatures,
            "features_extractor_kwargs": _statistics(task, env, play),
            **(kwargs.get("policy_kwargs") or {}),
        }
    if settings.replay_buffer == "her":
        from stable_baselines3 import HerReplayBuffer

        if not task.has_goals:
            raise ConfigurationError(
                f"training.replay_buffer is 'her', but {task.settings.id} has no goals to replace."
            )
        kwargs["replay_buffer_class"] = HerReplayBuffer
        kwargs["replay_buffer_kwargs"] = {
            **(kwargs.get("replay_buffer_kwargs") or {}),
            "copy_info_dict": True,  # CRUCIAL: info says which stored transition to relabel
        }
        kwargs.setdefault("buffer_size", _capacity(settings))
    elif "buffer_size" not in kwargs and _takes(algorithm, "buffer_size"):
        kwargs["buffer_size"] = min(1_000_000, settings.total_timesteps + 1_000)
    dictionary = isinstance(env.observation_space, gymnasium.spaces.Dict)
    policy = settings.policy or ("MultiInputPolicy" if dictionary else "MlpPolicy")
    try:
        model = algorithm(policy, env, seed=seed, device=settings.device, **kwargs)
    except (TypeError, ValueError, AssertionError, AttributeError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ConfigurationError(
            f"{settings.algorithm} cannot be built with {settings.arguments} "
            f"for {task.settings.id}: {text}"
        ) from None
    starts = getattr(model, "learning_starts", 0)
    if settings.replay_buffer == "her" and starts < task.horizon:
        raise ConfigurationError(
            f"learning_starts is {starts}, but training.replay_buffer=her needs a whole episode "
            f"first: set +training.kwargs.learning_starts={task.horizon} or more."
        )
    return model


def _takes(algorithm: type[BaseAlgorithm], name: str) -> bool:
    import inspect

    return name in inspect.signature(algorithm).parameters


def _has_images(space: gymnasium.Space) -> bool:
    """Images have an extractor of their own, which scales them itself."""
    parts = space.values() if isinstance(space, gymnasium.spaces.Dict) else [space]
    return any(is_image_space(part) for part in parts)


def _statistics(task: Task, env: gymnasium.Env, play: RandomPlay) -> dict[str, Any]:
    """Mean and deviation of every observation feature in random play, as the policy flattens it."""
    space = env.observation_space
    parts = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {"observation": space}
    mean: list[float] = []
    std: list[float] = []
    for name, part in parts.items():
        if isinstance(part, gymnasium.spaces.Box):
            values = play.transitions.next_state[:, task.columns(name)]
            mean += values.mean(axis=0).tolist()
            std += values.std(axis=0).tolist()
        else:  # one-hot features are left as they are
            width = gymnasium.spaces.flatdim(part)
            mean += [0.0] * width
            std += [1.0] * width
    return {"mean": mean, "std": std, "prior": float(len(play.transitions))}


def policy_of(model: BaseAlgorithm) -> Callable[[Any], Any]:
    """The deterministic policy of a model, on raw observations."""

    def policy(observation: Any) -> Any:
        action = model.predict(observation, deterministic=True)[0]
        return action if action.ndim else action.item()  # some environments look actions up

    return policy


def _save(model: BaseAlgorithm, file: Path) -> None:
    """Write a model whole: under a temporary name, then renamed."""
    memory = io.BytesIO()
    # with a HerReplayBuffer inside, the model would open only together with an environment
    model.save(memory, exclude=["replay_buffer_class", "replay_buffer_kwargs"])
    write_whole(file, memory.getvalue())


class _Watch(BaseCallback):
    """Follows a training: progress, components, checkpoints, divergence, purity."""

    model: BaseAlgorithm

    def __init__(
        self,
        task: Task,
        process: RewardProcess,
        play: RandomPlay,
        payload: TrainingPayload,
        report: Report,
    ) -> None:
        super().__init__()
        self.task = task
        self.process = process
        self.sample = play.probe
        self.payload = payload
        self.report = report
        self.curve: list[Checkpoint] = []
        self._best: tuple[float, dict[str, Any]] | None = None
        self._reference: bytes | None = None
        self._reported = 0.0
        self._every = max(1, payload.training.total_timesteps // payload.training.checkpoints)

    # -- called by Stable-Baselines3 ----------------------------------------------------------

    def _on_training_start(self) -> None:
        text = f"```python\n{self.payload.source}\n```"
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_text("reward/source", text)
        self.check()

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            for name, value in info["reward_components"].items():
                self.logger.record_mean(f"reward/{name}", value)
        if not np.all(np.isfinite(self.locals["actions"])):
            raise Diverged
        looks = len(self.curve)
        last = looks >= self.payload.training.checkpoints - 1  # comes at the end of the training
        if not last and self.num_timesteps >= self._every * (looks + 1):
            self.check()
            self._checkpoint()
        if time.monotonic() - self._reported > PROGRESS_S:
            self._reported = time.monotonic()
            self.report({"timesteps": self.num_timesteps})
        return True

    def _on_training_end(self) -> None:
        """The last look comes after the last update."""
        self.check()
        self._checkpoint()

    # -- looks at the policy --------------------------------------------------------------------

    def has_diverged(self) -> bool:
        """Whether a weight of the policy is not finite."""
        if not hasattr(self, "model"):
            return False
        return not all(torch.isfinite(p).all() for p in self.model.policy.parameters())

    def check(self) -> None:
        """Stop a training whose weights are not finite, or whose reward is not pure."""
        if self.has_diverged():
            raise Diverged
        sample = self.sample
        rewards = self.process.evaluate(sample.state, sample.action, sample.next_state)
        answer = rewards.total.tobytes() + rewards.components.tobytes()
        if self._reference is None:
            self._reference = answer
        elif answer != self._reference:
            raise RewardFailure("impure")

    def _checkpoint(self) -> None:
        """Play a few episodes, and keep the weights if their own return is the best so far."""
        seeds = held_out_seeds(
            CHECKPOINT_SEEDS, self.payload.run_seed, self.payload.training.checkpoint_episodes
        )
        episodes, recorded = run_episodes(self.task, policy_of(self.model), seeds)
        batch = Transitions.concatenate(recorded)
        rewards = self.process.evaluate(batch.state, batch.action, batch.next_state)
        point = checkpoint(self.num_timesteps, episodes, rewards)
        own_return = point.own_return
        self.curve.append(point)
        if self._best is None or own_return >= self._best[0]:
            state = self.model.policy.state_dict()
            self._best = (own_return, {key: value.clone() for key, value in state.items()})
        self.logger.record("checkpoint/own_return", own_return)
        self.logger.record("checkpoint/episode_length", point.episode_length)
        if point.success is not None:
            self.logger.record("checkpoint/success", point.success)
        self.report({"timesteps": self.num_timesteps, "checkpoint": asdict(point)})

    def restore_best(self) -> None:
        """Go back to the weights whose own return was the highest."""
        assert self._best is not None
        self.model.policy.load_state_dict(self._best[1])

    def finish(self, score: float) -> None:
        """Log the fitness and write everything out."""
        name = f"fitness/{self.task.fitness_kind}"
        self.logger.record(name, score)
        self.logger.dump(self.num_timesteps)
        self.logger.close()
