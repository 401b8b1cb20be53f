"""`RewardFailure`: a reward function broke the contract, said in words of ours."""

from __future__ import annotations

import re

from rewardsmith.errors import RewardsmithError
from rewardsmith.reward import dialect, reasons
from rewardsmith.types import Fault, Status

_LINE_END = re.compile(r"\r\n?|\n")


class RewardFailure(RewardsmithError):
    """A reward function was rejected, failed when it was called, or its process died.

    Attributes:
        reason: a key of `rewardsmith.reward.reasons`.
        line: line of the source, 0 if unknown.
        source_line: that line.
    """

    def __init__(
        self,
        reason: str,
        source: str = "",
        place: tuple[int, int, int, int] = (0, 0, 0, 0),
        **details: object,
    ) -> None:
        """Build the sentence from the reason, the place and checked numbers.

        Args:
            reason: a key of `rewardsmith.reward.reasons`.
            source: the trusted side's own copy of the source.
            place: line, column, end line, end column as the reward process gave them; anything
                outside the source is ignored.
            details: fill the blanks of the sentence.
        """
        lines = _LINE_END.split(source.encode(errors="replace").decode())  # as Python counts
        line, column, end_line, end_column = place
        self.reason = reason
        self.line = line if 0 < line <= len(lines) else 0
        self.source_line = _printable(lines[self.line - 1].strip())[:200] if self.line else ""
        known = {"limit": dialect.MAX_LENGTH, "loop_limit": dialect.MAX_LOOPS}
        text = reasons.sentence(reason, **{**known, **details})
        if self.line:
            excerpt = self.source_line
            if end_line == line and 0 <= column < end_column:
                row = lines[line - 1].encode()
                excerpt = _printable(row[column:end_column].decode(errors="replace")) or excerpt
            text = f"line {self.line}, `{excerpt[:120]}`: {text}"
        super().__init__(text)

    def fault(self, status: Status) -> Fault:
        """As a `Fault` at a stage; a missed deadline is a time-out at every stage."""
        if self.reason == "deadline":
            status = Status.TIMEOUT
        return Fault(status, self.reason, str(self), self.line, self.source_line)


def _printable(text: str) -> str:
    """Text without what a terminal would obey: it ends in messages, logs and prompts."""
    return "".join(
        letter if letter.isprintable() else " " if letter == "\t" else "?" for letter in text
    )
