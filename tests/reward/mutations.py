"""Changes of programs at random: of their tree, of their tokens, of their text."""

from __future__ import annotations

import ast
import copy
import re
from random import Random

from tests.reward import fragments
from tests.reward.fragments import seeds

_TOKEN = re.compile(r"\w+|\s+|.", re.DOTALL)


def mutated(rng: Random, source: str) -> str:
    """Change a program's tree or its tokens in one to three places."""
    for _ in range(rng.randint(1, 3)):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return scrambled(rng, source)
        try:
            source = ast.unparse(ast.fix_missing_locations(_changed(rng, tree)))
        except (ValueError, RecursionError, AttributeError, TypeError):  # no longer a program
            return scrambled(rng, source)
    return source


def _changed(rng: Random, tree: ast.Module) -> ast.Module:
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.AST)]
    blocks = [node.body for node in nodes if isinstance(getattr(node, "body", None), list)]
    block = rng.choice([item for item in blocks if item])
    place = rng.randrange(len(block))
    kind = rng.randrange(6)
    if kind == 0:
        block.insert(rng.randrange(len(block) + 1), copy.deepcopy(block[place]))
    elif kind == 1 and len(block) > 1:
        del block[place]
    elif kind == 2:  # from elsewhere
        other = _parsed(rng.choice([*fragments.STATEMENTS, *fragments.TOP]))
        block[place:place] = other
    elif kind == 3:
        name = rng.choice([node for node in nodes if isinstance(node, ast.Name)] or [ast.Name("x")])
        name.id = rng.choice([*fragments.HELPERS, "np", "state", "__class__", "total", "i"])
    else:
        _replace_expression(rng, tree)
    return tree


def _replace_expression(rng: Random, tree: ast.Module) -> None:
    """Put another expression in the place of one."""
    texts = rng.choice([fragments.FORBIDDEN, fragments.SCALARS, fragments.ARRAYS, ()])
    if texts:
        new = _parsed(rng.choice(texts))
    else:  # splice: from another program
        donor = ast.walk(_tree(rng.choice(seeds())))
        new = [node for node in donor if isinstance(node, ast.expr)]
    spots = [
        (parent, field)
        for parent in ast.walk(tree)
        for field, value in ast.iter_fields(parent)
        if isinstance(value, ast.expr) and not isinstance(getattr(value, "ctx", None), ast.Store)
    ]
    if not new or not spots:
        return
    chosen = rng.choice(new)
    parent, field = rng.choice(spots)
    setattr(parent, field, chosen.value if isinstance(chosen, ast.Expr) else chosen)


def _parsed(text: str) -> list[ast.stmt]:
    return _tree(text).body


def _tree(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def scrambled(rng: Random, source: str) -> str:
    """Change the text itself: characters, tokens, lines."""
    for _ in range(rng.randint(1, 3)):
        kind = rng.randrange(5)
        if kind == 0:
            place = rng.randint(0, len(source))
            source = source[:place] + rng.choice(fragments.CHARACTERS) + source[place:]
        elif kind == 1:
            lines = source.split("\n")
            lines.insert(rng.randint(0, len(lines)), rng.choice(fragments.LINES))
            source = rng.choice(["\n", "\n", "\r\n", "\r"]).join(lines)
        elif kind == 2:
            wide = {
                ord(letter): ord(letter) + 0xFEE0 for letter in rng.choice(["e", "_", "np", "a"])
            }
            source = source.translate(wide)
        else:
            tokens = _TOKEN.findall(source) or [""]
            first, second = rng.randrange(len(tokens)), rng.randrange(len(tokens))
            if kind == 3:
                tokens[first], tokens[second] = tokens[second], tokens[first]
            else:
                tokens[first] = rng.choice([*fragments.CHARACTERS, *fragments.HELPERS, "", "\t"])
            source = "".join(tokens)
    return source
