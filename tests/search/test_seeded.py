"""A user's own rewards: where they stand, and which text counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.llm.types import Message, Request
from rewardsmith.results import RunDirectory
from rewardsmith.search.base import Draft, Proposal
from rewardsmith.search.seeded import Seed, Seeded, read_seeds
from rewardsmith.types import Trial

SOURCE = "def compute_reward(state, action, next_state):\n    return 1.0, {}\n"


class Asking:
    """A strategy that asks for three rewards."""

    def ask(self, iteration: int) -> list[Proposal]:
        return [Request((Message("user", "go"),), iteration, number) for number in range(3)]

    def tell(self, iteration: int, trials: Sequence[Trial]) -> str:
        return f"told of {len(trials)}"


def test_the_first_places_of_the_first_iteration_are_the_users() -> None:
    strategy = Seeded(Asking(), [Seed("mine.py", SOURCE, SOURCE)])
    first, *others = strategy.ask(1)
    assert first == Draft(1, 0, SOURCE, origin="mine.py")
    assert [item.candidate for item in others] == [1, 2]
    assert all(isinstance(item, Request) for item in strategy.ask(2))
    assert strategy.tell(1, []) == "told of 0"


def test_python_is_taken_whole_and_markdown_by_its_block(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    (tmp_path / "b.md").write_text(f"Mine:\n\n```python\n{SOURCE}```\n")
    files = [str(tmp_path / name) for name in ("a.py", "b.md")]
    assert [(seed.name, seed.source) for seed in read_seeds(files, None)] == [
        ("a.py", SOURCE),
        ("b.md", SOURCE),
    ]


def test_the_text_that_a_run_has_kept_counts(tmp_path: Path) -> None:
    file, run = tmp_path / "mine.py", RunDirectory(tmp_path / "run")
    file.write_text("something else by now")
    run.write_seed_reward(0, "mine.py", SOURCE)
    assert read_seeds([str(file)], run)[0].source == SOURCE
    file.unlink()
    assert read_seeds([str(file)], run)[0].source == SOURCE


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"I would rather not.", "no fenced Python code block"),
    ],
)
def test_an_unusable_file_is_one_sentence(
    content: bytes | None, sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.md"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        read_seeds([str(file)], None)
    assert "mine.md" in str(caught.value)
