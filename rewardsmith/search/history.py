"""The chat that a request carries: the task, a summary, and the last turns, within a budget.

A turn is what was said last time and what came of it: the reply that was best in an iteration, and
the reflection on it. Four turns are told (so many helped in BIRD, a study of 30 design choices,
2026); older ones shrink to a line each in a table. Where the whole is over the budget,
turns go into the table first, oldest first; then tables get shorter; then long sources and replies
are cut in the middle.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from rewardsmith.llm.types import Message
from rewardsmith.search.base import rank
from rewardsmith.search.prompts import (
    fitness_text,
    reflection_prompt,
    render,
    system_prompt,
    task_prompt,
)
from rewardsmith.search.reflection import FULL, Detail, cut_middle, quote, short
from rewardsmith.tasks.task import RandomPlay, Task
from rewardsmith.types import Trial

TURNS = 4
CHARACTERS_PER_TOKEN = 3.5
TOKENS_PER_MESSAGE = 4
SUMMARY_ROWS = 20
NOTHING_SAID = "(no reward function that could be trained)"


@dataclass(frozen=True)
class Turn:
    """One iteration, as it was when it ended.

    Attributes:
        iteration: its number.
        trials: of this iteration, in order.
        ranking: all trained trials up to then, best first.
    """

    iteration: int
    trials: tuple[Trial, ...]
    ranking: tuple[Trial, ...]
    _texts: dict[tuple[int | None, Detail, bool], str] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @property
    def best(self) -> Trial | None:
        """The best trial up to then."""
        return next(iter(self.ranking), None)

    @cached_property
    def own_best(self) -> Trial | None:
        """The best trial of this iteration."""
        return next(iter(rank(self.trials)), None)


@dataclass(frozen=True)
class _Plan:
    """How much of the past is told.

    Attributes:
        turns: that are told in full.
        detail: of their reflections.
        reply: most characters of each reply.
        rows: of the summary.
    """

    turns: int = TURNS
    detail: Detail = FULL
    reply: int = 24_000
    rows: int = SUMMARY_ROWS


def conversation(
    task: Task,
    play: RandomPlay,
    number: int,
    count: int,
    turns: Sequence[Turn],
    prompt_tokens: int,
) -> tuple[Message, ...]:
    """The messages of one request, of at most `prompt_tokens` by `estimate_tokens`.

    The task is never cut: with a budget below it, the chat is the task and the shortest account
    of the last turn. What repairs add comes on top.

    Args:
        task: to design a reward for.
        play: its random play.
        number: of the request in its iteration, from 1.
        count: requests of the iteration.
        turns: all iterations so far, oldest first.
        prompt_tokens: the budget.
    """
    start = task_prompt(task, play, number, count)
    if not turns:
        return Message("system", system_prompt()), Message("user", start)
    messages: tuple[Message, ...] = ()
    for plan in _plans(len(turns)):
        messages = _messages(start, turns, task.horizon, plan)
        if estimate_tokens(messages) <= prompt_tokens:
            break
    return messages


def estimate_tokens(messages: Sequence[Message]) -> int:
    """Tokens of a chat: characters / 3.5, rounded up, and 4 for each message's frame.

    An estimate: every provider has a tokenizer of its own, few can be had without the network, and
    all of them are off for another model. English prose has more characters per token (4 to 5),
    code and tables of numbers fewer (2.5 to 4), so that it is about right for these prompts.
    """
    return sum(
        math.ceil(len(message.content) / CHARACTERS_PER_TOKEN) + TOKENS_PER_MESSAGE
        for message in messages
    )


def reflect(turn: Turn, horizon: int | None, detail: Detail = FULL, asks: bool = True) -> str:
    """The reflection on one iteration; worked out once, since all requests carry the same."""
    key = (horizon, detail, asks)
    if key not in turn._texts:
        turn._texts[key] = reflection_prompt(
            turn.iteration, turn.trials, turn.ranking, turn.best, horizon, detail, asks
        )
    return turn._texts[key]


def summary(turns: Sequence[Turn], ranking: Sequence[Trial], rows: int = SUMMARY_ROWS) -> str:
    """A table with one line for each iteration; the latest ones if there are many.

    Args:
        turns: that are summed up.
        ranking: all trained trials so far, best first.
        rows: most lines.
    """
    shown = turns[max(0, len(turns) - rows) :]
    return render(
        "summary",
        rows=[_line(turn, ranking) for turn in shown],
        left_out=len(turns) - len(shown),
    )


# -- inside -------------------------------------------------------------------------------------


def _plans(turns: int) -> Iterator[_Plan]:
    """From all that should be told to the least, in the order in which it is given up."""
    for told in range(min(TURNS, turns), 0, -1):
        yield _Plan(told)
    plan = _Plan(1)
    for candidates, failures, parts, looks in ((16, 8, 12, 5), (8, 5, 8, 3), (4, 3, 4, 2)):
        detail = replace(FULL, candidates=candidates, failures=failures, parts=parts, looks=looks)
        plan = replace(plan, detail=detail, rows=candidates)
        yield plan
    for length in (8_000, 4_000, 2_000, 1_000, 400):
        plan = replace(plan, detail=replace(plan.detail, source=length), reply=length)
        yield plan
    detail = Detail(candidates=1, failures=1, parts=1, looks=1, source=0)
    yield _Plan(1, detail, reply=200, rows=1)


def _messages(
    start: str, turns: Sequence[Turn], horizon: int | None, plan: _Plan
) -> tuple[Message, ...]:
    told, older = turns[-plan.turns :], turns[: -plan.turns]
    if older:
        start += "\n" + summary(older, turns[-1].ranking, plan.rows)
    messages = [Message("system", system_prompt()), Message("user", start)]
    for turn in told:
        last = turn is told[-1]
        messages += [
            Message("assistant", _said(turn, plan.reply)),
            Message("user", reflect(turn, horizon, _detail(turn, last, plan.detail), asks=last)),
        ]
    return tuple(messages)


def _said(turn: Turn, length: int) -> str:
    trial = turn.own_best
    said = trial.candidate.reply.strip() if trial else ""
    return cut_middle(said, length) or NOTHING_SAID


def _detail(turn: Turn, last: bool, detail: Detail) -> Detail:
    """The source of the best is told once: in the last turn, unless it is the reply above it."""
    return detail if last and turn.best != turn.own_best else replace(detail, source=0)


def _line(turn: Turn, ranking: Sequence[Trial]) -> dict[str, str | int]:
    trial = turn.own_best
    if trial is None:
        reasons = sorted({item.evaluation.status.value for item in turn.trials})
        what = f"nothing could be trained ({', '.join(reasons).replace('_', ' ')})"
        return {"iteration": turn.iteration, "label": "–", "fitness": "–", "what": what}
    return {
        "iteration": turn.iteration,
        "label": trial.candidate.label,
        "fitness": fitness_text(trial, ranking),
        "what": _gist(trial),
    }


def _gist(trial: Trial) -> str:
    """Names of a reward's components, with the weights that its code shows plainly."""
    curves = trial.evaluation.curves
    names = list(curves[0][0].components) if curves and curves[0] else []
    assert trial.candidate.reward is not None
    known = weights(trial.candidate.reward.source) if names else {}
    texts = [f"{short(known[name])} × {name}" if name in known else name for name in names]
    return quote(" + ".join(texts), 120) if names else "–"


@lru_cache(maxsize=256)
def weights(source: str) -> dict[str, float]:
    r"""Numbers that variables of a reward begin with, as in ``near = 2.0 * np.exp(-gap)``.

    Examples:
        >>> weights("a = -0.5 * x * y\nb = x")
        {'a': -0.5}
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            number = _first_factor(node.value)
            if number is not None:
                found[node.targets[0].id] = number
    return found


def _first_factor(node: ast.expr) -> float | None:
    product = False
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        node, product = node.left, True
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node, sign = node.operand, -1.0
    number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    return sign * float(node.value) if product and number else None  # type: ignore[attr-defined]
