"""What of an environment's docstring a language model may read."""

from __future__ import annotations

import contextlib
import importlib
import io

import gymnasium
import pytest

from rewardsmith.tasks.docstring import MAX_LENGTH, describe_spaces
from rewardsmith.tasks.task import build_task
from tests.conftest import load_settings

with contextlib.redirect_stderr(io.StringIO()):
    import gymnasium_robotics  # noqa: F401 - registers its environments

PACKAGES = (
    "gymnasium.envs.mujoco",
    "gymnasium.envs.classic_control",
    "gymnasium.envs.toy_text",
    "gymnasium.envs.box2d",
    "gymnasium_robotics",
)
MONEY = ("reward", "penalt", "bonus", "cost")


def shipped_classes() -> dict[str, type]:
    """Every class of the packages that can be imported here, by its entry point."""
    found: dict[str, type] = {}
    for spec in gymnasium.registry.values():
        entry = spec.entry_point
        if not isinstance(entry, str) or not entry.startswith(PACKAGES):
            continue
        module, _, name = entry.partition(":")
        with contextlib.suppress(ImportError, gymnasium.error.DependencyNotInstalled):
            item = getattr(importlib.import_module(module), name)
            if isinstance(item, type):
                found[entry] = item
    return found


CLASSES = shipped_classes()


class Walker:
    """A robot that walks.

    It gets a reward for walking.

    ## Action Space
    Two torques. Large ones cost reward.

    | Num | Action |
    | 0 | hip |

    ### Action scaling
    Torques are scaled.

    ## Observation Space
    ```{figure} walker.png
    :alt: the reward
    ```
    Six angles.

    ### Rewards inside
    Nobody may read this.

    ### Units of observations
    Radians.

    ## Rewards
    - *forward*: velocity of the hip

    ## Episode End
    When it falls.

    ## Arguments
    `speed`: how fast.
    """


class Runner(Walker):
    """Faster."""


class Nothing:
    pass


def test_the_wanted_sections_are_kept() -> None:
    text = describe_spaces(Walker)
    for wanted in ("| 0 | hip |", "Torques are scaled", "Six angles", "Radians", "When it falls"):
        assert wanted in text


@pytest.mark.parametrize(
    "hidden",
    ["Two torques", "reward", "figure", "Nobody", "velocity of the hip", "how fast", "walks"],
)
def test_the_rest_is_left_out(hidden: str) -> None:
    assert hidden not in describe_spaces(Walker)


def test_a_class_without_sections_is_described_by_its_base() -> None:
    assert describe_spaces(Runner) == describe_spaces(Walker)


def test_a_class_without_a_docstring_has_no_description() -> None:
    assert describe_spaces(Nothing) == ""


def test_the_v3_ids_have_the_description_of_v4() -> None:
    overrides = ["env=gym", "env.description=x"]
    v3 = build_task(load_settings(*overrides, "env.id=FetchReach-v3").env)
    v4 = build_task(load_settings(*overrides, "env.id=FetchReach-v4").env)
    assert "end effector" in v3.documentation
    assert v3.documentation == v4.documentation


def test_declared_fields_take_the_place_of_the_docstring() -> None:
    assert build_task(load_settings("env=reach").env).documentation == ""


def test_many_classes_are_looked_at() -> None:
    assert len(CLASSES) > 30


@pytest.mark.parametrize("entry", CLASSES)
def test_no_shipped_environment_tells_of_its_reward(entry: str) -> None:
    text = describe_spaces(CLASSES[entry])
    assert not [word for word in MONEY if word in text.lower()]
    assert len(text) <= MAX_LENGTH


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "HalfCheetah-v5", "Reacher-v5"]
)
def test_common_environments_are_described(env_id: str) -> None:
    overrides = ["env=gym", f"env.id={env_id}", "env.description=x"]
    text = build_task(load_settings(*overrides).env).documentation
    assert "Observation Space" in text
    assert "Action Space" in text
