"""Which packages rewardsmith asks for, and which of them are there."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from pathlib import Path

from packaging.requirements import Requirement

import rewardsmith

DECISIVE = (
    "gymnasium",
    "gymnasium-robotics",
    "jax",
    "mujoco",
    "numpy",
    "openai",
    "stable-baselines3",
    "torch",
)
"""Packages that the numbers of a run may depend on."""

_FOR_DEVELOPERS = ("dev", "docs")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Package:
    """A package that is asked for.

    Attributes:
        name: of the distribution.
        requirement: what is asked for, as ``numpy>=1.26``.
        version: that is installed, None if it is not.
        fits: whether that is what is asked for.
    """

    name: str
    requirement: str
    version: str | None
    fits: bool


def packages() -> tuple[list[Package], dict[str, list[Package]]]:
    """The packages that are needed, and those of each extra, without the developers' own."""
    needed: list[Package] = []
    extras: dict[str, list[Package]] = {}
    for text in _requirements():
        requirement, extra = _parse(text)
        if extra in _FOR_DEVELOPERS:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            place = extras.setdefault(extra, []) if extra else needed
            place.append(_package(requirement))
    return needed, extras


def versions() -> dict[str, str | None]:
    """The versions of what results may depend on; None for what is not installed."""
    found: dict[str, str | None] = {}
    for package in DECISIVE:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def everything() -> dict[str, str | None]:
    """The same, with rewardsmith itself and Python."""
    own = {"rewardsmith": rewardsmith.__version__, "python": platform.python_version()}
    return {**own, **versions()}


def _parse(text: str) -> tuple[Requirement, str]:
    requirement = Requirement(text)
    found = _EXTRA.search(str(requirement.marker or ""))
    return requirement, found[1] if found else ""


def _package(requirement: Requirement) -> Package:
    plain = f"{requirement.name}{requirement.specifier}"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Package(requirement.name, plain, None, False)
    fits = requirement.specifier.contains(version, prereleases=True)
    return Package(requirement.name, plain, version, fits)


def _requirements() -> Iterable[str]:
    """As the installed package says, or in a clone its ``pyproject.toml``."""
    clone = Path(str(files("rewardsmith"))).parent / "pyproject.toml"
    if clone.is_file() and sys.version_info >= (3, 11):
        return _of_clone(clone)
    try:
        return metadata.requires("rewardsmith") or []
    except metadata.PackageNotFoundError:
        return []


if sys.version_info >= (3, 11):
    import tomllib

    def _of_clone(file: Path) -> list[str]:
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        extras = project.get("optional-dependencies", {})
        return [
            *project["dependencies"],
            *(_with_extra(text, name) for name, texts in extras.items() for text in texts),
        ]


def _with_extra(text: str, extra: str) -> str:
    plain, separator, marker = text.partition(";")
    condition = f"extra == '{extra}'"
    return f"{plain}; ({marker.strip()}) and {condition}" if separator else f"{plain}; {condition}"
