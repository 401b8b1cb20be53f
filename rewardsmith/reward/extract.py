"""Find the code in a language model's reply."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^(?P<ticks>`{3,}|~{3,})[ \t]*(?P<language>[\w+-]*)[^\n`]*$", re.MULTILINE)
_ENTRY = re.compile(r"^[ \t]*def[ \t]+compute_reward\b", re.MULTILINE)
_PYTHON = {"python", "py", "python3", ""}
_BARE = re.compile(r"^(?:import|from|def|@|#|[A-Z_]+ *=)", re.MULTILINE)


def extract_code(reply: str) -> str | None:
    r"""Give the source of the reward function in a reply, or None.

    The last fenced block that defines ``compute_reward`` wins (models improve as they go on); else
    the last Python block with any function, so that a wrong name gets a precise rejection. A reply
    that is nothing but code needs no fence. A fence that is never closed counts as cut off.

    Examples:
        >>> fence = "`" * 3
        >>> extract_code(f"Here:\n{fence}python\ndef compute_reward(a): ...\n{fence}")
        'def compute_reward(a): ...\n'
        >>> extract_code("I would rather not.") is None
        True
    """
    text = _plain(reply)
    blocks = _blocks(text)
    for wanted in (_ENTRY, re.compile(r"^[ \t]*def[ \t]", re.MULTILINE)):
        found = [code for language, code in blocks if language in _PYTHON and wanted.search(code)]
        if found:
            return _dedent(found[-1])
    if not _FENCE.search(text) and _is_bare_code(text):
        return text.strip() + "\n"
    return None


def is_cut_off(reply: str) -> bool:
    """Tell whether a reply ends inside a code fence."""
    return len(_FENCE.findall(_plain(reply))) % 2 == 1


def _plain(reply: str) -> str:
    """With one kind of line end, and without lone surrogates, which no file could hold."""
    text = reply.replace("\r\n", "\n").replace("\r", "\n")
    return text.encode(errors="replace").decode()


def _blocks(text: str) -> list[tuple[str, str]]:
    """Language and code of every closed fence."""
    blocks = []
    opening: re.Match[str] | None = None
    for match in _FENCE.finditer(text):
        if opening is None:
            opening = match
        elif match["ticks"].startswith(opening["ticks"]) and not match["language"]:
            code = text[opening.end() + 1 : match.start()]
            blocks.append((opening["language"].lower(), code))
            opening = None
    return blocks


def _is_bare_code(text: str) -> bool:
    first = text.lstrip()
    return bool(re.search(r"^def compute_reward\b", text, re.MULTILINE) and _BARE.match(first))


def _dedent(code: str) -> str:
    """Remove the indentation that a fence inside a list brings along."""
    lines = code.split("\n")
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    margin = min(indents, default=0)
    return "\n".join(line[margin:] for line in lines)
