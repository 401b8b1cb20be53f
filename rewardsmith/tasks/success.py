"""Success by rules, for environments that do not report it themselves; trusted code only.

A task's YAML may say ``success_when``: one or more bounds on numbers of the simulation. The
wrapper judges them at every step and puts the verdict where all else looks for it, into ``info``.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from rewardsmith.errors import TaskError
from rewardsmith.settings import SuccessRule
from rewardsmith.tasks.source import FORMS, Source
from rewardsmith.tasks.wrapper import read_source

SUCCESS = "is_success"
NOW = "success_now"
"""Key of ``info``: whether all bounds hold at this very step, whatever the rules say of time."""


class SuccessWrapper(gymnasium.Wrapper):
    """Says in ``info["is_success"]`` whether a task's rules hold, as of the steps so far.

    Examples:
        >>> from rewardsmith.settings import SuccessRule
        >>> rule = SuccessRule(source="observation[0]", at="always", above=-1.0, below=1.0)
        >>> env = SuccessWrapper(gymnasium.make("CartPole-v1"), (rule,))
        >>> _ = env.reset(seed=0)
        >>> env.step(0)[4]["is_success"]
        True
    """

    def __init__(self, env: gymnasium.Env, rules: tuple[SuccessRule, ...]) -> None:
        """Wrap an environment.

        Args:
            env: to wrap.
            rules: all must hold.

        Raises:
            TaskError: a source is not written like one.
        """
        super().__init__(env)
        self._rules = [_Judge(f"env.success_when.{at}", rule) for at, rule in enumerate(rules)]

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; nothing is judged yet."""
        for rule in self._rules:
            rule.forget()
        return self.env.reset(**kwargs)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and judge.

        Raises:
            TaskError: the environment does not deliver what a rule reads.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        holds = [rule.judge(self.env, observation, info) for rule in self._rules]
        verdict = all(rule.verdict for rule in self._rules)
        info = {**info, SUCCESS: verdict, NOW: all(holds)}
        return observation, reward, terminated, truncated, info


class _Judge:
    """One rule and what it has seen since the reset."""

    def __init__(self, key: str, rule: SuccessRule) -> None:
        self.key, self.rule = key, rule
        self.source = self._parse("source", rule.source)
        self.minus = None if rule.minus is None else self._parse("minus", rule.minus)
        self.forget()

    def _parse(self, name: str, text: str) -> Source:
        source = Source.parse(text)
        if source is None:
            raise TaskError(f"{self.key}.{name} is {text!r}, but it must look like {FORMS}.")
        return source

    def forget(self) -> None:
        """Begin an episode."""
        self.verdict = self.rule.at == "always"

    def judge(self, env: gymnasium.Env, observation: Any, info: dict[str, Any]) -> bool:
        """Whether the bounds hold now."""
        value = self._read(env, observation, info, self.source)
        if self.minus is not None:
            other = self._read(env, observation, info, self.minus)
            if other.shape != value.shape:
                raise TaskError(
                    f"{self.key} subtracts {other.size} numbers ({self.rule.minus}) from "
                    f"{value.size} ({self.rule.source}); both must have as many."
                )
            value = value - other
        number = float(value[0] if value.size == 1 else np.linalg.norm(value))
        low, high = self.rule.above, self.rule.below
        holds = (low is None or number >= low) and (high is None or number <= high)
        self._remember(holds)
        return holds

    def _remember(self, holds: bool) -> None:
        if self.rule.at == "end":
            self.verdict = holds
        elif self.rule.at == "always":
            self.verdict = self.verdict and holds
        else:
            self.verdict = self.verdict or holds

    def _read(
        self, env: gymnasium.Env, observation: Any, info: dict[str, Any], source: Source
    ) -> np.ndarray:
        kind, _, key = source.raw.partition(".")
        try:
            if kind == "info" and key not in info:
                raise KeyError(key)
            value = read_source(env, observation, info, source.raw)
            numbers = np.asarray(value, dtype=np.float64).ravel()
        except (KeyError, AttributeError, TypeError, ValueError):
            raise TaskError(
                f"{self.key} reads {source.raw!r}, which the environment does not deliver."
            ) from None
        columns = source.columns(numbers.size)
        if columns is None:
            raise TaskError(
                f"{self.key} reads beyond {source.raw}, which has {numbers.size} numbers."
            )
        return numbers[columns]
