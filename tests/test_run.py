"""Whole runs, as a user starts them: faults, resuming, replaying, stopping."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
from stable_baselines3 import SAC

from tests.llm.faulty_server import FaultyServer, ok, only_key
from tests.runs import (
    COMPARED,
    REPLIES,
    SMALL,
    comparable,
    compared,
    environment,
    evaluations,
    generate,
    learned,
    start,
    summary,
    wait_for,
)

pytestmark = pytest.mark.slow

KEY = "sk-planted-0123456789abcdef"
ONE_BY_ONE = ("llm.concurrency=1", "experiment.repairs=0")
GOOD = "```python\n{}```\n".format(
    """def compute_reward(state, action, next_state):
    gap = np.linalg.norm(next_state["achieved_goal"] - next_state["desired_goal"], axis=-1)
    near = 1.0 - np.tanh(2.0 * gap)
    return near, {"near": near}
"""
)


def served(server: FaultyServer) -> tuple[str, ...]:
    return ("llm.provider=openai", "llm.model=model-a", f"llm.base_url={server.url}")


def test_every_flawed_reply_is_reported_under_its_status(tmp_path: Path) -> None:
    flawed = [
        item
        for item in json.loads((REPLIES / "manifest.json").read_text())
        if item["file"].startswith("flawed/")
    ]
    with FaultyServer() as server:
        server.script(*[ok((REPLIES / item["file"]).read_text()) for item in flawed])
        result = generate(
            tmp_path,
            "env=push",
            *served(server),
            *ONE_BY_ONE,
            *SMALL,
            "experiment.iterations=3",
            f"experiment.candidates={len(flawed) // 3}",
            OPENAI_API_KEY=KEY,
        )
    assert result.returncode == 0, result.stderr
    run = tmp_path / "results" / "push"
    rows = evaluations(run)
    assert len(rows) == len(flawed) == 24
    for item, row in zip(flawed, rows, strict=True):
        wanted = {item["expected"]}
        if item["file"] == "flawed/unknown_field.md":
            wanted.add("rejected")  # the static check knows the fields
        status = "accepted" if row["status"] == "ok" else row["status"]
        assert status in wanted, (item["file"], row)
        if status != "accepted":
            assert row["fault"]["message"]
    replies = sorted(run.glob("iteration_*/reply_*.md"))
    assert len(replies) == 24
    assert len(list(run.glob("iteration_*/exchange_*.json"))) == 24
    assert summary(run)["best"]["candidate"] == "2/4" or summary(run)["trained"] == 1
    assert "Traceback" not in (run / "log.txt").read_text()


def test_all_candidates_failing_is_a_run_that_says_so(tmp_path: Path) -> None:
    with FaultyServer() as server:
        server.rules.append(lambda sent: ok("I would rather not."))
        result = generate(
            tmp_path, "env=point", *served(server), *SMALL, "llm.concurrency=2", OPENAI_API_KEY=KEY
        )
    assert result.returncode == 1
    assert "No reward was found" in result.stdout
    text = (tmp_path / "results" / "point" / "iteration_2" / "prompt.md").read_text()
    assert "No candidate of this iteration could be trained" in text
    assert len(server.journal) == 4 * 2 * 3  # candidates, iterations, one reply and two repairs


def test_a_repair_sends_the_error_back_and_its_answer_is_used(tmp_path: Path) -> None:
    bad = GOOD.replace("near = 1.0", "print(gap)\n    near = 1.0")
    with FaultyServer() as server:
        server.script(ok(bad), ok(GOOD))
        result = generate(
            tmp_path,
            "env=point",
            *served(server),
            *SMALL,
            "experiment.candidates=1",
            "experiment.iterations=1",
            OPENAI_API_KEY=KEY,
        )
        second = server.bodies[1]["messages"]
    assert result.returncode == 0, result.stderr
    assert [message["role"] for message in second[-2:]] == ["assistant", "user"]
    assert "`print` is not available" in second[-1]["content"]


def test_a_wrong_key_ends_the_run_with_one_sentence(tmp_path: Path) -> None:
    with FaultyServer() as server:
        server.rules.append(only_key("another"))
        result = generate(tmp_path, "env=point", *served(server), *SMALL, OPENAI_API_KEY=KEY)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "OPENAI_API_KEY" in result.stderr
    assert KEY not in result.stderr + result.stdout


def children(parent: psutil.Process) -> list[psutil.Process]:
    try:
        return parent.children(recursive=True)
    except psutil.Error:
        return []


RESUMABLE = (
    "env=point",
    *COMPARED,
    "experiment.candidates=2",
    "experiment.iterations=2",
    "experiment.seed=5",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    result = generate(folder, *RESUMABLE, "video.episodes=1")
    assert result.returncode == 0, result.stderr
    return folder / "results" / "point"


def test_a_finished_run_can_be_prolonged(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "longer"
    shutil.copytree(undisturbed, run)
    result = generate(tmp_path, f"experiment.resume={run}", "experiment.iterations=3")
    assert result.returncode == 0, result.stderr
    assert comparable(run)[:4] == comparable(undisturbed)
    assert len(comparable(run)) == 6
    record = json.loads((run / "run.json").read_text())
    assert record["started"] == json.loads((undisturbed / "run.json").read_text())["started"]
    assert [entry["overrides"] for entry in record["resumed"]] == [["experiment.iterations=3"]]
    again = generate(tmp_path, f"experiment.resume={run}")  # what was changed goes on to count
    assert again.returncode == 0, again.stderr
    assert summary(run)["candidates"] == 6


def test_a_replayed_run_gives_the_same_result_for_nothing(
    undisturbed: Path, tmp_path: Path
) -> None:
    result = generate(tmp_path, *RESUMABLE, "llm.provider=replay", f"llm.replay={undisturbed}")
    assert result.returncode == 0, result.stderr
    run = tmp_path / "results" / "point"
    assert comparable(run) == comparable(undisturbed)
    assert compared(run) == compared(undisturbed)
    assert learned(run) == learned(undisturbed)


def test_no_number_of_the_headline_comes_from_what_the_winner_was_selected_by(
    undisturbed: Path,
) -> None:
    seeds = summary(undisturbed)["seeds"]
    for kind in ("trainings", "episodes"):
        selection, headline = set(seeds["selection"][kind]), set(seeds["headline"][kind])
        assert selection and headline
        assert selection.isdisjoint(headline)
    trained = [json.loads(file.read_text()) for file in undisturbed.glob("headline/*.json")]
    assert {item["candidate"]["origin"] for item in trained} >= {"provider", "sparse", "human"}
    played = {
        seed
        for item in trained
        for episodes in item["evaluation"]["episodes"]
        for seed in episodes["seeds"]
    }
    assert played == set(seeds["headline"]["episodes"])
    rows = summary(undisturbed)["headline"]
    assert rows[0]["names"][0] == "winner"
    assert {name for row in rows for name in row["names"]} == {
        "winner",
        "best of iteration 1",
        "sparse",
        "human",
    }
    text = (undisturbed / "best" / "card.md").read_text()
    log = (undisturbed / "log.txt").read_text()
    for row in rows:
        number = f"{row['fitness']['mean']:.2f} [{row['fitness']['low']:.2f}"
        assert number in text
        assert number in log


def test_what_a_run_leaves_behind(undisturbed: Path) -> None:
    names = {path.relative_to(undisturbed).as_posix() for path in undisturbed.rglob("*")}
    for name in (
        "config.yaml",
        "run.json",
        "log.txt",
        "iteration_1/prompt.md",
        "iteration_1/reply_0.md",
        "iteration_2/evaluations.json",
        "iteration_2/reflection.md",
        "rewards/iteration_1/candidate_0.py",
        "models/iteration_1/candidate_1.zip",
        "models/iteration_1/candidate_1_last.zip",
        "populations/1.json",
        "iteration_2/experience.npz",
        "logs/population_1.log",
        "models/best.zip",
        "tensorboard_logs/iteration_1/candidate_0",
        "best/reward.py",
        "best/model.zip",
        "best/card.md",
        "best/video.gif",
        "tensorboard_logs/winner",
        "summary.json",
    ):
        assert name in names
    assert not [name for name in names if name.endswith(".tmp")]
    record = json.loads((undisturbed / "run.json").read_text())
    assert record["found"] is True
    told = [
        line for line in (undisturbed / "log.txt").read_text().splitlines() if " video " in line
    ]
    assert len(told) == 1
    assert "best/video." in told[0]
    assert "not selected" in told[0]
    assert "1 episode" in record["video"]["caption"]
    assert record["versions"]["mujoco"]
    assert "seccomp" in record["sandbox_layers"] or record["sandbox_allow_weaker"]
    model = SAC.load(undisturbed / "best" / "model.zip")
    place = np.zeros(2)
    action, _ = model.predict(
        {"observation": place, "achieved_goal": place, "desired_goal": place}, deterministic=True
    )
    assert action.shape == (2,)


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(tmp_path, *RESUMABLE, "training.total_timesteps=200000")
    run = tmp_path / "results" / "point"
    parent = psutil.Process(process.pid)
    wait_for(lambda: list(run.glob("tensorboard_logs/*/*/*/events*")))
    family = children(parent)
    assert family
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "experiment.resume=results/point" in err
    assert "Traceback" not in out + err
    gone, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    assert (run / "iteration_1" / "exchange_0_0.json").exists()


@pytest.mark.parametrize(
    ("backend", "victim", "statuses"),
    [
        ("population", "worker", {"ok": 2}),  # it is tried once more
        ("population", "reward process", {"ok": 1, "crashed": 1}),
        ("sb3", "worker", {"ok": 1, "crashed": 1}),
        ("sb3", "reward process", {"ok": 1, "crashed": 1}),
    ],
)
def test_killing_a_worker_or_a_reward_process_costs_one_candidate_at_most(
    backend: str, victim: str, statuses: dict[str, int], tmp_path: Path
) -> None:
    process = start(
        tmp_path,
        f"training={backend}",
        *RESUMABLE,
        "experiment.iterations=1",
        "experiment.final_seeds=0",
        f"training.total_timesteps={3000 if backend == 'population' else 1500}",
        "training.workers=2",
    )
    run = tmp_path / "results" / "point"
    parent = psutil.Process(process.pid)
    wait_for(lambda: list(run.glob("tensorboard_logs/iteration_1/candidate_0/*/events*")))
    wait_for(lambda: list(run.glob("tensorboard_logs/iteration_1/candidate_1/*/events*")))
    worker = parent.children()[0]
    if victim == "worker":
        worker.kill()
    else:
        reward_process = next(
            child for child in worker.children() if "import server" in " ".join(child.cmdline())
        )
        reward_process.kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert Counter(row["status"] for row in evaluations(run)) == statuses
    assert ("crashed" in out) == ("crashed" in statuses)
    drawn = list(run.glob("tensorboard_logs/iteration_1/candidate_*/seed_0"))
    assert all(len(list(folder.iterdir())) == 1 for folder in drawn)


def test_multirun_gives_each_job_a_run_of_its_own(tmp_path: Path) -> None:
    result = generate(
        tmp_path,
        "--multirun",
        *RESUMABLE[:-1],
        "experiment.iterations=1",
        "experiment.candidates=1",
        "experiment.final_seeds=0",
        "experiment.seed=1,2",
    )
    assert result.returncode == 0, result.stderr
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {"point", "point-2", "multirun"}
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_any_gymnasium_environment_with_another_algorithm(tmp_path: Path) -> None:
    result = generate(
        tmp_path,
        "env=gym",
        "env.id=CartPole-v1",
        "env.description=Keep the pole upright.",
        "training=sb3",
        "training.algorithm=DQN",
        *SMALL,
        "experiment.iterations=1",
        "experiment.candidates=1",
    )
    assert result.returncode == 0, result.stderr
    assert "mean return" in result.stdout
    assert summary(tmp_path / "results" / "CartPole-v1")["best"]["fitness"]["kind"] == "return"


def test_a_read_only_place_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    result = generate(tmp_path, *RESUMABLE, "paths.results=taken")
    assert result.returncode == 2
    assert "cannot be made" in result.stderr
    assert "paths.results" in result.stderr


def test_the_environment_helper_hides_real_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "real")
    assert "OPENAI_API_KEY" not in environment()
