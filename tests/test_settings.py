"""The shipped files fit together, and a wrong value is one sentence that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rewardsmith.config import find_class, public, recorded, recorded_values, to_yaml
from rewardsmith.errors import ConfigurationError
from rewardsmith.settings import PopulationSettings
from tests.conftest import CFG, load_settings

ENVIRONMENTS = sorted({file.stem for file in (CFG / "env").glob("*.yaml")} - {"base"})
BACKENDS = sorted(file.stem for file in (CFG / "training").glob("*.yaml"))
NEEDED = {"gym": ("env.id=Pendulum-v1", "env.description=-")}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_task_goes_with_every_backend(env: str, backend: str) -> None:
    settings = load_settings(f"env={env}", f"training={backend}", *NEEDED.get(env, ()))
    assert callable(find_class(settings.training.target).check)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_the_population_takes_what_was_tuned(env: str) -> None:
    training = load_settings(f"env={env}", *NEEDED.get(env, ())).training
    tuned = load_settings(f"env={env}", *NEEDED.get(env, ())).env.tuned
    assert isinstance(training, PopulationSettings)
    assert tuned
    assert {name: getattr(training, name) for name in tuned} == tuned


def test_the_command_line_beats_what_was_tuned() -> None:
    training = load_settings("env=point", "training.discount=0.7").training
    assert isinstance(training, PopulationSettings)
    assert training.discount == 0.7


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["training.total_timesteps=-5"], "training.total_timesteps is -5, but it should be gr"),
        (["training=sb3", "training.workers=0"], "training.workers is 0, but it should be great"),
        (["training.discount=1"], "training.discount is 1, but it should be less than 1"),
        (["training.hidden=[]"], r"training.hidden is \[\], but it should have at least 1 item"),
        (["training.hidden=[8,0]"], "training.hidden.1 is 0, but it should be greater than 0"),
        (["training.device=tpu"], "training.device is 'tpu', but it should be 'auto', 'cpu' or"),
        (["~training.tau"], "training.tau is missing from the configuration"),
        (["+training.gamma=0.9"], "training.gamma is not a setting of training"),
        (["+training.kwargs.gamma=0.9"], "training.kwargs is not a setting of training"),
        (["training=sb3", "+training.tau=0.1"], "training.tau is not a setting of training"),
        (["training.algorithm=PPO"], "training.algorithm is 'PPO', .* training=sb3"),
        (["training._target_=a.B"], "training._target_ is 'a.B', but it should be one of 'rewards"),
        (["training.checkpoints=9000"], "training.checkpoints is 9000, more than"),
        (["training.actor_every=3"], "training.updates_per_call is 10, which is no multiple of"),
        (["+experiment.tries=3"], "experiment.tries is not a setting of experiment"),
    ],
)
def test_a_wrong_value_is_one_sentence(overrides: list[str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{sentence}") as error:
        load_settings("env=point", *overrides)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


# -- where a run goes on --------------------------------------------------------------------------


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """Of a run that began on a cluster."""
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(load_settings("env=point", "executor=ray", "ray.address=10.0.0.5:1")))
    return file


def test_a_run_can_go_on_elsewhere_with_the_same_shards(config_file: Path) -> None:
    before = recorded(config_file, [])
    assert before.executor.target == "rewardsmith.execution.ray.RayExecutor"
    after = recorded(config_file, ["executor=local", "experiment.iterations=3"])
    assert after.executor.target == "rewardsmith.execution.local.LocalExecutor"
    assert after.training == before.training
    assert isinstance(after.training, PopulationSettings)
    assert after.training.shard == 8
    again = recorded(config_file, ["executor=local", "executor=slurm", "slurm.cores=2"])
    assert again.executor.target == "rewardsmith.execution.slurm.SlurmExecutor"
    assert again.slurm.cores == 2
    shown = recorded_values(config_file, ["executor=local"])
    assert shown["executor"]["_target_"].endswith("LocalExecutor")


def test_an_unknown_executor_is_one_sentence(config_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="executor is 'dask', .* local, ray, slurm"):
        recorded(config_file, ["executor=dask"])


def test_a_run_from_before_there_was_a_choice_goes_on_anywhere(config_file: Path) -> None:
    values = yaml.safe_load(config_file.read_text())
    for name in ("executor", "ray", "slurm"):
        del values[name]
    del values["training"]["shard"]
    config_file.write_text(yaml.safe_dump(values))
    here = recorded(config_file, [])
    assert here.executor.target == "rewardsmith.execution.local.LocalExecutor"
    there = recorded(config_file, ["executor=ray", "ray.address=10.0.0.6:1"])
    assert there.ray.address == "10.0.0.6:1"
    assert isinstance(there.training, PopulationSettings)
    assert there.training.shard is None, "results depend on it, so it stays as it was"


def test_addresses_of_a_cluster_are_not_for_other_eyes(config_file: Path) -> None:
    assert "10.0.0.5" not in str(public(recorded(config_file, [])))
