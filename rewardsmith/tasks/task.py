"""A `Task`: an environment, its named fields, its success signal, and what random play shows."""

from __future__ import annotations

import difflib
import re
import warnings
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from rewardsmith.errors import TaskError
from rewardsmith.experience import StoredEpisode
from rewardsmith.settings import EnvSettings, FieldSettings
from rewardsmith.tasks.docstring import describe_spaces
from rewardsmith.tasks.source import FORMS, Source
from rewardsmith.tasks.success import NOW, SuccessWrapper
from rewardsmith.tasks.wrapper import flat_action, read_record, read_source
from rewardsmith.types import Field, FloatArray, TransitionLayout, Transitions

FETCH_ID = re.compile(
    r"(?:rewardsmith\.tasks\.fetch:)?Fetch(Reach|Push|Slide|PickAndPlace)(Dense)?-v3"
)
ROBOTICS = ("gymnasium_robotics:", "Fetch", "Hand", "PointMaze", "AntMaze", "Adroit", "Franka")
SUCCESS_KEYS = ("is_success", "success")
GOALS = ("achieved_goal", "desired_goal")
RANDOM_PLAY_STEPS = 1_000
RANDOM_PLAY_EPISODES = 20
PROBE_ROWS = 192
HINDSIGHT_ROWS = 64
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Task:
    """Everything that the rest of the program knows about an environment.

    Attributes:
        settings: what it was built from; enough to build it again in another process.
        layout: fields and widths of the transitions.
        sources: name and width of every raw source of a state record.
        action: what an action is, in words.
        horizon: most steps of an episode, 0 if it has no limit.
        success_key: key of ``info`` that says whether the task is solved; None if there is none.
        environment_class: the class that is really used, for the record.
        documentation: observation, action and termination parts of its docstring, without rewards.
    """

    settings: EnvSettings
    layout: TransitionLayout
    sources: tuple[tuple[str, int], ...]
    action: str
    horizon: int
    success_key: str | None
    environment_class: str
    documentation: str

    @property
    def has_goals(self) -> bool:
        """Whether goals can be replaced in hindsight.

        What the environment itself says of a transition is of the goal that it had.
        """
        names = {name for name, _ in self.sources}
        return set(GOALS) <= names and not self.settings.environment_fields

    @property
    def fitness_kind(self) -> str:
        """``success`` or ``return``."""
        return "success" if self.success_key else "return"

    def columns(self, source: str) -> slice:
        """Columns of a raw source in a state record."""
        start = 0
        for name, width in self.sources:
            if name == source:
                return slice(start, start + width)
            start += width
        raise KeyError(source)

    def record(self, env: gymnasium.Env, observation: Any, info: dict[str, Any]) -> FloatArray:
        """State record (W,) of what the environment returned."""
        return read_record(env, observation, info, self.sources)

    def make(self, render_mode: str | None = None) -> gymnasium.Env:
        """Make the environment, with its time limit and the task's own rules of success."""
        return make_environment(self.settings, render_mode)


@dataclass(frozen=True)
class RandomPlay:
    """Transitions of a random policy, recorded once per run.

    Attributes:
        transitions: as played.
        probe: a sample of them, some with goals replaced in hindsight.
        episodes: the same transitions, episode by episode.
    """

    transitions: Transitions
    probe: Transitions
    episodes: tuple[StoredEpisode, ...] = ()


def make_environment(settings: EnvSettings, render_mode: str | None = None) -> gymnasium.Env:
    """Make an environment from its configuration.

    Raises:
        TaskError: there is no such id, or it cannot be built; one sentence.
    """
    env_id, keywords = settings.id, dict(settings.kwargs)
    if FETCH_ID.fullmatch(env_id):
        env_id = f"rewardsmith.tasks.fetch:{env_id.rpartition(':')[2]}"
        keywords["start_state"] = settings.start_state or "documented"
    elif settings.start_state == "as_released":
        raise TaskError(
            f"env.start_state is 'as_released', but only the Fetch v3 ids have it, not {env_id!r}."
        )
    elif env_id.startswith(ROBOTICS):
        import rewardsmith.tasks.fetch  # noqa: F401 - registers the ids, without the notice
    if render_mode is not None:  # not every environment takes the argument
        keywords["render_mode"] = render_mode
    if settings.max_episode_steps is not None:
        keywords["max_episode_steps"] = settings.max_episode_steps
    try:
        with warnings.catch_warnings():  # that v4 is newer than v3: start_state deals with it
            warnings.filterwarnings("ignore", r".*environment Fetch\w+-v3 is out of date")
            return _wrapped(gymnasium.make(env_id, **keywords), settings)
    except TaskError:
        raise
    except gymnasium.error.NameNotFound:
        raise TaskError(_unknown_id(settings.id)) from None
    except Exception as error:
        text = " ".join(str(error).split())
        raise TaskError(
            f"env.id={settings.id!r} cannot be built ({type(error).__name__}: {text[:300]})."
        ) from None


def _wrapped(env: gymnasium.Env, settings: EnvSettings) -> gymnasium.Env:
    if settings.success_when is not None:
        env = SuccessWrapper(env, settings.success_when)
    return _Outspoken(env) if settings.environment_fields else env


class _Outspoken(gymnasium.Wrapper):
    """Puts what the environment says of each step into ``info``, for the baselines alone."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        solved = next((info[key] for key in (NOW, *SUCCESS_KEYS) if key in info), False)
        said = {"environment_reward": float(reward), "environment_success": float(solved)}
        return observation, reward, terminated, truncated, {**info, **said}


def _unknown_id(env_id: str) -> str:
    known = sorted(name for name in gymnasium.registry if "/" not in name)
    close = difflib.get_close_matches(env_id, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "is its package installed?"
    return (
        f"env.id is {env_id!r}, but no such environment is registered: {hint} "
        "(Use module:Name-v0 for one that a module of yours registers.)"
    )


def build_task(settings: EnvSettings) -> Task:
    """Build a task: make its environment once and look at what it delivers.

    Raises:
        TaskError: the environment does not deliver what the fields declare.
    """
    env = make_environment(settings)
    try:
        _check_spaces(env, settings.id)
        observation, info = env.reset(seed=0)
        step = env.step(env.action_space.sample())
        info = {**info, **step[4]}
        success_key = _success_key(info) or _success_key(_play_out(env))
        declared = _declared(settings, observation)
        sources = _sources(env, observation, info, declared)
        layout = TransitionLayout(
            fields=tuple(_fields(declared, sources)),
            state_width=sum(sources.values()),
            action_width=flat_action(env.action_space.sample()).size,
        )
        environment_class = type(env.unwrapped)
        return Task(
            settings=settings,
            layout=layout,
            sources=tuple(sources.items()),
            action=_describe_action(env.action_space),
            horizon=(env.spec.max_episode_steps or 0) if env.spec else 0,
            success_key=success_key,
            environment_class=f"{environment_class.__module__}.{environment_class.__qualname__}",
            documentation="" if settings.fields else describe_spaces(environment_class),
        )
    finally:
        env.close()


def _success_key(info: dict[str, Any]) -> str | None:
    return next((key for key in SUCCESS_KEYS if key in info), None)


def _play_out(env: gymnasium.Env) -> dict[str, Any]:
    """Everything that ``info`` ever holds in one episode; some report success only at its end."""
    env.action_space.seed(0)
    _, seen = env.reset(seed=0)
    for _ in range(RANDOM_PLAY_STEPS):
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        seen = {**seen, **info}
        if terminated or truncated:
            break
    return seen


def _check_spaces(env: gymnasium.Env, env_id: str) -> None:
    spaces = gymnasium.spaces
    simple = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    observation = env.observation_space
    parts = observation.values() if isinstance(observation, spaces.Dict) else [observation]
    for space in [*parts, env.action_space]:
        if not isinstance(space, simple):
            raise TaskError(
                f"env.id={env_id!r} has a {type(space).__name__} space; supported are Box, "
                "Discrete, MultiDiscrete, MultiBinary, and a flat Dict of them for observations."
            )


def _describe_action(space: gymnasium.Space) -> str:
    if isinstance(space, gymnasium.spaces.Box):
        low, high = space.low.ravel(), space.high.ravel()
        if np.ptp(low) == 0 and np.ptp(high) == 0:
            return f"an array of {low.size} numbers from {low[0]:g} to {high[0]:g}"
        ranges = ", ".join(f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True))
        return f"an array of {low.size} numbers ({ranges})"
    if isinstance(space, gymnasium.spaces.Discrete):
        return (
            f"a whole number from {space.start} to {space.start + space.n - 1}, given to the "
            "reward as an array of one number"
        )
    return f"{space}, given to the reward as an array of numbers"


def _default_fields(observation: Any) -> dict[str, FieldSettings]:
    names = list(observation) if isinstance(observation, dict) else ["observation"]
    meanings = {
        "observation": "the whole observation vector, as described below",
        "achieved_goal": "what has been achieved, to be compared with desired_goal",
        "desired_goal": "the goal of this episode",
    }
    return {
        name: FieldSettings(source=name, meaning=meanings.get(name, f"observation part {name!r}"))
        for name in names
        if _FIELD_NAME.fullmatch(name)
    }


def _declared(settings: EnvSettings, observation: Any) -> dict[str, FieldSettings]:
    """The fields of the YAML, or the observation's parts; for a baseline, one more."""
    declared = settings.fields or _default_fields(observation)
    for name, item in declared.items():
        _refuse_rewards(name, item.source)
    own: dict[str, FieldSettings] = {
        name: FieldSettings(source=f"info.{name}", meaning="of the step that led here")
        for name in settings.environment_fields
    }
    return {**declared, **own}


def _refuse_rewards(name: str, source: str) -> None:
    key = source.lower().removeprefix("info.")
    if "reward" in key or "cost" in key or key in (*SUCCESS_KEYS, "success_now"):
        raise TaskError(
            f"env.fields.{name}.source is {source!r}, but a reward of the environment must not "
            "be shown to the language model, nor what it is made of."
        )


def _parse_source(name: str, text: str) -> Source:
    source = Source.parse(text)
    if source is None:
        raise TaskError(f"env.fields.{name}.source is {text!r}, but it must look like {FORMS}.")
    return source


def _sources(
    env: gymnasium.Env,
    observation: Any,
    info: dict[str, Any],
    declared: dict[str, FieldSettings],
) -> dict[str, int]:
    """Width of every raw source, whole observation first (the statistics need it)."""
    whole = list(observation) if isinstance(observation, dict) else ["observation"]
    wanted = whole + [_parse_source(name, item.source).raw for name, item in declared.items()]
    widths: dict[str, int] = {}
    for source in dict.fromkeys(wanted):
        key = source.partition(".")[2]
        try:
            if source.startswith("info.") and key not in info:
                raise KeyError(key)
            value = read_source(env, observation, info, source)
            widths[source] = int(np.asarray(value, dtype=np.float64).size)
        except (KeyError, AttributeError, TypeError, ValueError):
            raise TaskError(
                f"{env.unwrapped.spec.id if env.unwrapped.spec else 'The environment'} does not "
                f"deliver {source!r}, which a field of env.fields reads."
            ) from None
    return widths


def _fields(declared: dict[str, FieldSettings], sources: dict[str, int]) -> list[Field]:
    starts = dict(zip(sources, np.cumsum([0, *sources.values()]).tolist(), strict=False))
    fields = []
    for name, item in declared.items():
        if not _FIELD_NAME.fullmatch(name):
            raise TaskError(
                f"env.fields.{name} is not a field name: use lower-case letters, digits and "
                "underscores, at most 40."
            )
        source = _parse_source(name, item.source)
        base, width = starts[source.raw], sources[source.raw]
        columns = source.columns(width)
        if columns is None:
            raise TaskError(
                f"env.fields.{name}.source is {item.source!r}, but {source.raw} has "
                f"{width} numbers."
            )
        scalar = source.single or (source.start is None and width == 1)
        first, last = base + columns.start, base + columns.stop
        fields.append(Field(name, item.source, first, last, scalar, item.unit, item.meaning))
    return fields


def play_randomly(task: Task, seed: int) -> RandomPlay:
    """Record transitions of a random policy.

    Args:
        task: to play.
        seed: of the environment and of the policy.
    """
    env = task.make()
    try:
        env.action_space.seed(seed)
        steps: list[tuple[FloatArray, FloatArray, FloatArray, bool, int]] = []
        successes: list[bool | None] = []
        for episode in range(RANDOM_PLAY_EPISODES):
            observation, info = env.reset(seed=seed + episode)
            state, done = task.record(env, observation, info), False
            limit = RANDOM_PLAY_STEPS * (episode + 1) // RANDOM_PLAY_EPISODES
            while not done and len(steps) < limit:
                action = env.action_space.sample()
                observation, _, terminated, truncated, info = env.step(action)
                next_state = task.record(env, observation, info)
                steps.append((state, flat_action(action), next_state, terminated, episode))
                state, done = next_state, terminated or truncated
            key = task.success_key if done else None  # of one that is cut off nobody knows
            successes.append(bool(info.get(key, False)) if key else None)
    finally:
        env.close()
    state_rows, actions, next_rows, ends, episodes = zip(*steps, strict=True)
    transitions = Transitions(
        np.array(state_rows), np.array(actions), np.array(next_rows), np.array(ends, dtype=bool)
    )
    numbers = np.array(episodes)
    played = tuple(
        StoredEpisode(transitions[np.flatnonzero(numbers == number)], success)
        for number, success in enumerate(successes)
    )
    return RandomPlay(transitions, _probe_sample(task, transitions, numbers, seed), played)


def _probe_sample(
    task: Task, transitions: Transitions, episodes: np.ndarray, seed: int
) -> Transitions:
    """A sample of real transitions; where there are goals, some with goals met in hindsight."""
    generator = np.random.default_rng(seed)
    count = len(transitions)
    rows = np.sort(generator.choice(count, size=min(PROBE_ROWS, count), replace=False))
    if not task.has_goals:
        return transitions[rows]
    goals = task.columns("desired_goal")
    late = np.sort(generator.choice(count, size=min(HINDSIGHT_ROWS, count), replace=False))
    hindsight = transitions[late]
    # the goal is where the episode's last recorded step arrived
    ends = np.searchsorted(episodes, episodes[late], side="right") - 1
    achieved = transitions.next_state[ends][:, task.columns("achieved_goal")]
    hindsight.state[:, goals] = achieved
    hindsight.next_state[:, goals] = achieved
    return Transitions.concatenate([transitions[rows], hindsight])
