"""A provider that answers with replies recorded from a language model, in an order set by a seed.

It reads nothing of what it is asked, so strategies differ only by what they do with the replies,
and by what they write themselves.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path

from rewardsmith.llm.types import Reply, Request, Usage
from rewardsmith.settings import LLMSettings

FOLDER = "REWARDSMITH_RECORDED"


class Recorded:
    """Implements `rewardsmith.llm.types.Provider` over a folder of ``*.md`` files."""

    name = "recorded"
    model = "replies"

    def __init__(self, settings: LLMSettings, environment: Mapping[str, str]) -> None:
        """Find the folder that the variable names."""
        self._files = sorted(Path(os.environ[FOLDER]).glob("*.md"))
        self._seed = settings.seed or 0

    def describe(self) -> str:
        """One line for the start of a run."""
        return f"{len(self._files)} recorded replies"

    def complete(self, request: Request) -> Reply:
        """Draw a reply; the same request and seed give the same one."""
        key = f"{self._seed}/{request.iteration}/{request.candidate}/{request.attempt}"
        file = random.Random(key).choice(self._files)
        return Reply(file.read_text(), model=self.model, usage=Usage(requests=1))
