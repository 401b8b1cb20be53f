"""The command line: put the parts together, run the loop, say what came out."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

import rewardsmith
from rewardsmith import config as configuration
from rewardsmith.console import Console
from rewardsmith.errors import Interrupted, RewardsmithError
from rewardsmith.execution import LocalExecutor
from rewardsmith.llm.auto import choose_provider
from rewardsmith.llm.exchanges import read_exchanges
from rewardsmith.llm.keys import take_environment, without_secrets
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Provider, Reply, Usage
from rewardsmith.notices import kept_off
from rewardsmith.results import RunDirectory
from rewardsmith.settings import LLMSettings, Settings, check_part

PACKAGES = (
    "gymnasium",
    "gymnasium-robotics",
    "jax",
    "mujoco",
    "numpy",
    "openai",
    "stable-baselines3",
    "torch",
)


def main() -> None:
    """Run from the command line; ends the process with the exit code."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # before anything imports mujoco
    folder = str(configuration.config_folder())
    hydra.main(config_path=folder, config_name="config", version_base="1.3")(_job)()


def _job(config: DictConfig) -> None:
    """One run; Hydra calls it once, or once per point of a sweep."""
    console = Console()
    try:
        with kept_off(console.note):
            code = _design(config, console)
    except KeyboardInterrupt:
        console.stopped()
        code = Interrupted.exit_code
    except RewardsmithError as error:
        console.error(str(error))
        code = error.exit_code
    if code:
        raise SystemExit(code)


def _design(config: DictConfig, console: Console) -> int:
    """Design a reward; give the exit code."""
    environment = take_environment(Path.cwd())
    settings, run, why = _settings(config, environment)
    provider = _provider(settings, environment)

    # imported late: what is above must answer a wrong key or a typing error at once
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from rewardsmith.loop import Loop
    from rewardsmith.metrics import Listeners, Metrics
    from rewardsmith.reward.process import RewardProcess
    from rewardsmith.search.author import Author
    from rewardsmith.search.screens import Screens
    from rewardsmith.search.seeded import Seeded, keep_seeds, read_seeds
    from rewardsmith.tasks.baselines import baselines
    from rewardsmith.tasks.task import build_task, play_randomly

    seeds = read_seeds(settings.experiment.seed_rewards, run or _replayed(settings))
    task = build_task(settings.env)
    play = play_randomly(task, settings.experiment.seed)
    with RewardProcess(task.layout, settings.sandbox) as process:
        layers = process.layers
    executor = LocalExecutor(
        settings.training.workers or _cores(), without_secrets({**environment, **os.environ})
    )
    final = settings.model_copy(update={"training": settings.final_training or settings.training})
    backend, final_backend = _backends(executor, settings, final)
    planned = configuration.planned_iterations(run.config_file) if run else None
    strategy = Seeded(_strategy(settings, task, play, planned), seeds)
    resumed, record = run is not None, _record(settings, task, provider, layers)
    run = run or RunDirectory.create(Path(settings.paths.results), settings.env.name)
    console.open_log(run.log_file)
    console.header(settings, task, provider, why, layers, executor.workers, run, resumed)
    if resumed:
        run.note_resumption(_kept_overrides(), record)
    else:
        run.write_config(configuration.to_yaml(settings))
        run.update_record(**record)
    keep_seeds(seeds, run)
    recorded = read_exchanges(run.root)
    session = _session(settings, provider, run, recorded)
    experiment = settings.experiment
    screens = Screens(experiment.screens, task, play, settings.sandbox, run.experience_files)
    console.watch(settings, task)
    with console:
        loop = Loop(
            settings=settings,
            task=task,
            strategy=strategy,
            author=Author(session, task, play, settings.sandbox, experiment.repairs, screens),
            backend=backend(settings, task, run, executor),
            final_backend=final_backend(final, task, run, executor),
            baselines=list(baselines(task).values()),
            run=run,
            session=session,
            listener=Listeners(console, Metrics(run)),
            paid=_paid(recorded),
            by=_author(provider),
        )
        result = loop.search()
    run.update_record(finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"), found=result.best is not None)
    report = _report(run)
    console.result(result, settings, task, run)
    if report is not None:
        console.say(report)
    if result.stopped is not None:
        console.error(str(result.stopped))
        return result.stopped.exit_code
    return 0 if result.best is not None else 1


def _report(run: RunDirectory) -> str | None:
    """Write the report; give what went wrong, in a sentence: a run never fails because of it."""
    from rewardsmith.page.write import write_report

    try:
        write_report(run)
    except Exception as error:
        reason = str(error) or type(error).__name__
        return f"No report was written: {reason} Try again with rewardsmith report {run.root}"
    return None


def _settings(
    config: DictConfig, environment: Mapping[str, str]
) -> tuple[Settings, RunDirectory | None, str]:
    """Check the configuration, with the provider's own file in place.

    Returns:
        The settings, the run to go on with (or None), and why this provider was chosen.
    """
    settings = configuration.checked(config)
    overrides = configuration.task_overrides()
    if settings.experiment.resume:
        run = RunDirectory.open(Path(settings.experiment.resume))
        earlier = run.earlier_overrides()
        settings = configuration.resumed(run.config_file, [*earlier, *_resume_overrides()])
        return settings, run, "as the run began"
    name, why = settings.llm.provider, "as configured"
    if name == "auto":
        name, why = choose_provider(settings.llm, environment)
    chosen = configuration.with_provider(overrides, name)
    if settings.experiment.final is not None:
        chosen = configuration.with_final_training(chosen, overrides, settings.experiment.final)
    return configuration.checked(chosen), None, why


def _backends(executor: LocalExecutor, search: Settings, final: Settings) -> list[Any]:
    """Classes that train: for the search, and for the result.

    Raises:
        ConfigurationError: one of them could not.
    """
    found = []
    for settings in (search, final):
        found.append(configuration.find_class(settings.training.target))
        if settings is search or settings.training != search.training:
            found[-1].check(settings, executor)
    return found


def _session(
    settings: Settings, provider: Provider, run: RunDirectory, recorded: Mapping[str, Reply]
) -> Session:
    """The conversation with the provider, which pays for nothing that is recorded."""
    parameters = {"temperature": settings.llm.temperature, **settings.llm.parameters}
    return Session(provider, run.iteration, settings.llm.concurrency, recorded, parameters)


def _resume_overrides() -> list[str]:
    """What this command line changes of the run that it goes on with."""
    overrides = configuration.task_overrides()
    return [item for item in overrides if not item.startswith("experiment.resume=")]


def _kept_overrides() -> list[str]:
    """The same, for the record: headers and the like may be secrets, and are not kept."""
    return [item for item in _resume_overrides() if not item.startswith("llm.parameters")]


def _provider(settings: Settings, environment: Mapping[str, str]) -> Provider:
    llm: LLMSettings = settings.llm
    if llm.seed is None:
        llm = llm.model_copy(update={"seed": settings.experiment.seed})
    provider: Provider = configuration.find_class(llm.target)(llm, environment)
    return provider


def _strategy(settings: Settings, task: Any, play: Any, planned: int | None) -> Any:
    """Build the search strategy, or several in a chain over the iterations that were planned.

    Raises:
        ConfigurationError: an option of a strategy is not allowed.
    """
    from rewardsmith.search.chain import Chain

    strategies = []
    for name in settings.experiment.strategy:
        chosen = settings.strategies[name]
        kind = configuration.find_class(chosen.target)
        options = check_part(kind.Options, chosen.options, ("strategies", name))
        strategies.append(kind(options, settings, task, play))
    return Chain(strategies, planned or settings.experiment.iterations)


def _replayed(settings: Settings) -> RunDirectory | None:
    """The run that is replayed, if one is."""
    replay = settings.llm.replay if settings.llm.provider == "replay" else None
    return RunDirectory(Path(replay)) if replay else None


def _author(provider: Provider) -> str:
    return f"{provider.name} ({provider.model})"


def _paid(recorded: Mapping[str, Reply]) -> Usage:
    return sum((reply.usage for reply in recorded.values()), Usage())


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _record(settings: Settings, task: Any, provider: Provider, layers: Any) -> dict[str, Any]:
    """What a later reader needs to judge a run, or to repeat it."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "rewardsmith": rewardsmith.__version__,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "environment": {
            "id": settings.env.id,
            "class": task.environment_class,
            "start_state": settings.env.start_state,
        },
        "provider": provider.name,
        "model": provider.model,
        "sandbox_layers": list(layers),
        "sandbox_allow_weaker": settings.sandbox.allow_weaker,
    }
