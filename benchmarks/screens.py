"""How well the screens before training know what a training would show, and what they save.

Some forty FetchReach rewards (the fixed ones, a recorded reply, twelve of the built-in designer,
and variants of -distance and of the sparse reward that differ a little, in scale, by an offset or
by a monotone map) are trained in one population, in two runs of two trainings each. A reward's
outcome is its mean success over the looks, which says how early it came, and its success at the
end.

- Duplicates: for all pairs, whether the screen flags them, and how far their outcomes are apart;
  beside it the pairs that have equal ranks, and those that are affine maps of each other. Two
  trainings of one reward say how much is chance.
- Preference: which rewards put failed episodes of the other run's store above successful ones, and
  how they did. Further, untrained: sincere FetchPush rewards on episodes of random play, where
  success is chance.
- Savings: what is flagged of the built-in designer's rewards in searches of three iterations whose
  fitness is drawn at random.

Usage: ``python benchmarks/screens.py [--quick]`` (10 minutes on two idle cores; ``--quick`` does
one run, which is then judged by its own store, and writes nothing).
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import FOLDER, rewards, settings, write
from population import train

from rewardsmith.evaluation import play_episode
from rewardsmith.experience import StoredEpisode
from rewardsmith.llm.builtin import BuiltinDesigner
from rewardsmith.llm.types import Reply, Request
from rewardsmith.reward.extract import extract_code
from rewardsmith.reward.likeness import Likeness, likeness
from rewardsmith.reward.process import RewardProcess
from rewardsmith.search.author import Author
from rewardsmith.search.base import NoOptions
from rewardsmith.search.greedy import Greedy
from rewardsmith.search.screens import (
    FAIR_SHARE,
    SAME_SCALE,
    SAME_VALUES,
    Screens,
    build_store,
    is_same,
)
from rewardsmith.tasks.task import RandomPlay, Task, build_task, play_randomly
from rewardsmith.types import (
    Evaluation,
    Fitness,
    FloatArray,
    RewardFunction,
    Status,
    Transitions,
    Trial,
)

STEPS = 5_000
LOOKS = 10
EPISODES = 20
TRAININGS = 2
DESIGNED = 12
SOLVED = 0.8
SEARCHES = 3
CHANCE_EPISODES = 150
DISTANCE = 'd = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)'
EFFORT = "np.mean(np.square(action), axis=-1)"
VARIANTS = {
    "linear": "-d",
    "linear_2_plus_3": "3.0 - 2.0 * d",
    "linear_10": "-10.0 * d",
    "linear_100": "-100.0 * d",
    "linear_1000": "-1000.0 * d",
    "linear_hundredth": "-0.01 * d",
    "exp_1": "np.exp(-d)",
    "exp_10": "np.exp(-10.0 * d)",
    "exp_12": "np.exp(-12.0 * d)",
    "exp_30": "np.exp(-30.0 * d)",
    "tanh_10": "1.0 - np.tanh(10.0 * d)",
    "squared": "-np.square(d)",
    "root": "-np.sqrt(d)",
    "linear_effort_0001": f"-d - 0.001 * {EFFORT}",
    "linear_effort_001": f"-d - 0.01 * {EFFORT}",
    "linear_effort_01": f"-d - 0.1 * {EFFORT}",
    "linear_bonus": "-d + np.where(d < 0.05, 0.1, 0.0)",
    "sparse_one": "np.where(d < 0.05, 1.0, 0.0)",
    "sparse_ten": "np.where(d < 0.05, 10.0, 0.0)",
    "sparse_3_cm": "np.where(d < 0.03, 0.0, -1.0)",
    "sparse_10_cm": "np.where(d < 0.10, 0.0, -1.0)",
    "away": "d",
}


@dataclass(frozen=True)
class Outcome:
    """How one training of a reward did.

    Attributes:
        success: on the last episodes.
        early: mean success over the looks.
    """

    success: float
    early: float


def sources(task: Task, play: RandomPlay) -> dict[str, str]:
    """The rewards, by name."""
    reply = FOLDER.parent / "tests" / "data" / "replies" / "reach" / "good_0.md"
    known = {**rewards("reach"), "reply_0": extract_code(reply.read_text()) or ""}
    for name, expression in VARIANTS.items():
        body = f"    {DISTANCE}\n    value = {expression}\n    return value, {{'value': value}}\n"
        known[name] = f"def compute_reward(state, action, next_state):\n{body}"
    chosen = settings(f"experiment.candidates={DESIGNED}")
    designer = BuiltinDesigner(chosen.llm, {})
    for number, request in enumerate(Greedy(NoOptions(), chosen, task, play).ask(1)):
        known[f"designed_{number}"] = extract_code(designer.complete(request).text) or ""
    return known


def outcomes(seed: int, named: dict[str, str], trainings: int, kept: Path) -> list[list[Outcome]]:
    """Train all rewards once; one list of trainings for each of them."""
    chosen = settings(
        "sandbox.allow_weaker=true",
        f"experiment.seed={seed}",
        f"training.total_timesteps={STEPS}",
        f"training.checkpoints={LOOKS}",
        "training.checkpoint_episodes=4",
    )
    looks: dict[tuple[int, int], list[float]] = {}

    def look(number: int, training: int, point: dict[str, Any], seconds: float) -> None:
        looks.setdefault((number, training), []).append(point["success"])

    trained = train(
        chosen, list(named.values()), EPISODES, look, trainings=trainings, experience=str(kept)
    )
    return [
        [
            Outcome(score, float(np.mean(looks[number, training])))
            for training, score in enumerate(scores)
        ]
        for number, scores in enumerate(trained.scores)
    ]


def evaluate(task: Task, source: str, batch: Transitions) -> FloatArray:
    """Rewards of N transitions."""
    with RewardProcess(task.layout, settings("sandbox.allow_weaker=true").sandbox) as process:
        process.load(RewardFunction(source))
        return process.evaluate(batch.state, batch.action, batch.next_state).total


def early(trainings: Sequence[Outcome]) -> float:
    """How early a reward's success came, mean over its trainings."""
    return float(np.mean([item.early for item in trainings]))


def gaps(pairs: Sequence[tuple[str, str]], known: dict[str, list[Outcome]]) -> dict[str, Any]:
    """How far the outcomes of some pairs are apart."""
    values = [abs(early(known[first]) - early(known[second])) for first, second in pairs]
    if not values:
        return {"pairs": 0}
    mean, most = round(float(np.mean(values)), 3), round(float(np.max(values)), 3)
    return {"pairs": len(values), "mean_gap": mean, "largest_gap": most}


def duplicates(
    task: Task, play: RandomPlay, named: dict[str, str], known: dict[str, list[Outcome]]
) -> dict[str, Any]:
    """Compare all pairs on random play, as the first iteration of a run does."""
    sample = Transitions.concatenate([play.transitions, play.probe])
    values = {name: evaluate(task, source, sample) for name, source in named.items()}
    found: dict[tuple[str, str], Likeness] = {
        (first, second): likeness(values[first], values[second])
        for first, second in itertools.combinations(named, 2)
    }
    flagged = [pair for pair, item in found.items() if is_same(item)]
    ranks = [pair for pair, item in found.items() if item.spearman > 0.99999]
    affine = [pair for pair, item in found.items() if item.pearson >= SAME_VALUES]
    near = [pair for pair in affine if found[pair].scale <= SAME_SCALE]
    twice = itertools.chain(*map(_twos, known.values()))
    same = [round(abs(first.early - second.early), 3) for first, second in twice]
    return {
        "one_reward_twice": {"mean_gap": round(float(np.mean(same)), 3), "largest_gap": max(same)},
        "flagged": {**gaps(flagged, known), "names": flagged},
        "equal_ranks": gaps(ranks, known),
        "affine": gaps(affine, known),
        "affine_of_near_scale": gaps(near, known),
        "all": gaps(list(found), known),
    }


def _twos(trainings: Sequence[Outcome]) -> list[tuple[Outcome, Outcome]]:
    """Trainings of one reward that ran in the same population."""
    return [(trainings[at], trainings[at + 1]) for at in range(0, len(trainings) - 1, 2)]


def preferences(
    task: Task,
    play: RandomPlay,
    named: dict[str, str],
    runs: Sequence[dict[str, list[Outcome]]],
    files: Sequence[Path],
) -> list[dict[str, Any]]:
    """What the screen says of each reward with the other run's store, and how it did."""
    rows = []
    for number, outcome in enumerate(runs):
        store = build_store(play, [files[number - 1]], 0)
        batch = Transitions.concatenate([episode.transitions for episode in store.episodes])
        for name, source in named.items():
            found = store.preference(evaluate(task, source, batch))
            success = float(np.mean([item.success for item in outcome[name]]))
            rows.append(
                {
                    "run": number,
                    "reward": name,
                    "success": success,
                    **(asdict(found) if found else {}),
                }
            )
    return rows


def by_chance(name: str) -> dict[str, int]:
    """Sincere rewards of a harder task, where random play succeeds only by chance."""
    task = build_task(settings(f"env={name}").env)
    env = task.make()
    env.action_space.seed(0)
    played = [
        play_episode(task, env, lambda _: env.action_space.sample(), seed)
        for seed in range(CHANCE_EPISODES)
    ]
    env.close()
    episodes = tuple(StoredEpisode(item.transitions, item.success) for item in played)
    first = episodes[0].transitions
    store = build_store(RandomPlay(first, first, episodes), [], 0)
    batch = Transitions.concatenate([episode.transitions for episode in store.episodes])
    replies = (FOLDER.parent / "tests" / "data" / "replies" / name).glob("good_*.md")
    sources = [*rewards(name).values(), *(extract_code(file.read_text()) for file in replies)]
    found = [store.preference(evaluate(task, source or "", batch)) for source in sources]
    return {
        "rewards": len(sources),
        "successes": len(store.successes),
        "judged": sum(item is not None for item in found),
        "flagged": sum(item is not None and item.high < FAIR_SHARE for item in found),
    }


class Answering:
    """Stands in for a session: the designer answers at once."""

    def __init__(self, designer: BuiltinDesigner) -> None:
        """Take the designer."""
        self._designer = designer

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer all."""
        return [self._designer.complete(request) for request in requests]


def saved(task: Task, play: RandomPlay, seed: int) -> list[str]:
    """Reasons for which a search's candidates are stopped, "" for those that are not."""
    chosen = settings("sandbox.allow_weaker=true", f"llm.seed={seed}", "experiment.candidates=8")
    experiment, chance = chosen.experiment, random.Random(seed)
    strategy = Greedy(NoOptions(), chosen, task, play)
    screens = Screens(experiment.screens, task, play, chosen.sandbox)
    session: Any = Answering(BuiltinDesigner(chosen.llm, {}))
    author = Author(session, task, play, chosen.sandbox, 0, screens)
    reasons: list[str] = []
    for number in range(1, experiment.iterations + 1):
        candidates = author.write(strategy.ask(number), lambda _: None)
        reasons += [item.fault.reason if item.fault else "" for item in candidates]
        trials = [
            Trial(item, Evaluation(item.fault.status, fault=item.fault))
            if item.fault
            else Trial(item, Evaluation(Status.OK, _fitness(chance.random())))
            for item in candidates
        ]
        strategy.tell(number, trials)
    return reasons


def _fitness(mean: float) -> Fitness:
    return Fitness("success", mean, 0.0, 1.0, 15, 1, 0.0, 50.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    task = build_task(settings().env)
    play = play_randomly(task, 0)
    named = sources(task, play)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{seed}.npz" for seed in range(1 if quick else 2)]
        runs = [
            dict(zip(named, outcomes(seed, named, TRAININGS, file), strict=True))
            for seed, file in enumerate(files)
        ]
        report(task, play, named, runs, files, quick)


def report(
    task: Task,
    play: RandomPlay,
    named: dict[str, str],
    runs: Sequence[dict[str, list[Outcome]]],
    files: Sequence[Path],
    quick: bool,
) -> None:
    """Compare the screens' verdicts with the outcomes, print, and write."""
    known = {name: [item for run in runs for item in run[name]] for name in named}
    pairs = duplicates(task, play, named, known)
    rows = preferences(task, play, named, runs, files)
    chance = by_chance("push")
    reasons = [reason for seed in range(SEARCHES) for reason in saved(task, play, seed)]
    flagged = [row for row in rows if row.get("high", 1.0) < FAIR_SHARE]
    headline = {
        "rewards": len(named),
        "trainings": sum(map(len, known.values())),
        **{f"{kind}_{key}": value for kind, item in pairs.items() for key, value in item.items()},
        "preference_judged": sum("share" in row for row in rows),
        "preference_flagged": len(flagged),
        "preference_flagged_though_solved": sum(row["success"] >= SOLVED for row in flagged),
        "not_solved": sum(row["success"] < SOLVED for row in rows),
        **{f"push_by_chance_{key}": value for key, value in chance.items()},
        "designed": len(reasons),
        "designed_static_duplicates": reasons.count("static_duplicate"),
        "designed_behavioural_duplicates": reasons.count("behavioural_duplicate"),
    }
    names = headline.pop("flagged_names")
    for key, value in headline.items():
        print(f"{key}: {value}")
    print("flagged:", names)
    if not quick:
        trained = {name: [asdict(item) for item in items] for name, items in known.items()}
        write("screens", headline, flagged=names, preferences=rows, trained=trained)


if __name__ == "__main__":
    main()
