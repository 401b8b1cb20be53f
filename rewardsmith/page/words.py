"""Sentences of the page: how a run stands, what came out, and how the numbers were made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rewardsmith.headline import HUMAN, SPARSE


def state(found: dict[str, Any]) -> str:
    """How a run stands, in a sentence; the live page counts on from it."""
    name, reason = found["name"], found["reason"]
    if name == "finished":
        return "The run is finished."
    if name == "stopped":
        return f"The run stopped early: {reason}"
    if name == "unfinished":
        return "The run was not finished: it holds no result."
    silent = found["now"] - (found["last"] or found["now"])
    if silent > found["quiet_after"]:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(found["last"]))
        return f"The run is not finished, and nothing has been heard of it since {since}."
    phase = f": {found['phase']}" if found["phase"] else ""
    return f"The run is going on{phase}."


def outcome(data: dict[str, Any]) -> str:
    """What came out, or what is known so far, in a sentence or two."""
    if data["headline"] and data["headline"][0]["fitness"]:
        return _headline(data)
    best = next((row for row in data["candidates"] if row["label"] == data["best"]), None)
    if data["test"] and best is not None:
        return (
            f"The best reward is {best['label']}: its policy "
            f"{_reaches(data['test'], 'test episodes')}."
        )
    if best is not None and best["fitness"]:
        return (
            f"The best so far is {best['label']}: it "
            f"{_reaches(best['fitness'], 'episodes that candidates are ranked by')}."
        )
    if data["state"]["name"] in ("finished", "stopped"):
        return "No reward was found: no candidate could be trained and evaluated."
    return "No candidate has been trained and evaluated yet."


def _headline(data: dict[str, Any]) -> str:
    winner, *others = data["headline"]
    fitness = winner["fitness"]
    text = (
        f"The best reward is {winner['candidate']}: trained from scratch on "
        f"{_count(fitness['seeds'], 'fresh seed')}, it {_reaches(fitness, 'test episodes')} that "
        "nothing was selected by."
    )
    return text + _against(others)


def _against(others: Sequence[dict[str, Any]]) -> str:
    """How the winner stands against the baselines, in a sentence for each verdict."""
    verdicts: dict[str, list[str]] = {}
    for row in others:
        name = next((item for item in row["names"] if item in (SPARSE, HUMAN)), None)
        better = row["winner_is_better"]
        if name is not None and better is not None:
            verdict = _BETTER if better["low"] > 0.5 else _WORSE if better["high"] < 0.5 else _OPEN
            verdicts.setdefault(verdict, []).append(f"the {name} reward")
    return "".join(f" {verdict} {' and '.join(names)}." for verdict, names in verdicts.items())


_BETTER = "It is better than"
_WORSE = "It is worse than"
_OPEN = "It cannot be told apart from"


def _reaches(fitness: dict[str, Any], episodes: str) -> str:
    low, mean, high = fitness["low"], fitness["mean"], fitness["high"]
    number = fitness["episodes"]
    if fitness["kind"] == "success":
        return f"solves {mean:.0%} [{low:.0%}, {high:.0%}] of {number} {episodes}"
    return f"reaches a mean return of {mean:.1f} [{low:.1f}, {high:.1f}] on {number} {episodes}"


def notes(config: dict[str, Any], data: dict[str, Any]) -> list[str]:
    """How the numbers of the page were made."""
    experiment, training = config.get("experiment") or {}, config.get("training") or {}
    what = "success" if data["kind"] == "success" else "the environment's own return"
    found = [
        f"Candidates are ranked by {what} on {experiment.get('evaluation_episodes', 'some')} "
        "episodes for each training seed, which none was trained on. The best of many on the same "
        "episodes looks better than it is: these numbers choose, and prove nothing.",
        "The headline rests on other episodes "
        f"({experiment.get('test_episodes', 'some')} for each seed), which nothing was selected "
        "by, and on fresh trainings from scratch where there are any.",
        "Intervals hold with 95 %, over training seeds and over episodes, whichever is wider.",
        f"Curves show looks at the policy during training, of "
        f"{_count(training.get('checkpoint_episodes', 0), 'episode')} for each seed.",
        "“Winner is better” is how likely one fresh training of the winner beats one of that "
        "reward; a tie counts half. “Normalised” puts the sparse reward at 0 and the human one at "
        "1; it is left out where these two cannot be told apart.",
        "Own return is what a candidate's own reward adds up to. It has a scale of its own, and "
        "cannot be compared between candidates.",
    ]
    if data["kind"] != "success":
        found.append(
            "This environment reports no success. Its own return takes the place of it, and is "
            "kept from whoever writes the rewards."
        )
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
