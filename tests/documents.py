"""The documentation as tests see it: its fenced blocks, and a folder in which they are run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.runs import ROOT, environment

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*)[ \t]*(?P<rest>[^\n]*)\n"
    r"(?P<text>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]+)"')
_COMMENT = re.compile(r"(^|\s+)#.*$")
# a search so small that it says nothing, on the command line's own task and options
TINY = (
    "training.total_timesteps=60 training.checkpoints=1 training.checkpoint_episodes=1 "
    "env.tuned.learning_starts=20 training.workers=1 experiment.candidates=2 experiment.seeds=1 "
    "experiment.final_seeds=1 experiment.evaluation_episodes=2 experiment.test_episodes=2 "
    "experiment.races=0 video.episodes=0"
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: file, relative to the root.
        line: of its fence.
        language: as the fence has it.
        text: without the fence.
        title: file that it is to be saved as; empty if none.
    """

    page: str
    line: int
    language: str
    text: str
    title: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Lines of shell, without their comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [kept for line in lines if (kept := _COMMENT.sub("", line).strip())]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    found = []
    for match in _BLOCK.finditer(text):
        width = len(match["indent"])
        title = _TITLE.search(match["rest"])
        inner = "".join(line[width:] or "\n" for line in match["text"].splitlines(keepends=True))
        number = 1 + text.count("\n", 0, match.start())
        found.append(Block(name, number, match["language"], inner, title[1] if title else ""))
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]


@dataclass
class Workshop:
    """A reader's folder: ``gen.py``, every file that a block has a title for, and one finished run.

    A line that stands on several pages is run once.
    """

    folder: Path
    done: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)

    def furnish(self) -> None:
        """Put everything in its place, and make the run that the pages speak of."""
        (self.folder / "gen.py").symlink_to(ROOT / "gen.py")
        self._command("python", "")
        self._command("rewardsmith", "-m rewardsmith")
        self._command("tensorboard", "-m tensorboard.main")
        for block in BLOCKS:
            if block.title:
                file = self.folder / block.title
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
        self.succeed("python gen.py", f"{TINY} experiment.iterations=1")
        shutil.copytree(self.folder / "results" / "reach", self.folder / "results" / "reach-2")

    def _command(self, name: str, arguments: str) -> None:
        """A command as an installed package would have it."""
        file = self.folder / "bin" / name
        file.parent.mkdir(exist_ok=True)
        path = f'PYTHONPATH="{ROOT}${{PYTHONPATH:+:$PYTHONPATH}}"'
        file.write_text(f'#!/bin/sh\n{path} exec "{sys.executable}" {arguments} "$@"\n')
        file.chmod(0o755)

    @cached_property
    def variables(self) -> dict[str, str]:
        """Environment of a line."""
        path = environment()["PATH"]
        return environment(PATH=f"{self.folder / 'bin'}:{path}", COLUMNS="100")

    def start(self, line: str) -> subprocess.Popen[str]:
        """Start a line as bash would, and do not wait."""
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}" if "=" not in line.split()[0] else line],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, line: str, more: str = "") -> subprocess.CompletedProcess[str]:
        """Run a line to its end, with `more` appended to it."""
        if line not in self.done:
            process = self.start(f"{line} {more}")
            try:
                out, err = process.communicate(timeout=550)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
            self.done[line] = subprocess.CompletedProcess(line, process.returncode, out, err)
        return self.done[line]

    def succeed(self, line: str, more: str = "") -> str:
        """Run a line to its end, which must be a good one; give what it printed."""
        ended = self.run(line, more)
        assert ended.returncode == 0, f"{line}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
        return ended.stdout
