"""Rewards of the user's own: read from files, they take the first places of iteration 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rewardsmith.errors import ConfigurationError
from rewardsmith.results import RunDirectory
from rewardsmith.reward.extract import extract_code
from rewardsmith.search.base import Draft, Proposal, Strategy
from rewardsmith.types import Trial


@dataclass(frozen=True)
class Seed:
    """A user's own reward.

    Attributes:
        name: of its file.
        text: of its file, as it was when the run began.
        source: the code in it.
    """

    name: str
    text: str
    source: str


def read_seeds(files: Sequence[str], kept: RunDirectory | None) -> list[Seed]:
    """Read the user's rewards.

    Args:
        files: Python, or Markdown with a block of it.
        kept: a run that holds their texts as they were, if it is resumed or replayed.

    Raises:
        ConfigurationError: a file cannot be read, or has no code.
    """
    return [_seed(number, Path(file), kept) for number, file in enumerate(files)]


def _seed(number: int, file: Path, kept: RunDirectory | None) -> Seed:
    text = None if kept is None else kept.read_seed_reward(number, file.name)
    if text is None:
        text = read_text(file, "experiment.seed_rewards names")
    source = source_of(file, text)
    if source is None:
        raise ConfigurationError(
            f"experiment.seed_rewards names {str(file)!r}, but it has no fenced Python code block "
            "with a function `compute_reward`."
        )
    return Seed(file.name, text, source)


def keep_seeds(seeds: Sequence[Seed], run: RunDirectory) -> None:
    """Keep the texts in a run's record, since the files may change."""
    for number, seed in enumerate(seeds):
        run.write_seed_reward(number, seed.name, seed.text)


def read_text(file: Path, start: str) -> str:
    """Read a file that the user has named.

    Args:
        file: of UTF-8 text.
        start: of the sentence if that fails.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{start} {str(file)!r}, which cannot be read: {error.strerror}."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{start} {str(file)!r}, which is not UTF-8 text.") from None


def source_of(file: Path, text: str) -> str | None:
    """The code in a file: all of it if it is Python, else that of its block; None without."""
    return text if file.suffix == ".py" else extract_code(text)


class Seeded:
    """Puts the user's rewards before what another strategy proposes."""

    def __init__(self, strategy: Strategy, seeds: Sequence[Seed]) -> None:
        """Take both.

        Args:
            strategy: is asked for all places, and those that are left are used.
            seeds: at most as many as an iteration has places.
        """
        self._strategy = strategy
        self._seeds = seeds

    def ask(self, iteration: int) -> list[Proposal]:
        """In iteration 1, first the user's rewards."""
        proposals = self._strategy.ask(iteration)
        if iteration > 1:
            return proposals
        drafts = [
            Draft(iteration, number, seed.source, origin=seed.name)
            for number, seed in enumerate(self._seeds)
        ]
        return [*drafts, *proposals[len(drafts) :]]

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        """Pass it on; the user's rewards are among the trials."""
        return self._strategy.tell(iteration, trials)
