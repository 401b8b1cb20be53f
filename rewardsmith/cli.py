"""The command line of a run: what was asked for, and what ends it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path

import hydra
from omegaconf import DictConfig

from rewardsmith import config as configuration
from rewardsmith.assembly import Beginning, carry_out
from rewardsmith.console import Console
from rewardsmith.errors import Interrupted, RewardsmithError
from rewardsmith.files import storage_error
from rewardsmith.llm.auto import choose_provider
from rewardsmith.llm.keys import find_secrets, scrub, take_environment
from rewardsmith.notices import kept_off
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings


def main() -> None:
    """Run from the command line; ends the process with the exit code."""
    folder = str(configuration.config_folder())
    hydra.main(config_path=folder, config_name="config", version_base="1.3")(_job)()


def _job(config: DictConfig) -> None:
    """One run; Hydra calls it once, or once per point of a sweep."""
    console = Console()
    try:
        with kept_off(console.warn):
            code = _design(config, console)
    except KeyboardInterrupt:
        console.stopped()
        code = Interrupted.exit_code
    except RewardsmithError as error:
        console.failed(error)
        code = error.exit_code
    except Exception as error:
        code = _failed(error, console)
    if code:
        raise SystemExit(code)


def _failed(error: Exception, console: Console) -> int:
    """Say what nobody has caught; give the exit code."""
    full = storage_error(error)
    if full is not None:  # wherever it happens, a full disk gets its sentence
        console.failed(full)
        return full.exit_code
    # Hydra would print it as it is, and what a provider raises may hold its key
    secrets = find_secrets(take_environment(Path.cwd()))
    console.crashed(scrub(traceback.format_exc(), secrets))
    return RewardsmithError.exit_code


def _design(config: DictConfig, console: Console) -> int:
    """Design a reward; give the exit code."""
    environment = take_environment(Path.cwd())
    settings, run, why = _settings(config, environment)
    planned = configuration.planned_iterations(run.config_file) if run else None
    changes = tuple(_kept_overrides()) if run else ()
    return carry_out(Beginning(settings, environment, why, run, planned, changes), console)


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


def _resume_overrides() -> list[str]:
    """What this command line changes of the run that it goes on with."""
    overrides = configuration.task_overrides()
    return [item for item in overrides if not item.startswith("experiment.resume=")]


def _kept_overrides() -> list[str]:
    """The same, for the record: headers and the like may be secrets, and are not kept."""
    return [item for item in _resume_overrides() if not item.startswith("llm.parameters")]
