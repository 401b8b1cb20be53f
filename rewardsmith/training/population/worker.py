"""The jobs of the population backend, inside a worker process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rewardsmith.errors import WorkerError
from rewardsmith.reward.room import make_room
from rewardsmith.settings import EnvSettings, PopulationSettings, SandboxSettings
from rewardsmith.tasks.task import build_task
from rewardsmith.training.population.physics import Physics, prepare
from rewardsmith.training.population.relabel import Relabeler

Report = Callable[[dict[str, Any]], None]


def check(data: dict[str, Any], report: Report) -> None:
    """Find the device, and room for the reward processes.

    Args:
        data: ``training``, and the number of ``candidates``.
        report: not used.

    Raises:
        ConfigurationError: there is no such device, or no such room.
    """
    make_room(data["candidates"])
    from rewardsmith.training.population.learner import choose_device

    choose_device(PopulationSettings.model_validate(data["training"]).device)


def train(data: dict[str, Any], report: Report) -> list[dict[str, Any]]:
    """Train all candidates on all seeds and measure them.

    Args:
        data: fields of `rewardsmith.training.population.trainer.Payload`.
        report: told ``timesteps`` of all, and ``candidate``, ``training`` and ``checkpoint``.

    Returns:
        For each candidate: ``fault``, ``curves`` and ``episodes`` (one entry per training),
        ``seconds``, ``timesteps``, ``collected``.
    """
    training = PopulationSettings.model_validate(data["training"])
    env = EnvSettings.model_validate(data["env"])
    sandbox = SandboxSettings.model_validate(data["sandbox"])
    sources = [reward["source"] for reward in data["rewards"]]
    make_room(len(sources))
    prepare()
    task = build_task(env)
    physics = Physics(task, training.hidden, data["processes"])
    try:
        with Relabeler(task.layout, sandbox, sources) as relabeler:
            # imported late: JAX takes its time, and the other processes start meanwhile
            from rewardsmith.training.population.trainer import Payload, Trainer

            payload = Payload.model_validate(data)
            return Trainer(payload, task, physics, relabeler, report).run()
    except WorkerError as error:  # one of its own processes has died: so does this one
        sys.exit(str(error))
    finally:
        physics.close()
