"""Play episodes before a camera or in a window, inside a worker process.

The policy and the environments live here; the candidate's reward is asked in a reward process of
its own, once the episodes are over. A graphics library that crashes takes only this process down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from pydantic import BaseModel

from rewardsmith.errors import RenderingError, ResultsError
from rewardsmith.evaluation import Episode, Policy, play_episode
from rewardsmith.files import write_whole
from rewardsmith.reward.process import RewardProcess
from rewardsmith.settings import EnvSettings, SandboxSettings, VideoSettings
from rewardsmith.tasks.task import GOALS, Task, build_task
from rewardsmith.types import FloatArray, RewardFunction, Rewards, Transitions
from rewardsmith.video.camera import follow
from rewardsmith.video.encode import gif, has_ffmpeg, mp4
from rewardsmith.video.panel import Moment, Panel

Report = Callable[[dict[str, Any]], None]
UNLIMITED_STEPS = 1_000
"""Where an episode is cut off in an environment that has no time limit."""
USUAL_FPS = 25.0
FASTEST_FPS = 50.0
HOLD_S = 0.8
"""How long the end of an episode stays on the screen."""
GIF_SHARE = 2 / 3
"""Width of the GIF, of the video's."""
FEWEST_FRAMES = 60


class PlayPayload(BaseModel):
    """Arguments of `show` and, with those of `RecordPayload`, of `record`.

    Attributes:
        env: the task.
        sandbox: of the reward process.
        source: of the candidate's reward.
        model_file: of the policy.
        algorithm: class that loads the model; None reads weights alone, which executes nothing.
        first_seed: of the first episode's reset.
        episodes: how many.
    """

    env: EnvSettings
    sandbox: SandboxSettings
    source: str
    model_file: str
    algorithm: str | None
    first_seed: int
    episodes: int


class RecordPayload(PlayPayload):
    """Arguments of `record`.

    Attributes:
        video: size, frames and so on.
        label: of the candidate.
        mp4_file: where to; None for none.
        gif_file: where to.
        always_gif: False makes a GIF only where there is no MP4.
        curves: folder for TensorBoard that gets the GIF; None for none.
    """

    video: VideoSettings
    label: str
    mp4_file: str | None
    gif_file: str
    always_gif: bool
    curves: str | None


@dataclass
class _Frame:
    step: int
    solved: bool | None
    picture: np.ndarray


class _Camera(gymnasium.Wrapper):
    """Keeps every so many frames of an episode, and its first and last one."""

    def __init__(self, env: gymnasium.Env, task: Task, every: int) -> None:
        super().__init__(env)
        self._key = task.success_key
        self._every = every
        self._step = 0
        self.frames: list[_Frame] = []

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(**kwargs)
        self._step, self.frames = 0, []
        self._shoot(info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        if self._step % self._every == 0 or terminated or truncated:
            self._shoot(info)
        return observation, reward, terminated, truncated, info

    def _shoot(self, info: dict[str, Any]) -> None:
        solved = bool(info.get(self._key, False)) if self._key else None
        self.frames.append(_Frame(self._step, solved, take_picture(self.env)))


@dataclass
class _Take:
    """One filmed episode."""

    episode: Episode
    frames: list[_Frame]
    rewards: Rewards | None = field(default=None)


@dataclass(frozen=True)
class _Pace:
    """How it is filmed.

    Attributes:
        episodes: how many.
        every: how many steps from one picture to the next.
        fps: pictures per second.
    """

    episodes: int
    every: int
    fps: float


def take_picture(env: gymnasium.Env) -> np.ndarray:
    """What the environment shows, (H, W, 3) of bytes.

    Raises:
        RenderingError: it shows something else.
    """
    picture = np.asarray(env.render())
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise RenderingError(
            f"The environment renders {picture.dtype} of shape {picture.shape}, "
            "where bytes of shape (height, width, 3) were expected."
        )
    return picture


def record(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """Film episodes and write them as MP4 and GIF.

    Args:
        data: fields of `RecordPayload`.
        report: told ``rendered`` once there was a picture.

    Returns:
        ``mp4`` and ``gif`` (paths or None), ``caption``, and of each of the ``episodes`` its
        ``seed``, ``success``, ``own_return`` and ``length``; or ``refused``, a sentence.
    """
    payload = RecordPayload.model_validate(data)
    task = build_task(payload.env)
    try:
        takes, pace = _film(payload, task, report)
    except (RenderingError, ResultsError) as error:
        return {"refused": str(error)}
    with RewardProcess(task.layout, payload.sandbox) as process:
        process.load(RewardFunction(payload.source))
        for take in takes:
            take.rewards = _rewards(process, take.episode.transitions)
    return _write(payload, task, takes, pace)


def probe(data: dict[str, Any], report: Report) -> bool:
    """Whether the environment is drawn by MuJoCo, and so needs OpenGL.

    Args:
        data: ``env``.
        report: not used.
    """
    build_task(EnvSettings.model_validate(data["env"]))
    return "mujoco" in sys.modules


def show(data: dict[str, Any], report: Report) -> dict[str, Any]:
    """Play episodes in a window.

    Args:
        data: fields of `PlayPayload`.
        report: told each episode's ``success``, ``own_return`` and ``length`` as it ends.

    Returns:
        Nothing, or ``refused``, a sentence.
    """
    payload = PlayPayload.model_validate(data)
    task = build_task(payload.env)
    try:
        env = _open(task, "human")
        policy = _policy(payload, env)
    except (RenderingError, ResultsError) as error:
        return {"refused": str(error)}
    try:
        with RewardProcess(task.layout, payload.sandbox) as process:
            process.load(RewardFunction(payload.source))
            for seed in range(payload.first_seed, payload.first_seed + payload.episodes):
                episode = play_episode(task, env, policy, seed)
                rewards = _rewards(process, episode.transitions)
                report(_summary(episode, rewards))
    finally:
        env.close()
    return {}


def _open(task: Task, mode: str) -> gymnasium.Env:
    plain = task.make()
    modes = plain.metadata.get("render_modes") or []
    plain.close()
    if mode not in modes:
        what = "opens no window; use --record" if mode == "human" else "renders no pictures"
        raise RenderingError(f"{task.settings.id} {what} (its render_modes are {list(modes)}).")
    env = task.make(mode)
    follow(env)
    return env if task.horizon else gymnasium.wrappers.TimeLimit(env, UNLIMITED_STEPS)


def _policy(payload: PlayPayload, env: gymnasium.Env) -> Policy:
    file = Path(payload.model_file)
    if payload.algorithm is None:
        from rewardsmith.training.population.weights import read_policy

        assert isinstance(env.action_space, gymnasium.spaces.Box)
        return read_policy(file, env.observation_space, env.action_space)
    from rewardsmith.training.sb3_worker import find_algorithm, policy_of

    return policy_of(find_algorithm(payload.algorithm).load(file, device="cpu"))


def _film(payload: RecordPayload, task: Task, report: Report) -> tuple[list[_Take], _Pace]:
    env = _open(task, "rgb_array")
    try:
        env.reset(seed=payload.first_seed)
        take_picture(env)
        report({"rendered": True})
        policy = _policy(payload, env)
        pace = _pace(task, env, payload)
        camera = _Camera(env, task, pace.every)
        takes = []
        for seed in range(payload.first_seed, payload.first_seed + pace.episodes):
            episode = play_episode(task, camera, policy, seed)
            takes.append(_Take(episode, camera.frames))
        return takes, pace
    finally:
        env.close()  # or EGL complains when the process ends


def _pace(task: Task, env: gymnasium.Env, payload: RecordPayload) -> _Pace:
    """Long episodes are shown faster, and fewer of them; so are those that are slow to render."""
    began = time.monotonic()
    take_picture(env)
    seconds = time.monotonic() - began
    video = payload.video
    frames = min(video.frames, max(FEWEST_FRAMES, int(video.render_seconds / max(seconds, 1e-6))))
    steps = task.horizon or UNLIMITED_STEPS
    episodes = min(payload.episodes, max(1, frames // steps))
    fps = video.fps or min(float(env.metadata.get("render_fps") or USUAL_FPS), FASTEST_FPS)
    return _Pace(episodes, max(1, -(-episodes * steps // frames)), fps)


def _rewards(process: RewardProcess, played: Transitions) -> Rewards:
    return process.evaluate(played.state, played.action, played.next_state)


def _summary(episode: Episode, rewards: Rewards | None) -> dict[str, Any]:
    assert rewards is not None
    return {
        "seed": episode.seed,
        "success": episode.success,
        "own_return": float(rewards.total.sum()),
        "length": len(episode.transitions),
    }


def _write(
    payload: RecordPayload, task: Task, takes: Sequence[_Take], pace: _Pace
) -> dict[str, Any]:
    told = [_summary(take.episode, take.rewards) for take in takes]
    caption = _caption(payload, task, told)
    film = mp4_file = gif_file = None
    if payload.mp4_file is not None and has_ffmpeg():
        mp4_file, size = payload.mp4_file, payload.video.size
        film = mp4(_pictures(payload, task, takes, pace, size), pace.fps, caption)
        write_whole(Path(mp4_file), film)
    if film is None or payload.always_gif:
        size = 2 * round(payload.video.size * GIF_SHARE / 2)
        animation = gif(_pictures(payload, task, takes, pace, size), pace.fps, caption)
        gif_file = payload.gif_file
        write_whole(Path(gif_file), animation)
        if payload.curves is not None:
            from rewardsmith.video.board import write_gif

            write_gif(payload.curves, animation)
    return {"mp4": mp4_file, "gif": gif_file, "caption": caption, "episodes": told}


def _caption(payload: RecordPayload, task: Task, told: Sequence[dict[str, Any]]) -> str:
    """What the file says of itself: nothing in it was picked."""
    many = f"{len(told)} episode{'' if len(told) == 1 else 's'}"
    solved = ""
    if task.success_key:
        solved = f", {sum(bool(item['success']) for item in told)} of them successful"
    return (
        f"rewardsmith: candidate {payload.label} on {task.settings.short_id}, {many}{solved}; "
        f"on seeds of their own from {payload.first_seed}, not selected"
    )


def _pictures(
    payload: RecordPayload,
    task: Task,
    takes: Sequence[_Take],
    pace: _Pace,
    width: int,
) -> list[np.ndarray]:
    """All frames of all episodes with their panels; the last of each stays for a moment."""
    rewards = [take.rewards for take in takes if take.rewards is not None]
    panel = Panel(
        width=width,
        names=rewards[0].names,
        limit=max(float(np.abs(item.components).max(initial=0.0)) for item in rewards) or 1.0,
        title=f"{payload.label} on {task.settings.short_id}",
        episodes=len(takes),
        steps=task.horizon,
        unit=_goal_unit(task),
        speed=pace.every,
    )
    pictures: list[np.ndarray] = []
    for number, take in enumerate(takes, 1):
        distances = _distances(task, take.episode.transitions)
        for frame in take.frames:
            pictures.append(panel.draw(frame.picture, _moment(number, take, frame, distances)))
        pictures += [pictures[-1]] * round(HOLD_S * pace.fps)
    return pictures


def _moment(number: int, take: _Take, frame: _Frame, distances: FloatArray | None) -> Moment:
    assert take.rewards is not None
    step, rewards = frame.step, take.rewards
    return Moment(
        episode=number,
        step=step,
        solved=frame.solved,
        distance=None if distances is None else float(distances[step]),
        own_return=float(rewards.total[:step].sum()),
        components=tuple(rewards.components[:, step - 1].tolist()) if step else (),
    )


def _distances(task: Task, played: Transitions) -> FloatArray | None:
    """(steps + 1,) from achieved to desired goal; None without goals."""
    names = {name for name, _ in task.sources}
    if not set(GOALS) <= names:
        return None
    states = np.concatenate([played.state[:1], played.next_state])
    achieved, desired = (states[:, task.columns(name)] for name in GOALS)
    if achieved.shape != desired.shape:
        return None
    distances: FloatArray = np.linalg.norm(achieved - desired, axis=1)
    return distances


def _goal_unit(task: Task) -> str:
    units = {item.name: item.unit for item in task.layout.fields if item.source in GOALS}
    return units.get("desired_goal", "")
