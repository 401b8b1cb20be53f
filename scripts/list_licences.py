"""Write docs/licences.md: the licence of every pinned package, as pip-licenses reads it.

Run by `make licences` in the environment that `make test` makes. What only other Pythons or systems
install cannot be read there; that is written down in `ELSEWHERE`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.pin_requirements import ROOT, read

PAGE = ROOT / "docs" / "licences.md"
MARK = "<!-- made by `make licences`: do not edit below -->\n"
# how classifiers and older metadata say it → SPDX
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# whose metadata say nothing; read from the licence file in the package
UNSAID = {"atheris": "Apache-2.0"}
# installed by other Pythons or systems only
ELSEWHERE = {
    "appnope": "BSD-2-Clause",
    "cffi": "MIT-0",
    "decorator": "BSD-2-Clause",
    "exceptiongroup": "MIT",
    "httpx2-jsfetch": "BSD-3-Clause",
    "importlib-resources": "Apache-2.0",
    "pycparser": "BSD-3-Clause",
}


class Package(NamedTuple):
    """A line of the table."""

    name: str
    versions: str
    licence: str


def spdx(name: str, licence: str) -> str:
    """Say a licence as SPDX does; several classifiers mean that one may choose."""
    if licence == "UNKNOWN":
        return UNSAID.get(name, licence)
    parts = [part for part in licence.split("; ") if part != "DFSG approved"]
    return " OR ".join(SPELLINGS.get(part, part) for part in parts)


def pinned(file: str) -> dict[str, str]:
    """Names of a requirements file, each with the versions for one Python or another."""
    found: dict[str, list[str]] = {}
    for line in read((ROOT / file).read_text(encoding="utf-8")):
        requirement = Requirement(line)
        version = str(requirement.specifier).removeprefix("==")
        found.setdefault(canonicalize_name(requirement.name), []).append(version)
    return {name: ", ".join(dict.fromkeys(versions)) for name, versions in found.items()}


def packages(pins: dict[str, str]) -> list[Package]:
    """Ask pip-licenses; what is not installed here is taken from `ELSEWHERE`.

    Raises:
        SystemExit: If a package is neither installed nor known.
    """
    command = [sys.executable, "-m", "piplicenses", "--with-system", "--format", "json"]
    done = subprocess.run(
        [*command, "--packages", *sorted(pins)], capture_output=True, text=True, check=True
    )
    rows = {canonicalize_name(row["Name"]): row["License"] for row in json.loads(done.stdout)}
    found = dict(ELSEWHERE)
    found.update({str(name): spdx(name, licence) for name, licence in rows.items()})
    missing = sorted(pins.keys() - found.keys())
    if missing:
        sys.exit(f"Not installed: {', '.join(missing)}. Run `make test` first, or see ELSEWHERE.")
    return [Package(name, pins[name], found[name]) for name in sorted(pins)]


def table(lines: list[Package]) -> str:
    """Lay packages out in Markdown."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join(["| package | version | licence |", "|---|---|---|", *rows]) + "\n"


def render() -> str:
    """Make the lower part of the page."""
    run = pinned("requirements.txt")
    more = pinned("requirements-dev.txt")
    for name in run:
        more.pop(name, None)
    return (
        f"## What a run needs\n\n{table(packages(run))}\n"
        f"## Tests, docs and extras\n\n{table(packages(more))}"
    )


if __name__ == "__main__":
    above = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{above}{MARK}\n{render()}", encoding="utf-8")
