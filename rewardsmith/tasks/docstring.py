"""What an environment's docstring says of observations, actions and the end of an episode.

Never what it says of rewards: that is the human reward, and a language model must not see it.
"""

from __future__ import annotations

import inspect
import re

_HEADING = re.compile(r"^\s*(#+)\s*(.+?)\s*$")
_WANTED = re.compile(r"observation|action|terminat|truncat|episode", re.IGNORECASE)
_UNWANTED = re.compile(r"reward|argument|version|start|description", re.IGNORECASE)
_HUMAN = re.compile(r"reward|return|cost|penalt|bonus|score|weight", re.IGNORECASE)
_FIGURE = re.compile(r"```\{figure\}.*?```\n?", re.DOTALL)
MAX_LENGTH = 12_000


def describe_spaces(environment_class: type) -> str:
    """Give the observation, action and termination parts of a class's docstring.

    Lines that speak of rewards, costs or weights are left out wherever they stand. A class whose
    own docstring has no such parts is described by the nearest class that it derives from.

    Returns:
        Markdown, empty if there are no such parts.
    """
    texts = (_excerpt(base.__doc__ or "") for base in environment_class.__mro__)
    return next(filter(None, texts), "")


def _excerpt(docstring: str) -> str:
    text = _FIGURE.sub("", inspect.cleandoc(docstring))
    kept: list[str] = []
    sections: list[tuple[int, bool]] = []  # level and whether it is wanted, outermost first
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading:
            level, title = len(heading[1]), heading[2]
            sections = [section for section in sections if section[0] < level]
            inherited = bool(sections) and sections[-1][1]
            wanted = bool(inherited or _WANTED.search(title)) and not _UNWANTED.search(title)
            sections.append((level, wanted))
        if sections and sections[-1][1] and not _HUMAN.search(line):
            kept.append(line.rstrip())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()[:MAX_LENGTH]
