"""Put the parts of a run together, run the loop, film and report what came out."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rewardsmith
from rewardsmith import config as configuration
from rewardsmith.console import Console
from rewardsmith.errors import StorageError
from rewardsmith.execution import Executor, cores
from rewardsmith.installed import versions
from rewardsmith.llm.exchanges import read_exchanges
from rewardsmith.llm.keys import without_secrets
from rewardsmith.llm.ledger import Ledger
from rewardsmith.llm.session import Session
from rewardsmith.llm.types import Provider, Reply, Usage
from rewardsmith.results import RunDirectory
from rewardsmith.settings import LLMSettings, Settings, check_part
from rewardsmith.summary import Result


@dataclass(frozen=True)
class Beginning:
    """How a run begins, or goes on.

    Attributes:
        settings: of the run, with the provider's own.
        environment: variables, with the keys.
        why: this provider was chosen.
        run: to go on with; None makes a new one.
        planned: iterations that the run began with, None if that is `experiment.iterations`.
        changes: what is new in the settings of a run that goes on, for its record.
    """

    settings: Settings
    environment: Mapping[str, str]
    why: str
    run: RunDirectory | None = None
    planned: int | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Parts:
    """What can be built, and so be found wanting, before anything is written or spent."""

    beginning: Beginning
    provider: Provider
    seeds: Any
    task: Any
    play: Any
    layers: tuple[str, ...]
    executor: Executor
    environment: Mapping[str, str]
    final: Settings
    backends: Sequence[Any]
    strategy: Any

    @property
    def settings(self) -> Settings:
        return self.beginning.settings


def carry_out(beginning: Beginning, console: Console) -> int:
    """Make a run, or go on with one.

    Args:
        beginning: how.
        console: told what happens; its `run` is the run's folder as soon as there is one.

    Returns:
        The exit code.

    Raises:
        RewardsmithError: it cannot begin, in one sentence; nothing is written then.
    """
    if beginning.run is not None:
        with beginning.run.held():
            return _carry_out(_build(beginning), beginning.run, console)
    parts = _build(beginning)
    run = RunDirectory.create(Path(parts.settings.paths.results), parts.settings.env.name)
    with run.held():
        return _carry_out(parts, run, console)


def _carry_out(parts: _Parts, run: RunDirectory, console: Console) -> int:
    _open(parts, run, console)
    result, video = _search(parts, run, console)
    report = _report(run)
    console.result(result, parts.settings, parts.task, run, video)
    if report is not None:
        console.say(report)
    if result.stopped is not None:
        console.error(str(result.stopped))
        return result.stopped.exit_code
    return 0 if result.best is not None else 1


def _build(beginning: Beginning) -> _Parts:
    settings, environment = beginning.settings, beginning.environment
    provider = _provider(settings, environment)

    # imported late: what is above must answer a wrong key or a typing error at once
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from rewardsmith.reward.process import RewardProcess
    from rewardsmith.search.seeded import Seeded, read_seeds
    from rewardsmith.tasks.task import build_task, play_randomly
    from rewardsmith.tracking.base import check_tracking

    check_tracking(settings.tracking, environment)
    seeds = read_seeds(settings.experiment.seed_rewards, beginning.run or _replayed(settings))
    task = build_task(settings.env)
    play = play_randomly(task, settings.experiment.seed)
    with RewardProcess(task.layout, settings.sandbox) as process:
        layers = process.layers
    harmless = without_secrets({**environment, **os.environ})
    executor = configuration.find_class(settings.executor.target).connect(settings, harmless)
    final = settings.model_copy(update={"training": settings.final_training or settings.training})
    backends = _backends(executor, settings, final)
    strategy = Seeded(_strategy(settings, task, play, beginning.planned), seeds)
    return _Parts(
        beginning,
        provider,
        seeds,
        task,
        play,
        layers,
        executor,
        harmless,
        final,
        backends,
        strategy,
    )


def _open(parts: _Parts, run: RunDirectory, console: Console) -> None:
    """Write down what begins, and say so."""
    from rewardsmith.search.seeded import keep_seeds

    settings, provider, resumed = parts.settings, parts.provider, parts.beginning.run is not None
    record = _record(settings, parts.task, provider, parts.layers)
    console.open_log(run.log_file)
    console.header(
        settings,
        parts.task,
        provider,
        parts.beginning.why,
        parts.layers,
        parts.executor,
        run,
        resumed,
    )
    if resumed:
        run.note_resumption(list(parts.beginning.changes), record)
    else:
        run.write_config(configuration.to_yaml(settings))
        run.update_record(**record)
    keep_seeds(parts.seeds, run)


def _search(parts: _Parts, run: RunDirectory, console: Console) -> tuple[Result, str]:
    """Search, and film the winner; what is said of the video comes second."""
    from rewardsmith.loop import Loop
    from rewardsmith.metrics import Listeners, Metrics
    from rewardsmith.search.author import Author
    from rewardsmith.search.screens import Screens
    from rewardsmith.tasks.baselines import baselines
    from rewardsmith.tracking.base import trackers

    settings, task, play, executor = parts.settings, parts.task, parts.play, parts.executor
    recorded = read_exchanges(run.root)
    session = _session(settings, parts.provider, run, recorded)
    experiment = settings.experiment
    workers = settings.training.workers or cores()  # rewards are tried here, not on a cluster
    screens = Screens(
        experiment.screens, task, play, settings.sandbox, run.experience_files, workers
    )
    author = Author(session, task, play, settings.sandbox, experiment.repairs, screens, workers)
    backend, final_backend = parts.backends
    console.watch(settings, task)
    with trackers(settings, run, parts.beginning.environment, console.say) as others:
        loop = Loop(
            settings=settings,
            task=task,
            strategy=parts.strategy,
            author=author,
            backend=backend(settings, task, run, executor),
            final_backend=final_backend(parts.final, task, run, executor),
            baselines=list(baselines(task).values()),
            run=run,
            session=session,
            listener=Listeners(console, Metrics(run), *others),
            paid=_paid(recorded),
            by=_author(parts.provider),
        )
        with console:
            result = loop.search()
        ended = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        run.update_record(finished=ended, found=result.best is not None)
        with console.busy("filming the winner"):
            return result, _film(settings, run, result.best, parts.environment)


def _film(settings: Settings, run: RunDirectory, best: Any, environment: Mapping[str, str]) -> str:
    """Film the winner; say where the video is, or why there is none. Empty if none is wanted."""
    if best is None or not settings.video.episodes:
        return ""
    from rewardsmith.video.winner import film_winner

    return film_winner(settings, run, best.candidate, environment)


def _report(run: RunDirectory) -> str | None:
    """Write the report; give what went wrong, in a sentence: a run never fails because of it.

    Raises:
        StorageError: it cannot be written.
    """
    from rewardsmith.page.write import write_report

    try:
        write_report(run)
    except StorageError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        return f"No report was written: {reason} Try again with rewardsmith report {run.root}"
    return None


def _backends(executor: Executor, search: Settings, final: Settings) -> list[Any]:
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
    ledger = Ledger(run.ledger_file)
    return Session(provider, run.iteration, settings.llm.concurrency, recorded, parameters, ledger)


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


def _record(settings: Settings, task: Any, provider: Provider, layers: Any) -> dict[str, Any]:
    """What a later reader needs to judge a run, or to repeat it."""
    return {
        "rewardsmith": rewardsmith.__version__,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
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
