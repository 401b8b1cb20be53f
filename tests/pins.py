"""What is wrong with pins: lines without a hash, dependencies without a line, stray imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import Distribution, PackageNotFoundError, packages_distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from scripts.pin_requirements import Pins

SHA256 = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def faulty_lines(pins: Pins) -> list[str]:
    """Requirements that are not one version with at least one SHA-256."""
    exact = re.compile(r"[a-z0-9-]+==[^=*,;\s]+( ; .+)?")
    return [
        line
        for line, hashes in pins.items()
        if not exact.fullmatch(line) or not hashes or not all(map(SHA256.fullmatch, hashes))
    ]


def declared(project: dict[str, Any]) -> list[Requirement]:
    """All that a pyproject.toml asks for: to run, for every extra, and to build."""
    extras = project["project"].get("optional-dependencies", {})
    lines = [*project["project"].get("dependencies", []), *project["build-system"]["requires"]]
    lines += [line for extra in extras.values() for line in extra]
    return [Requirement(line) for line in lines]


def unpinned(project: dict[str, Any], pins: Pins) -> list[str]:
    """Dependencies of a project that no pin satisfies."""
    chosen = versions(map(Requirement, pins))
    return [
        str(wanted)
        for wanted in declared(project)
        if not any(
            wanted.specifier.contains(version, prereleases=True)
            for version in chosen.get(canonicalize_name(wanted.name), [])
        )
    ]


def versions(requirements: Iterable[Requirement]) -> dict[str, list[Version]]:
    """Name → the versions it is pinned to, for one Python or another."""
    found: dict[str, list[Version]] = {}
    for requirement in requirements:
        [specifier] = requirement.specifier
        name = canonicalize_name(requirement.name)
        found.setdefault(name, []).append(Version(specifier.version))
    return found


def strays(
    pins: Pins,
    wanted: list[Requirement],
    distribution: Callable[[str], Distribution] = Distribution.from_name,
) -> list[str]:
    """What is installed otherwise than pinned, among all that follows from what is wanted."""
    applying = [Requirement(line) for line in pins]
    here = versions(item for item in applying if not item.marker or item.marker.evaluate())
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    queue = [(item, extra) for item in wanted for extra in ("", *item.extras) if applies(item, "")]
    while queue:
        requirement, extra = queue.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        if name not in here:
            found[name] = f"{name} is not pinned"
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            found[name] = f"{name} is not installed"
            continue
        if Version(Version(installed.version).public) not in here[name]:
            found[name] = f"{name} {installed.version} is installed, pinned is {here[name][0]}"
        for line in installed.requires or []:
            item = Requirement(line)
            if applies(item, extra):
                queue += [(item, more) for more in ("", *item.extras)]
    return sorted(found.values())


def applies(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement holds in this environment, for one extra."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def undeclared(files: Iterable[Path], allowed: set[str], own: set[str]) -> list[str]:
    """Imports of packages that are installed but not allowed."""
    owners = packages_distributions()
    found = set()
    for file in files:
        for name in imported(file) - own - set(sys.stdlib_module_names):
            names = {canonicalize_name(owner) for owner in owners.get(name, [])}
            if names and not names & allowed:
                found.add(f"{file.name} imports {name}")
    return sorted(found)


def imported(file: Path) -> set[str]:
    """Top-level names that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
