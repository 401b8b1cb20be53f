"""The built-in designer: no language model, but a seeded evolutionary search over reward terms.

It makes a run possible without a key and without a network, and it is the control that a language
model has to beat. It composes terms from the task's own fields: distances between fields of one
unit, progress, velocities, effort, bonuses, with exponential, tanh and linear kernels. From the
second iteration on it mutates and crosses over the rewards that did best. Its replies look like a
language model's, and the code is the genome: one line per term, ``name = weight * (body)``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewardsmith.llm.types import Reply, Request, Usage
from rewardsmith.settings import LLMSettings

FRESH_SHARE = 0.2
"""How often a later candidate is composed anew instead of from parents."""
CROSSOVER_SHARE = 0.5
MAX_TERMS = 5
GOAL_WEIGHT = 4.0
"""How much likelier a distance to a goal is picked than another."""

_LINE = re.compile(
    r"^    (?P<name>[a-z]\w*) = (?P<weight>\d+(?:\.\d+)?) \* \((?P<body>.+)\)$", re.M
)
_KERNEL = re.compile(r"(?P<before>np\.exp\(-|np\.tanh\()(?P<number>\d+(?:\.\d+)?) \*")


@dataclass(frozen=True)
class Pair:
    """Two fields that can be close to or far from each other.

    Attributes:
        first: name of a field.
        second: name of a field of the same unit and width.
        scale: their typical distance in random play.
        is_goal: one of them is a goal.
    """

    first: str
    second: str
    scale: float
    is_goal: bool


@dataclass(frozen=True)
class Parent:
    """An earlier reward: its source and how many of the others it beat, 0 to 1."""

    source: str
    rank: float


@dataclass(frozen=True)
class Brief:
    """What the designer knows; it does not read the prompt.

    Attributes:
        pairs: fields whose distance varies.
        movements: velocity fields, by name, with their typical size.
        columns: plain vectors (name, column, typical size) for tasks without pairs.
        parents: earlier rewards.
    """

    pairs: tuple[Pair, ...]
    movements: Mapping[str, float]
    columns: tuple[tuple[str, int, float], ...]
    parents: tuple[Parent, ...]


@dataclass(frozen=True)
class Term:
    """One part of a reward."""

    name: str
    weight: float
    body: str


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
    if not parents or (candidate > 0 and chance.random() < FRESH_SHARE):
        return _compose(brief, chance)
    ranks = [2.0 ** (4.0 * parent.rank) for parent in parents]
    first = max(parents, key=lambda item: item.rank)
    if candidate > 0:
        first = chance.choices(parents, ranks)[0]
    terms = _read(first.source)
    if candidate > 0 and len(parents) > 1 and chance.random() < CROSSOVER_SHARE:
        terms = _cross(terms, _read(chance.choices(parents, ranks)[0].source), chance)
    return _mutate(terms, brief, chance)


def _compose(brief: Brief, chance: random.Random) -> list[Term]:
    """A fresh reward: something to get near to, and perhaps some shaping."""
    terms = [_attraction(brief, chance)]
    for maker, share in ((_attraction, 0.35), (_bonus, 0.4), (_progress, 0.3), (_effort, 0.4)):
        if chance.random() < share:
            terms.append(maker(brief, chance))
    if brief.movements and chance.random() < 0.15:
        terms.append(_stillness(brief, chance))
    return _named(terms)


def _cross(terms: Sequence[Term], others: Sequence[Term], chance: random.Random) -> list[Term]:
    pool = {term.body: term for term in [*others, *terms]}
    kept = [term for term in pool.values() if chance.random() < 0.6]
    return _named(kept or list(terms))


def _mutate(terms: Sequence[Term], brief: Brief, chance: random.Random) -> list[Term]:
    changed = list(terms)
    place = chance.randrange(len(changed))
    kind = chance.choice(("weight", "kernel", "add", "drop"))
    term = changed[place]
    if kind == "add" and len(changed) < MAX_TERMS:
        maker = chance.choice((_attraction, _bonus, _progress, _effort))
        changed.append(maker(brief, chance))
    elif kind == "drop" and len(changed) > 1:
        del changed[place]
    elif kind == "kernel" and _KERNEL.search(term.body):
        factor = chance.choice((0.5, 0.7, 1.5, 2.0))
        body = _KERNEL.sub(
            lambda match: f"{match['before']}{_number(float(match['number']) * factor)} *",
            term.body,
        )
        changed[place] = Term(term.name, term.weight, body)
    else:
        weight = min(10.0, max(0.01, term.weight * chance.choice((0.3, 0.5, 2.0, 3.0))))
        changed[place] = Term(term.name, weight, term.body)
    return _named(changed)


# -- terms --------------------------------------------------------------------------------------


def _attraction(brief: Brief, chance: random.Random) -> Term:
    if not brief.pairs:
        return _column(brief, chance)
    pair = _pick(brief, chance)
    distance, scale = _distance("next_state", pair), pair.scale
    sharpness = _number(chance.choice((0.5, 1.0, 2.0, 4.0)) / scale)
    body = chance.choice(
        (
            f"1.0 - np.tanh({sharpness} * {distance})",
            f"np.exp(-{sharpness} * {distance})",
            f"-{_number(1.0 / scale)} * {distance}",
        )
    )
    return Term(f"near_{pair.second}", chance.choice((0.5, 1.0, 1.0, 2.0)), body)


def _bonus(brief: Brief, chance: random.Random) -> Term:
    if not brief.pairs:
        return _column(brief, chance)
    pair = _pick(brief, chance)
    radius = _number(pair.scale * chance.choice((0.15, 0.25, 0.35)))
    body = f"np.where({_distance('next_state', pair)} < {radius}, 1.0, 0.0)"
    return Term(f"at_{pair.second}", chance.choice((0.5, 1.0, 2.0)), body)


def _progress(brief: Brief, chance: random.Random) -> Term:
    if not brief.pairs:
        return _column(brief, chance)
    pair = _pick(brief, chance)
    before, after = _distance("state", pair), _distance("next_state", pair)
    rate = _number(10.0 / pair.scale)
    body = f"{rate} * ({before} - {after})"
    return Term(f"toward_{pair.second}", chance.choice((0.3, 1.0)), body)


def _effort(brief: Brief, chance: random.Random) -> Term:
    body = "-np.mean(np.square(action), axis=-1)"
    return Term("effort", chance.choice((0.01, 0.05, 0.1)), body)


def _stillness(brief: Brief, chance: random.Random) -> Term:
    name = chance.choice(sorted(brief.movements))
    rate = _number(1.0 / brief.movements[name])
    body = f'-{rate} * np.mean(np.abs(next_state["{name}"]), axis=-1)'
    return Term(f"calm_{name}", chance.choice((0.02, 0.1)), body)


def _column(brief: Brief, chance: random.Random) -> Term:
    """For tasks whose fields say nothing about distances: one number, wanted high, low or zero."""
    name, column, scale = chance.choice(brief.columns)
    value = f'next_state["{name}"][:, {column}]'
    rate = _number(1.0 / scale)
    body = chance.choice(
        (f"{rate} * {value}", f"-{rate} * {value}", f"np.exp(-{rate} * np.abs({value}))")
    )
    return Term(f"column_{column}", chance.choice((0.3, 1.0, 2.0)), body)


def _pick(brief: Brief, chance: random.Random) -> Pair:
    weights = [GOAL_WEIGHT if pair.is_goal else 1.0 for pair in brief.pairs]
    return chance.choices(brief.pairs, weights)[0]


def _distance(when: str, pair: Pair) -> str:
    return f'np.linalg.norm({when}["{pair.first}"] - {when}["{pair.second}"], axis=-1)'


def _number(value: float) -> str:
    text = f"{max(value, 1e-3):.3g}"
    return f"{float(text):.10g}" if "e" in text else text


# -- text ---------------------------------------------------------------------------------------


def _named(terms: Sequence[Term]) -> list[Term]:
    """Drop equal terms and number equal names."""
    unique = list({term.body: term for term in terms}.values())[:MAX_TERMS]
    named: list[Term] = []
    for term in unique:
        base = re.sub(r"_\d+$", "", term.name)[:36]
        taken = [other.name for other in named]
        number = 1
        while (name := base if number == 1 else f"{base}_{number}") in taken:
            number += 1
        named.append(Term(name, term.weight, term.body))
    return named


def _write(terms: Sequence[Term]) -> str:
    lines = [f"    {term.name} = {_number(term.weight)} * ({term.body})" for term in terms]
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


def _read(source: str) -> list[Term]:
    return [
        Term(match["name"], float(match["weight"]), match["body"])
        for match in _LINE.finditer(source)
    ]
