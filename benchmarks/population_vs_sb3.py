"""How long until every reward that can be solved is solved: one population against many trainings.

Eight FetchReach rewards (``rewards/reach``: one sparse, five sensible, two bad) are trained

- by ``training=population``: all together, as shipped for FetchReach;
- (a) by ``training=sb3`` with the same networks, batch, normalisation, discount, temperature and
  updates per step, one process per core;
- (a') the same, but with as many updates per step as the population's learners make for each step
  that they take themselves (one learner takes an eighth of the steps);
- (b) by Stable-Baselines3's SAC with its defaults, one process per core.

All sides look at their policies alike (5 episodes every 500 steps, counted in) and evaluate
rewards in the same locked processes. A reward is solved at the second look in a row with
success of at least 0.9 (one alone can be luck). A side other than the population stops
training a reward when it is solved, or after its budget; a reward that it has not solved then
counts with the time that its budget took, so that ratios with such a reward are lower bounds. The
time of these sides is the sum over the rewards divided by the number of cores: as if every core
were busy to the end, and as if it were known beforehand which rewards can be solved at all (the
others are left out). The population's time is that of its last solved reward, with all eight
learning, from the start of its process.

Usage: ``python benchmarks/population_vs_sb3.py [--quick]`` (20 minutes; ``--quick`` takes one seed
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

from rewardsmith.evaluation import RANKING_SEEDS, Episodes, held_out_seeds, training_seed
from rewardsmith.execution import Job
from rewardsmith.settings import Settings

SOLVED = 0.9
GOOD_LOOKS = 2
LOOK_STEPS = 500
LOOK_EPISODES = 5
FINAL_EPISODES = 30
SHARED_STEPS = 5_000
SPARSE = ("sparse",)
SEEDS = 3
BUDGET = {"tuned": 12_000, "own": 4_000, "default": 8_000}
QUICK_BUDGET = {"tuned": 8_000, "own": 2_000, "default": 3_000}
Result = dict[str, Any]


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


def like_population(population: Settings, takers: int = 1) -> tuple[str, ...]:
    """Arguments that give Stable-Baselines3's SAC what the population's learners have.

    Args:
        population: as shipped.
        takers: learners that share the steps, so that each makes so many times the updates for
            each step of its own.
    """
    training: Any = population.training
    updates = training.updates_per_step * takers
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


def train_population(seed: int, sources: dict[str, str]) -> tuple[float, dict[str, Result]]:
    """Train all rewards together; give the whole wall time and what became of each."""
    shipped = settings(*overrides(SHARED_STEPS), f"experiment.seed={seed}")
    names = list(sources)
    found: dict[str, Result] = {name: {"solved": False, "steps": SHARED_STEPS} for name in names}

    good = [0] * len(names)

    def look(number: int, point: dict[str, Any], seconds: float) -> None:
        result = found[names[number]]
        good[number] = good[number] + 1 if point["success"] >= SOLVED else 0
        if good[number] == GOOD_LOOKS and not result["solved"]:
            result.update(solved=True, steps=point["timesteps"], seconds=seconds)

    outcome = train(shipped, list(sources.values()), FINAL_EPISODES, look)
    for name, score in zip(names, outcome.scores, strict=True):
        found[name]["score"] = score
        found[name].setdefault("seconds", outcome.seconds)
    return outcome.seconds, found


def train_apart(
    seed: int, sources: dict[str, str], steps: int, arguments: tuple[str, ...]
) -> dict[str, Result]:
    """Train each reward in a process of its own; give what became of each."""
    chosen = settings("training=sb3", *overrides(steps), *arguments, f"experiment.seed={seed}")
    seeds = held_out_seeds(RANKING_SEEDS, seed, FINAL_EPISODES)
    began: dict[str, float] = {}
    found: dict[str, Result] = {}
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


def mean_scores(runs: list[dict[str, Result]]) -> dict[str, float]:
    """Mean success of each reward; what is solved is solved, be it 0.93 or 1.00."""
    return {
        name: float(np.mean([min(run[name]["score"], SOLVED) for run in runs])) for name in runs[0]
    }


def time_apart(run: dict[str, Result], solvable: list[str]) -> float:
    """Wall time of trainings apart from one another, if no core is ever idle."""
    seconds = [run[name]["seconds"] for name in solvable]
    return max(sum(seconds) / cores(), max(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    sources = rewards("reach")
    budget = QUICK_BUDGET if quick else BUDGET
    train_population(0, sources)  # compiles; later runs find that on disk
    together, tuned = [], []
    for seed in range(1 if quick else SEEDS):
        together.append(train_population(seed, sources))
        like = like_population(settings())
        tuned.append(train_apart(seed, sources, budget["tuned"], like))
        _table(seed, together[-1], tuned[-1])
    runs = [run for _, run in together]
    # a reward can be solved if one of the sides does it in most of its runs
    solvable = [
        name
        for name in sources
        if any(sum(run[name]["solved"] for run in side) * 2 > len(side) for side in (runs, tuned))
    ]
    both = [name for name in solvable if sum(run[name]["solved"] for run in tuned) * 2 > len(tuned)]
    named = {name: sources[name] for name in solvable}
    own = train_apart(0, named, budget["own"], like_population(settings(), len(sources)))
    plain = ("training.normalize_observations=false", "training.tuned={}")
    default = train_apart(0, named, budget["default"], plain)
    times = [max(run[name]["seconds"] for name in solvable) for run in runs]
    shared_with = [max(run[name]["seconds"] for name in both) for run in runs]
    dense = [name for name in sources if name not in SPARSE]
    ours, theirs = mean_scores(runs), mean_scores(tuned)
    tau = kendalltau([ours[name] for name in dense], [theirs[name] for name in dense]).statistic
    everything = kendalltau(list(ours.values()), list(theirs.values())).statistic
    apart = [time_apart(run, solvable) for run in tuned]
    apart_both = [time_apart(run, both) for run in tuned]
    slow = time_apart(default, solvable)
    headline = {
        "ratio_tuned": round(float(np.mean(apart) / np.mean(times)), 1),
        "ratio_tuned_per_own_step": round(time_apart(own, solvable) / times[0], 1),
        "ratio_tuned_solved_by_both": round(float(np.mean(apart_both) / np.mean(shared_with)), 1),
        "ratio_default": round(slow / times[0], 1),
        "ratio_default_is_a_lower_bound": not all(item["solved"] for item in default.values()),
        "kendall_tau_dense": round(float(tau), 2),
        "kendall_tau_all": round(float(everything), 2),
        "population_seconds": round(float(np.mean(times)), 1),
        "tuned_seconds": round(float(np.mean(apart)), 1),
        "default_seconds": round(slow, 1),
    }
    changed = [name for name in sources if (ours[name] >= SOLVED) != (theirs[name] >= SOLVED)]
    for label, run in (("updates per own step", own), ("defaults", default)):
        print(f"Stable-Baselines3, {label}")
        for name, item in run.items():
            print(f"  {name:<10} {_text(item)}")
    print(f"{'reward':<10} {'population':>10} {'SB3 tuned':>10} {'SB3 default':>12}")
    for name in sources:
        last = f"{default[name]['score']:.2f}" if name in default else "-"
        verdict = "  sharing changes the verdict" if name in changed else ""
        print(f"{name:<10} {ours[name]:>10.2f} {theirs[name]:>10.2f} {last:>12}{verdict}")
    for key, value in headline.items():
        print(f"{key}: {value}")
    if not quick:
        details = {"population": runs, "tuned": tuned, "own": own, "default": default}
        write("population_vs_sb3", headline, changed=changed, **details)


def _table(seed: int, together: tuple[float, dict[str, Result]], apart: dict[str, Result]) -> None:
    print(f"seed {seed}: seconds (steps) until solved; the population took {together[0]:.0f} s")
    for name, ours in together[1].items():
        texts = [_text(item) for item in (ours, apart[name])]
        print(f"  {name:<10} {texts[0]:<32} {texts[1]}", flush=True)


def _text(item: Result) -> str:
    return (
        f"{item['seconds']:7.1f} s ({item['steps']:>6,}){'' if item['solved'] else ' not solved'}"
    )


if __name__ == "__main__":
    main()
