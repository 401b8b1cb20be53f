"""Code for the page: coloured by Pygments, and what changed from one to another."""

from __future__ import annotations

import difflib
from functools import lru_cache

MOST_CHARACTERS = 20_000
"""Of one source or text; what is longer is cut off, and says so."""

Tokens = list[str]
"""Class, text, class, text, …: the classes are those that Pygments gives in HTML."""


def cut(text: str, most: int = MOST_CHARACTERS) -> str:
    """Shorten a text, saying by how much."""
    return text if len(text) <= most else f"{text[:most]}\n… ({len(text) - most:,} characters more)"


@lru_cache(maxsize=1024)
def _coloured(source: str) -> tuple[str, ...]:
    from pygments.lexers import PythonLexer
    from pygments.token import STANDARD_TYPES, Token

    plain = (Token.Name, Token.Text, Token.Text.Whitespace, Token.Punctuation, Token.Error)
    found: list[str] = []
    for kind, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(source):
        name = "" if kind in plain else STANDARD_TYPES.get(kind, "")
        if found and found[-2] == name:
            found[-1] += text
        else:
            found += [name, text]
    return tuple(found)


def coloured(source: str) -> Tokens:
    """Python source in coloured pieces; neighbours of one class are one piece.

    Example:
        >>> coloured("x = 1")
        ['', 'x ', 'o', '=', '', ' ', 'mi', '1']
    """
    return list(_coloured(cut(source)))


def difference(before: str, after: str) -> list[str]:
    r"""Lines of a unified diff without its header, each with its sign before it.

    Example:
        >>> difference("a\nb\n", "a\nc\n")
        ['@@ -1,2 +1,2 @@', ' a', '-b', '+c']
    """
    lines = difflib.unified_diff(
        cut(before).splitlines(), cut(after).splitlines(), lineterm="", n=3
    )
    return list(lines)[2:]
