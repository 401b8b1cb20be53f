"""How long until every reward that can be solved is solved: one population against many trainings.

Eight FetchReach rewards (``rewards/reach``: one sparse, five sensible, two bad), each with three
seeds, are trained

- by ``training=population``: all together, as shipped for FetchReach;
- (a) by ``training=sb3`` with the same networks, batch, normalisation, discount, temperature and
  updates per step, one process per core.

With one seed, the population is compared with (a) again, and

- (b) with Stable-Baselines3's SAC with its defaults, one process per core.

All sides look at their policies alike (5 episodes every 500 steps, counted in) and evaluate
rewards in the same locked processes. A training is solved at the second look in a row with success
of at least 0.9 (one alone can be luck). (a) and (b) stop a training when it is solved, or after its
budget; one that is not solved then counts with the time that its budget took, so that ratios with
such a training are lower bounds. The time of (a) and (b) is the sum over the trainings divided by
the number of cores: as if every core were busy to the end, and as if it were known beforehand which
rewards can be solved at all (the others are left out). The population's time is that of its last
solved training, with all others learning beside it, from the start of its process; one that it does
not solve counts with its whole wall time.

Usage: ``python benchmarks/population_vs_sb3.py [--quick]`` (30 minutes; ``--quick`` takes one seed
and smaller budgets, 8 minutes, and writes nothing).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import cores, executor, rewards, settings, write
from population import train
from scipy.stats import kendalltau

from rewardsmith.evaluation import RANKING_SEEDS, held_out_seeds, training_seed
from rewardsmith.execution import Job
from rewardsmith.settings import Settings
from rewardsmith.types import Episodes

SOLVED = 0.9
GOOD_LOOKS = 2
LOOK_STEPS = 500
LOOK_EPISODES = 5
FINAL_EPISODES = 30
SHARED_STEPS = 5_000
SPARSE = ("sparse",)
SEEDS = 3
BUDGET = {"tuned": 12_000, "default": 20_000}
QUICK_BUDGET = {"tuned": 8_000, "default": 3_000}
Result = dict[str, Any]
Run = dict[str, Result]


class Solved(Exception):
    """There is no need to go on."""


def solve(payload: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> Result:
    """Train with Stable-Baselines3 until a look says that it is solved; runs in a worker."""
    from rewardsmith.training import sb3_worker

    found: Result = {"solved": False, "steps": payload["training"]["total_timesteps"]}
    good = 0

    def look(data: dict[str, Any]) -> None:
        nonlocal good
        point = data.get("checkpoint")
        if point:
            good = good + 1 if point["success"] >= SOLVED else 0
        if good == GOOD_LOOKS:
            found.update(solved=True, steps=point["timesteps"], score=point["success"])
            raise Solved

    try:
        outcome = sb3_worker.train(payload, look)
        found["score"] = float(np.mean(Episodes(**outcome["episodes"]).successes))
    except Solved:
        pass
    return found


def overrides(steps: int) -> tuple[str, ...]:
    """What all sides have in common."""
    return (
        "sandbox.allow_weaker=true",
        f"training.total_timesteps={steps}",
        f"training.checkpoints={steps // LOOK_STEPS}",
        f"training.checkpoint_episodes={LOOK_EPISODES}",
    )


def like_population(population: Settings) -> tuple[str, ...]:
    """Arguments that give Stable-Baselines3's SAC what the population's learners have."""
    training: Any = population.training
    updates = training.updates_per_step
    keywords = {
        "learning_rate": training.learning_rate,
        "gamma": training.discount,
        "tau": training.tau,
        "batch_size": training.batch_size,
        "learning_starts": training.learning_starts,
        "train_freq": max(1, round(1 / updates)),
        "gradient_steps": max(1, round(updates)),
        "ent_coef": f"auto_{training.initial_temperature}",
        "target_entropy": training.entropy_per_action * 4,
        "policy_kwargs": f"{{net_arch: {list(training.hidden)}}}",
    }
    return tuple(f"+training.kwargs.{name}={value}" for name, value in keywords.items())


def train_together(trainings: int, sources: dict[str, str]) -> tuple[float, list[Run]]:
    """Train all rewards together; give the whole wall time, and what became of each seed."""
    shipped = settings(*overrides(SHARED_STEPS))
    names = list(sources)
    runs: list[Run] = [
        {name: {"solved": False, "steps": SHARED_STEPS} for name in names} for _ in range(trainings)
    ]
    good: dict[tuple[int, int], int] = {}

    def look(number: int, training: int, point: dict[str, Any], seconds: float) -> None:
        result = runs[training][names[number]]
        before = good.get((number, training), 0)
        good[number, training] = before + 1 if point["success"] >= SOLVED else 0
        if good[number, training] == GOOD_LOOKS and not result["solved"]:
            result.update(solved=True, steps=point["timesteps"], seconds=seconds)

    chosen = list(sources.values())
    outcome = train(shipped, chosen, FINAL_EPISODES, look, trainings=trainings)
    for name, scores in zip(names, outcome.scores, strict=True):
        for training, score in enumerate(scores):
            runs[training][name]["score"] = score
            runs[training][name].setdefault("seconds", outcome.seconds)
    return outcome.seconds, runs


def train_apart(seed: int, sources: dict[str, str], steps: int, arguments: tuple[str, ...]) -> Run:
    """Train each reward in a process of its own; give what became of each."""
    chosen = settings("training=sb3", *overrides(steps), *arguments, f"experiment.seed={seed}")
    seeds = held_out_seeds(RANKING_SEEDS, seed, FINAL_EPISODES)
    began: dict[str, float] = {}
    found: Run = {}
    workers = executor(cores())
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            Job(
                name,
                "population_vs_sb3:solve",
                {
                    "env": chosen.env.model_dump(),
                    "training": chosen.training.model_dump(by_alias=True),
                    "sandbox": chosen.sandbox.model_dump(),
                    "source": source,
                    "seed": training_seed(seed, 0),
                    "run_seed": seed,
                    "first_seed": seeds.start,
                    "episodes": len(seeds),
                    "model_file": f"{folder}/{name}.zip",
                    "tensorboard": f"{folder}/{name}",
                },
                Path(folder) / f"{name}.txt",
            )
            for name, source in sources.items()
        ]
        free = [time.monotonic()] * cores()  # since when each core has had nothing to do

        def done(name: str, outcome: Any) -> None:
            if outcome.error is not None:
                raise outcome.error
            now = time.monotonic()
            found[name] = {**outcome.value, "seconds": now - began[name]}
            for waiting in jobs:
                if waiting.name not in began:
                    began[waiting.name] = now
                    break

        for job, since in zip(jobs, free, strict=False):
            began[job.name] = since
        workers.run(jobs, on_done=done)
    return found


def mean_scores(runs: list[Run]) -> dict[str, float]:
    """Mean success of each reward; what is solved is solved, be it 0.93 or 1.00."""
    return {
        name: float(np.mean([min(run[name]["score"], SOLVED) for run in runs])) for name in runs[0]
    }


def mostly_solved(runs: list[Run]) -> set[str]:
    """Rewards that are solved in more than half of the seeds."""
    return {name for name in runs[0] if sum(run[name]["solved"] for run in runs) * 2 > len(runs)}


def time_together(runs: list[Run], solvable: list[str]) -> float:
    """Wall time until the last training of these rewards was solved."""
    return max(float(run[name]["seconds"]) for run in runs for name in solvable)


def time_apart(runs: list[Run], solvable: list[str]) -> float:
    """Wall time of trainings apart from one another, if no core is ever idle."""
    seconds = [float(run[name]["seconds"]) for run in runs for name in solvable]
    return max(sum(seconds) / cores(), max(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    sources = rewards("reach")
    budget = QUICK_BUDGET if quick else BUDGET
    seeds = 1 if quick else SEEDS
    for trainings in {1, seeds}:
        train_together(trainings, sources)  # compiles; later runs find that on disk
    wall, together = train_together(seeds, sources)
    print(f"population of {len(sources)} rewards × {seeds} seeds: {wall:.0f} s in all", flush=True)
    _, alone = train_together(1, sources)
    like = like_population(settings())
    tuned = []
    for seed in range(seeds):
        tuned.append(train_apart(seed, sources, budget["tuned"], like))
        _table(seed, together[seed], tuned[-1])
    solvable = sorted(mostly_solved(together) | mostly_solved(tuned))
    both = sorted(mostly_solved(together) & mostly_solved(tuned))
    plain = ("training.normalize_observations=false", "training.tuned={}")
    named = {name: sources[name] for name in solvable}
    default = train_apart(0, named, budget["default"], plain)
    print("Stable-Baselines3, defaults")
    for name, item in default.items():
        print(f"  {name:<10} {_text(item)}")

    ours, theirs = mean_scores(together), mean_scores(tuned)
    dense = [name for name in sources if name not in SPARSE]
    tau = kendalltau([ours[name] for name in dense], [theirs[name] for name in dense]).statistic
    pairs = [(ours[name], theirs[name]) for name in sources]
    everything = kendalltau(*zip(*pairs, strict=True)).statistic
    one, apart = time_together([alone[0]], solvable), time_apart(tuned, solvable)
    headline = {
        "ratio_tuned": round(apart / time_together(together, solvable), 1),
        "ratio_tuned_solved_by_both": round(
            time_apart(tuned, both) / time_together(together, both), 1
        ),
        "ratio_tuned_one_seed": round(time_apart(tuned[:1], solvable) / one, 1),
        "ratio_default": round(time_apart([default], solvable) / one, 1),
        "ratio_default_is_a_lower_bound": not all(item["solved"] for item in default.values()),
        "kendall_tau_dense": round(float(tau), 2),
        "kendall_tau_all": round(float(everything), 2),
        "population_seconds": round(time_together(together, solvable), 1),
        "population_one_seed_seconds": round(one, 1),
        "tuned_seconds": round(apart, 1),
        "default_seconds": round(time_apart([default], solvable), 1),
    }
    changed = [name for name in sources if (ours[name] >= SOLVED) != (theirs[name] >= SOLVED)]
    print(f"{'reward':<10} {'population':>10} {'SB3 tuned':>10}   success, at most {SOLVED}")
    for name in sources:
        verdict = "   sharing changes the verdict" if name in changed else ""
        print(f"{name:<10} {ours[name]:>10.2f} {theirs[name]:>10.2f}{verdict}")
    for key, value in headline.items():
        print(f"{key}: {value}")
    if not quick:
        details = {"population": together, "one_seed": alone, "tuned": tuned, "default": default}
        write("population_vs_sb3", headline, changed=changed, **details)


def _table(seed: int, together: Run, apart: Run) -> None:
    print(f"seed {seed}: seconds (steps) until solved, population and Stable-Baselines3")
    for name, ours in together.items():
        print(f"  {name:<10} {_text(ours):<32} {_text(apart[name])}", flush=True)


def _text(item: Result) -> str:
    return (
        f"{item['seconds']:7.1f} s ({item['steps']:>6,}){'' if item['solved'] else ' not solved'}"
    )


if __name__ == "__main__":
    main()
