"""Write the requirements files: every package that could be installed, its version and its hashes.

`make requirements` keeps all versions that pyproject.toml still allows and pins what is new;
`make requirements UPGRADE=--upgrade` takes the newest. Nothing is installed.

    requirements.txt        what a run needs
    requirements-dev.txt    what the tests, the docs and all extras need on top of it
    requirements-lock.txt   the hashes of all that, as constraints; and the GPU libraries of PyPI's
                            torch for Linux, so that pip takes them only where torch asks for them
    requirements-build.txt  pip itself, and what a source distribution is built with

The first two have no hashes of their own: pip takes a file that its index lists with a known hash
rather than any other, and would never choose a CPU build of torch from a folder of wheels.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU_WHEELS = ROOT / "scripts" / "torch_cpu_wheels.txt"
FILES = tuple(ROOT / f"requirements{part}.txt" for part in ("", "-dev", "-lock", "-build"))
MADE = "Made by `make requirements` (scripts/pin_requirements.py): do not edit."
BUILD = "pip>=26.1\nsetuptools\n"  # before 26.1 pip does not read the hashes of constraints
# the one package that is published as source only; everything else must have a wheel
SOURCE_ONLY = "antlr4-python3-runtime"
GPU = re.compile(r"nvidia-|cuda-|triton==")
Pins = dict[str, list[str]]
"""Requirement with its marker → its hashes, as `--hash=sha256:…`."""


def read(text: str) -> Pins:
    """Take a requirements file apart; comments and options are left out."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    lines = [line for line in joined.splitlines() if re.match(r"\w", line)]
    split = [re.split(r"\s+(?=--hash=)", line.strip()) for line in lines]
    return {first: hashes for first, *hashes in split}


def write(file: Path, heading: list[str], pins: Pins, hashes: bool = True) -> None:
    """Write a requirements file."""
    lines = [line if line.startswith("-") else f"# {line}" for line in (MADE, *heading)]
    for requirement in sorted(pins):
        listed = sorted(pins[requirement]) if hashes else []
        lines.append(" \\\n    ".join([requirement, *listed]))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def compile_pins(source: str, *arguments: str, known: Pins, text: str = "") -> Pins:
    """Resolve for every Python and system that is supported, and keep the versions known."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "requirements.txt"
        write(out, [], known)
        subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", source, "--quiet", "--universal"),
                *("--python-version", "3.10", "--generate-hashes", "--no-header"),
                *("--no-annotate", "--only-binary", ":all:", "--no-binary", SOURCE_ONLY),
                *("--output-file", str(out), *arguments),
            ],
            input=text,
            cwd=ROOT,
            text=True,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return read(out.read_text(encoding="utf-8"))


def with_cpu_build(pins: Pins, wheels: str) -> Pins:
    """Add the hashes of torch's CPU wheels, which other indexes have and PyPI has not.

    Raises:
        SystemExit: If none is known for the version.
    """
    [torch] = [requirement for requirement in pins if requirement.startswith("torch==")]
    version = torch.removeprefix("torch==")
    found = [line.split() for line in wheels.splitlines() if f"torch-{version}+cpu-" in line]
    if not found:
        sys.exit(f"{CPU_WHEELS.name} knows no CPU wheel of torch {version}: add their SHA-256.")
    return {**pins, torch: sorted({*pins[torch], *(f"--hash=sha256:{sha}" for sha, _ in found)})}


def main(options: list[str]) -> None:
    """Write all four files; `options` are uv's, such as `--upgrade`."""
    known: Pins = {}
    for file in FILES:
        known.update(read(file.read_text(encoding="utf-8")) if file.exists() else {})
    project = "pyproject.toml"
    everything = compile_pins(project, "--all-extras", *options, known=known)
    run = compile_pins(project, "--extra", "video", known=everything)
    build = compile_pins("-", known=everything, text=BUILD)
    lock = with_cpu_build({**everything, **run}, CPU_WHEELS.read_text(encoding="utf-8"))
    ours = {line: hashes for line, hashes in lock.items() if not GPU.match(line)}
    run = {line: ours[line] for line in run.keys() & ours.keys()}
    more = {line: ours[line] for line in ours.keys() - run.keys()}

    files = iter(FILES)
    write(next(files), ["What `make run` installs."], run, hashes=False)
    heading = ["What the tests, the docs and all extras need.", f"-r {FILES[0].name}"]
    write(next(files), heading, more, hashes=False)
    write(next(files), ["Hashes of both, and of the GPU libraries that torch may ask for."], lock)
    write(next(files), ["What packages are installed and built with."], build)


if __name__ == "__main__":
    main(sys.argv[1:])
