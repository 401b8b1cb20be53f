"""Baselines: what a generated reward is compared with, trained as the winner is.

Only hindsight goals are left out where the environment alone can compute the reward.

A task's YAML names them: a reward function in the project's own contract, or one word for what
only the environment can compute. None of it may reach a language model: neither the sources nor
the fields that carry what the environment says. Those fields exist only in the task of a baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rewardsmith.errors import TaskError
from rewardsmith.settings import EnvSettings, Settings
from rewardsmith.tasks.task import Task

_FIELDS = {"environment": "environment_reward", "success": "environment_success"}
_SOURCE = """\
def compute_reward(state, action, next_state):
    reward = next_state["{field}"]
    return reward, {{"{word}": reward}}
"""


@dataclass(frozen=True)
class Baseline:
    """A reward to compare with, and the task to train it on.

    Attributes:
        name: as the task's YAML has it, e.g. ``sparse`` or ``human``.
        source: of its reward function.
        env: the task; for what only the environment can compute, with a field that carries it.
    """

    name: str
    source: str
    env: EnvSettings

    @property
    def hindsight(self) -> bool:
        """Whether goals may be replaced: only where the reward is a function of the fields."""
        return not self.env.environment_fields

    def settings(self, settings: Settings) -> Settings:
        """A run's settings as they must be to train this baseline.

        Args:
            settings: of the run.
        """
        changes: dict[str, Any] = {"env": self.env}
        if not self.hindsight:
            training = settings.training
            off: dict[str, Any] = {"hindsight": 0, "replay_buffer": None}
            kept = {key: value for key, value in off.items() if hasattr(training, key)}
            changes["training"] = training.model_copy(update=kept)
        return settings.model_copy(update=changes)


def baselines(task: Task) -> dict[str, Baseline]:
    """All baselines of a task, by name.

    Args:
        task: as the search sees it.

    Raises:
        TaskError: one needs what the environment does not report.
    """
    env = task.settings
    for name, text in env.baselines.items():
        if text == "success" and task.success_key is None:
            raise TaskError(
                f"env.baselines.{name} is 'success', but {env.id} reports no success: leave it "
                "out, or say with env.success_when what success is."
            )
    return {name: _baseline(name, text, env) for name, text in env.baselines.items()}


def _baseline(name: str, text: str, env: EnvSettings) -> Baseline:
    if text not in _FIELDS:
        return Baseline(name, text, env)
    field = _FIELDS[text]
    source = _SOURCE.format(field=field, word=text)
    return Baseline(name, source, env.model_copy(update={"environment_fields": (field,)}))
