"""The corner that knows Hydra: from the files under ``cfg/`` and the command line to `Settings`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from rewardsmith.errors import ConfigurationError
from rewardsmith.llm.keys import MASK, masked
from rewardsmith.settings import (
    EnvSettings,
    ExecutorSettings,
    LLMSettings,
    RaySettings,
    Settings,
    SlurmSettings,
    TrainingSettings,
    check,
    check_part,
)

_ABSENT = object()
_PRIVATE = (
    ("llm", "base_url"),
    ("llm", "replay"),
    ("experiment", "resume"),
    ("experiment", "seed_rewards"),
    ("paths", "results"),
    ("ray", "address"),
    ("slurm", "partition"),
    ("slurm", "parameters"),
)


def config_folder() -> Path:
    """Where ``cfg/`` is: inside the installed package, or beside it in a clone."""
    package = Path(str(files("rewardsmith")))
    inside = package / "cfg"
    return inside if inside.is_dir() else package.parent / "cfg"


def find_class(target: str) -> Any:
    """Import the class that a ``_target_`` names.

    Raises:
        ConfigurationError: there is no such class.
    """
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"_target_ is {target!r}, which cannot be imported: {error}."
        ) from None


def task_overrides() -> list[str]:
    """What the command line (or the sweeper) overrides in this job."""
    return list(HydraConfig.get().overrides.task)


def with_provider(overrides: Sequence[str], provider: str) -> DictConfig:
    """Compose the configuration again with the file of a provider.

    Args:
        overrides: of the job; an ``llm=…`` among them is replaced.
        provider: name of a file in ``cfg/llm``.

    Raises:
        ConfigurationError: there is no such file.
    """
    _check_option("llm", "llm.provider", provider)
    kept = [item for item in overrides if not item.startswith("llm=")]
    return hydra.compose("config", overrides=[*kept, f"llm={provider}", f"llm.provider={provider}"])


def with_final_training(config: DictConfig, overrides: Sequence[str], name: str) -> DictConfig:
    """Add the training of the result, where it is another than the search's.

    Args:
        config: composed.
        overrides: of the job; of those for ``training``, what every backend has is kept.
        name: file in ``cfg/training``.

    Raises:
        ConfigurationError: there is no such file.
    """
    _check_option("training", "experiment.final", name)
    common = tuple(f"training.{field}=" for field in TrainingSettings.model_fields)
    kept = [
        item
        for item in overrides
        if not item.lstrip("+~").startswith("training") or item.startswith(common)
    ]
    other = hydra.compose("config", overrides=[*kept, f"training={name}"])
    return OmegaConf.merge(config, {"final_training": other.training})  # type: ignore[return-value]


def _check_option(group: str, key: str, name: str) -> None:
    names = GlobalHydra.instance().config_loader().get_group_options(group)
    known = sorted(option for option in names if option != "base")
    if name not in known:
        raise ConfigurationError(f"{key} is {name!r}, but it must be one of {', '.join(known)}.")


def task_names() -> list[str]:
    """Names of the tasks in ``cfg/env``, without the two that are to be completed."""
    shipped = (config_folder() / "env").glob("*.yaml")
    return sorted(file.stem for file in shipped if file.stem not in ("base", "gym"))


def task_settings(names: Sequence[str]) -> list[EnvSettings]:
    """Tasks of ``cfg/env`` as they are without overrides.

    Raises:
        ConfigurationError: there is no such task, or its file is wrong.
    """
    known = task_names()
    for name in set(names) - set(known):
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(close)}?" if close else f"known are {', '.join(known)}."
        raise ConfigurationError(f"There is no task {name!r}: {hint}")
    with hydra.initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        found = [plain(hydra.compose(f"env/{name}"))["env"] for name in names]
        return [check_part(EnvSettings, values, ("env",)) for values in found]


def provider_settings() -> dict[str, LLMSettings]:
    """The providers of ``cfg/llm`` as they are without overrides, by name."""
    shipped = (config_folder() / "llm").glob("*.yaml")
    names = sorted(file.stem for file in shipped if file.stem not in ("base", "auto"))
    with hydra.initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        found = {name: plain(hydra.compose(f"llm/{name}"))["llm"] for name in names}
    return {name: check_part(LLMSettings, values, ("llm",)) for name, values in found.items()}


def plain(config: DictConfig) -> dict[str, Any]:
    """Resolve a configuration into plain data.

    Raises:
        ConfigurationError: a mandatory value is missing, or an interpolation fails.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        key = getattr(error, "full_key", "") or "a value"
        hint = "give it as KEY=VALUE" if "issing" in first else first
        raise ConfigurationError(f"{key} is missing from the configuration; {hint}.") from None
    return dict(values)  # type: ignore[arg-type]


def checked(config: DictConfig) -> Settings:
    """Resolve and check a configuration; see `rewardsmith.settings.check`."""
    return check(plain(config))


def composed(overrides: Sequence[str]) -> Settings:
    """Compose and check the configuration as a command line of ``gen.py`` would.

    Raises:
        ConfigurationError: there is no such group or key, or a value is not allowed.
    """
    try:
        with hydra.initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            return checked(hydra.compose("config", overrides=list(overrides)))
    except HydraException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ConfigurationError(f"The configuration cannot be composed: {lines[0]}") from None


def to_yaml(settings: Settings) -> str:
    """The configuration as it was used, for the run's record; headers and the like are masked."""
    return yaml_text(_record(settings))


def _record(settings: Settings) -> dict[str, Any]:
    values = settings.model_dump(by_alias=True, mode="json")
    values["llm"]["parameters"] = masked(values["llm"]["parameters"])
    return values


def public(settings: Settings) -> dict[str, Any]:
    """The same for eyes elsewhere: without addresses and files of this machine."""
    values = _record(settings)
    for group, key in _PRIVATE:
        values[group].pop(key)
    return {group: value for group, value in values.items() if value != {}}


def yaml_text(values: Mapping[str, Any]) -> str:
    """Plain data as YAML, in its order."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(values)))


def _load(config_file: Path) -> DictConfig:
    """Read a run's configuration.

    Raises:
        ConfigurationError: it is damaged.
    """
    try:
        config = OmegaConf.load(config_file)
        if isinstance(config, DictConfig) and OmegaConf.select(config, "experiment.iterations"):
            return config
        reason = "it holds no whole configuration"
    except (OSError, ValueError, TypeError, YAMLError, OmegaConfBaseException) as error:
        reason = _first_line(error)
    raise ConfigurationError(
        f"{config_file} cannot be read: {reason}. Put it back: a run goes on as it began."
    )


def planned_iterations(config_file: Path) -> int:
    """How many iterations a run began with."""
    return int(_load(config_file).experiment.iterations)


def recorded_values(config_file: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A run's configuration as plain data, unchecked: it may be of another version.

    Args:
        config_file: of the run.
        overrides: of later resumptions.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        config = _with_executor(OmegaConf.load(config_file), overrides)
        config.merge_with_dotlist(_single(overrides))
        return dict(OmegaConf.to_container(config))  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigurationError(f"{config_file} cannot be read: {_first_line(error)}.") from None


def resumed(config_file: Path, overrides: Sequence[str]) -> Settings:
    """Read a run's own configuration to go on with it, with new values on top; see `recorded`.

    Raises:
        ConfigurationError: the same, or a secret is missing, which is in no record.
    """
    settings = recorded(config_file, overrides)
    for name, value in settings.llm.parameters.items():
        if value == MASK:
            raise ConfigurationError(
                f"llm.parameters.{name} was a secret and is not in the run's record; give it again."
            )
    return settings


def recorded(config_file: Path, overrides: Sequence[str]) -> Settings:
    """Read a run's own configuration to look at it; secrets in it are masked. See `resumed`.

    Args:
        config_file: of the run.
        overrides: on top; only ``group.key=value`` and ``executor=NAME``.

    Raises:
        ConfigurationError: an override is not of that kind, or a value is not allowed.
    """
    config = _with_executor(_load(config_file), overrides)
    single = _single(overrides)
    for override in single:
        key, separator, _ = override.partition("=")
        if not separator or "." not in key or key.startswith(("+", "~")):
            raise ConfigurationError(
                f"{override!r} cannot be changed while a run is resumed; "
                "only single values and the executor can, as in experiment.iterations=5."
            )
        if OmegaConf.select(config, key, default=_ABSENT) is _ABSENT:
            raise ConfigurationError(f"{key} is not in the configuration of the run.")
    config.merge_with_dotlist(single)
    return check(plain(config))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _chooses_executor(override: str) -> bool:
    return override.startswith("executor=")


def _single(overrides: Sequence[str]) -> list[str]:
    """Those that change a single value, as opposed to the whole executor."""
    return [item for item in overrides if not _chooses_executor(item)]


def _with_executor(config: Any, overrides: Sequence[str]) -> Any:
    """A run's configuration with what says where it goes on, which its results do not depend on.

    Args:
        config: of the run, which may be from before there was a choice.
        overrides: of which those like ``executor=ray`` count; the last one does.

    Raises:
        ConfigurationError: there is no such executor.
    """
    values = {
        "executor": ExecutorSettings().model_dump(by_alias=True),
        "ray": RaySettings().model_dump(),
        "slurm": SlurmSettings().model_dump(),
    }
    merged = OmegaConf.merge(values, config)
    for override in filter(_chooses_executor, overrides):
        name = override.partition("=")[2]
        known = sorted(file.stem for file in (config_folder() / "executor").glob("*.yaml"))
        if name not in known:
            raise ConfigurationError(
                f"executor is {name!r}, but it must be one of {', '.join(known)}."
            )
        merged.executor = OmegaConf.load(config_folder() / "executor" / f"{name}.yaml")
    return merged
