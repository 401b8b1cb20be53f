"""The built-in designer: no language model, but a seeded evolutionary search over reward terms.

It makes a run possible without a key and without a network, and it is the control that a language
model has to beat. It composes terms from the task's own fields: distances between fields of one
unit, progress, velocities, effort, bonuses, with exponential, tanh and linear kernels; where one
thing has to be moved by another, both stages; where there are only numbers, their levels. From the
second iteration on it mutates and crosses over the rewards that did best. Its replies look like a
language model's, and the code is the genome: one line per term, ``name = weight * (body)``.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from rewardsmith.llm.terms import (
    Brief,
    Maker,
    Number,
    Pair,
    Parent,
    Stage,
    Term,
    approach,
    attraction,
    behind,
    bonus,
    delivery,
    delivery_progress,
    effort,
    gain,
    gated_delivery,
    level,
    number,
    progress,
    stillness,
)
from rewardsmith.llm.types import Reply, Request, Usage
from rewardsmith.settings import LLMSettings

__all__ = ["Brief", "BuiltinDesigner", "Number", "Pair", "Parent", "Stage"]

MUTATION = "mutation"
CROSSOVER = "crossover"
FRESH_SHARE = 0.2
"""How often a later candidate is composed anew instead of from parents."""
CROSSOVER_SHARE = 0.5
STAGED_SHARE = 0.85
"""How often both stages are rewarded where one thing has to be moved by another."""
MAX_TERMS = 5
ATTEMPTS = 8
"""How often a mutation is drawn again if it changed nothing."""

_Extras = tuple[tuple[Maker, float], ...]

_LINE = re.compile(
    r"^    (?P<name>[a-z]\w*) = (?P<weight>\d+(?:\.\d+)?) \* \((?P<body>.+)\)$", re.M
)
_KERNEL = re.compile(r"(?P<before>np\.exp\(-|np\.tanh\()(?P<number>\d+(?:\.\d+)?) \*")
_PLAIN: _Extras = ((attraction, 0.35), (bonus, 0.4), (progress, 0.3), (effort, 0.4))
_STAGED: _Extras = (
    (behind, 0.5),
    (bonus, 0.4),
    (delivery_progress, 0.4),
    (gated_delivery, 0.2),
    (effort, 0.2),
)
_NUMBERS: _Extras = ((level, 0.6), (level, 0.3), (gain, 0.3), (effort, 0.4))


class BuiltinDesigner:
    """Implements `rewardsmith.llm.types.Provider` without a language model."""

    name = "builtin"
    model = "evolution"

    def __init__(self, settings: LLMSettings, environment: Mapping[str, str]) -> None:
        """Take the seed from the settings; the environment is not needed."""
        self._seed = settings.seed or 0

    def describe(self) -> str:
        """One line for the start of a run."""
        return "builtin, no language model: seeded evolution over reward terms"

    def complete(self, request: Request) -> Reply:
        """Design a reward; the same request and seed give the same reply."""
        brief: Brief = request.brief
        key = f"{self._seed}/{request.iteration}/{request.candidate}/{request.attempt}"
        chance = random.Random(key)
        terms = _design(brief, request.candidate, chance)
        return Reply(_write(terms), model=self.model, usage=Usage(requests=1))


def _design(brief: Brief, candidate: int, chance: random.Random) -> list[Term]:
    parents = [parent for parent in brief.parents if _read(parent.source)]
    fresh = not brief.operator and candidate > 0 and chance.random() < FRESH_SHARE
    if not parents or fresh:
        return _compose(brief, chance)
    if brief.operator == CROSSOVER and len(parents) > 1:
        one, other = (_read(parent.source) for parent in parents[:2])
        child = _cross(one, other, chance)
        same = {_genome(one), _genome(other)}
        return _mutate(child, brief, chance) if _genome(child) in same else child
    ranks = [2.0 ** (4.0 * parent.rank) for parent in parents]
    first: Sequence[Term] = _read(max(parents, key=lambda item: item.rank).source)
    if not brief.operator and candidate > 0:
        first = _read(chance.choices(parents, ranks)[0].source)
        if len(parents) > 1 and chance.random() < CROSSOVER_SHARE:
            first = _cross(first, _read(chance.choices(parents, ranks)[0].source), chance)
    return _mutate(first, brief, chance)


def _compose(brief: Brief, chance: random.Random) -> list[Term]:
    """A fresh reward: what the task is about, and perhaps some shaping."""
    if brief.stages and chance.random() < STAGED_SHARE:
        terms, extras = [approach(brief, chance), delivery(brief, chance)], _STAGED
    elif brief.pairs:
        terms, extras = [attraction(brief, chance)], _PLAIN
    else:
        terms, extras = [level(brief, chance)], _NUMBERS
    terms += [maker(brief, chance) for maker, share in extras if chance.random() < share]
    if brief.movements and not brief.stages and chance.random() < 0.15:
        terms.append(stillness(brief, chance))
    return _named(terms)


def _makers(brief: Brief) -> list[Maker]:
    """What a mutation may add."""
    makers: list[Maker] = list(dict(_PLAIN if brief.pairs else _NUMBERS))
    if brief.stages:
        makers += [approach, delivery, *dict(_STAGED)]
    if brief.pairs and any(item.column is None for item in brief.numbers):
        makers.append(level)
    return makers


def _cross(terms: Sequence[Term], others: Sequence[Term], chance: random.Random) -> list[Term]:
    pool = {term.body: term for term in [*others, *terms]}
    kept = [term for term in pool.values() if chance.random() < 0.6]
    return _named(kept if _is_dense(kept) else [*terms[:1], *kept])


def _mutate(terms: Sequence[Term], brief: Brief, chance: random.Random) -> list[Term]:
    """Change one thing; drawn again if it made no difference or left only events to reward."""
    for _ in range(ATTEMPTS):
        changed = _named(_changed(terms, brief, chance))
        if _genome(changed) != _genome(terms) and _is_dense(changed) >= _is_dense(terms):
            return changed
    return _named([*terms[: MAX_TERMS - 1], attraction(brief, chance)])


def _changed(terms: Sequence[Term], brief: Brief, chance: random.Random) -> list[Term]:
    changed = list(terms)
    place = chance.randrange(len(changed))
    kind = chance.choice(("weight", "kernel", "add", "drop"))
    term = changed[place]
    if kind == "add" and len(changed) < MAX_TERMS:
        changed.append(chance.choice(_makers(brief))(brief, chance))
    elif kind == "drop" and len(changed) > 1:
        del changed[place]
    elif kind == "kernel" and _KERNEL.search(term.body):
        factor = chance.choice((0.5, 0.7, 1.5, 2.0))
        body = _KERNEL.sub(
            lambda match: f"{match['before']}{number(float(match['number']) * factor)} *",
            term.body,
        )
        changed[place] = replace(term, body=body)
    else:
        weight = min(10.0, max(0.01, term.weight * chance.choice((0.3, 0.5, 2.0, 3.0))))
        changed[place] = replace(term, weight=weight)
    return changed


def _is_dense(terms: Sequence[Term]) -> bool:
    return any(term.is_dense for term in terms)


# -- text ---------------------------------------------------------------------------------------


def _genome(terms: Sequence[Term]) -> tuple[tuple[str, str], ...]:
    """What makes two rewards the same, whatever the names of their parts."""
    return tuple(sorted((number(term.weight), term.body) for term in terms))


def _named(terms: Sequence[Term]) -> list[Term]:
    """Drop equal terms and number equal names."""
    unique = list({term.body: term for term in terms}.values())[:MAX_TERMS]
    named: list[Term] = []
    for term in unique:
        base = re.sub(r"_\d+$", "", term.name)[:36].rstrip("_")
        taken = [other.name for other in named]
        count = 1
        while (name := base if count == 1 else f"{base}_{count}") in taken:
            count += 1
        named.append(replace(term, name=name))
    return named


def _write(terms: Sequence[Term]) -> str:
    lines = [f"    {term.name} = {number(term.weight)} * ({term.body})" for term in terms]
    names = [term.name for term in terms]
    parts = ", ".join(f'"{name}": {name}' for name in names)
    return "\n".join(
        [
            f"A reward of {len(terms)} part{'s' if len(terms) > 1 else ''}: {', '.join(names)}.",
            "",
            "```python",
            "def compute_reward(state, action, next_state):",
            *lines,
            f"    reward = {' + '.join(names)}",
            f"    return reward, {{{parts}}}",
            "```",
            "",
        ]
    )


@lru_cache(maxsize=1 << 16)  # every request of every iteration names every parent again
def _read(source: str) -> tuple[Term, ...]:
    """The terms of a reward of our own making; of another's, what can stand alone."""
    found = (
        Term(match["name"], float(match["weight"]), match["body"])
        for match in _LINE.finditer(source)
    )
    return tuple(term for term in found if _stands_alone(term.body))


def _stands_alone(body: str) -> bool:
    """Whether it reads nothing but the transition: another's line may use other lines' names."""
    try:
        tree = ast.parse(body, mode="eval")
    except SyntaxError:
        return False
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names <= {"np", "state", "action", "next_state"}
