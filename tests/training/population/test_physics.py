"""Processes that play: an episode depends on what was asked for, and on nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import psutil
import pytest

from rewardsmith.errors import WorkerError
from rewardsmith.evaluation import Episode, run_episodes
from rewardsmith.tasks.task import Task
from rewardsmith.training.population.actor import Actor, pack, unpack
from rewardsmith.training.population.physics import Physics, Play, result
from tests.runs import ROOT

HIDDEN = [8]
FEATURES, ACTIONS = 6, 2


def make_actor(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shapes = [(FEATURES, 8), (8, 2 * ACTIONS)]
    layers = [(generator.normal(size=shape), generator.normal(size=shape[1])) for shape in shapes]
    return pack(layers)


def players(physics: Physics) -> list[psutil.Process]:
    """The processes that play."""
    numbers = [*physics._collectors._processes, *physics._evaluators._processes]
    return [psutil.Process(number) for number in numbers]


@pytest.fixture(scope="module")
def physics(point_task: Task) -> Iterator[Physics]:
    running = Physics(point_task, HIDDEN, processes=2)
    yield running
    running.close()


def played(physics: Physics, plays: Sequence[Play]) -> list[Episode]:
    return [result(future) for future in [physics.collect(play) for play in plays]]


def content(episode: Episode) -> tuple[bytes, ...]:
    part = episode.transitions
    return part.state.tobytes(), part.action.tobytes(), part.next_state.tobytes()


PLAYS = [
    Play(1, None, 5),
    Play(1, None, 6),
    Play(2, make_actor(), 5),
    Play(2, make_actor(), 6),
    Play(2, make_actor(1), 5),
    Play(2, make_actor(), None),
    Play(3, make_actor(), 5, random_actions=0.5),
]


def test_an_episode_depends_on_its_play_alone(physics: Physics, point_task: Task) -> None:
    there = [content(episode) for episode in played(physics, PLAYS)]
    back = [content(episode) for episode in played(physics, PLAYS[::-1])]
    assert there == back[::-1]
    assert len(set(there)) == len(PLAYS)
    single = Physics(point_task, HIDDEN, processes=1)
    try:
        futures = [single.evaluate(play) for play in PLAYS]
        assert [content(result(future)) for future in futures] == there
    finally:
        single.close()


def test_without_noise_the_policy_is_played_as_it_is(physics: Physics, point_task: Task) -> None:
    actor = Actor(unpack(make_actor(), FEATURES, HIDDEN, ACTIONS))
    order = point_task.make().observation_space

    def policy(seen: dict[str, np.ndarray]) -> np.ndarray:
        return actor.mean(np.concatenate([seen[name] for name in order]))

    episodes, transitions = run_episodes(point_task, policy, [7])
    [episode] = played(physics, [Play(7, make_actor(), None)])
    assert (episode.success, episode.environment_return) == (
        episodes.successes[0],
        episodes.returns[0],
    )
    np.testing.assert_allclose(episode.transitions.action, transitions[0].action, atol=1e-6)
    assert len(episode.transitions) == point_task.horizon


def test_random_actions_know_nothing_of_the_actor(physics: Physics) -> None:
    one, other = played(
        physics, [Play(3, make_actor(seed), 5, random_actions=1.0) for seed in (0, 1)]
    )
    assert content(one) == content(other)
    assert np.abs(one.transitions.action).max() <= 1.0


def test_a_killed_process_is_an_error_of_the_worker(point_task: Task) -> None:
    running = Physics(point_task, HIDDEN, processes=1)
    try:
        played(running, PLAYS[:1])
        [player] = players(running)
        player.send_signal(signal.SIGSTOP)
        future = running.collect(PLAYS[0])
        player.kill()
        with pytest.raises(WorkerError, match="a process that plays episodes has died"):
            result(future)
    finally:
        running.close()


def test_nothing_is_left_when_it_is_closed(point_task: Task) -> None:
    running = Physics(point_task, HIDDEN, processes=2)
    played(running, PLAYS[:4])
    result(running.evaluate(PLAYS[0]))
    alive = players(running)
    assert len(alive) >= 2
    for _ in range(200):
        running.collect(PLAYS[0])
    running.close()
    _, left = psutil.wait_procs(alive, timeout=20)
    assert not left


_ABANDONED = """
import os, signal
from rewardsmith.training.population.physics import Physics, Play, result
from tests.conftest import load_task

if __name__ == "__main__":
    physics = Physics(load_task("env=point"), [8], 1)
    result(physics.collect(Play(1, None, 1)))
    print("\\n".join(map(str, physics._collectors._processes)), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_processes_die_with_a_killed_parent(tmp_path_factory: pytest.TempPathFactory) -> None:
    script = tmp_path_factory.mktemp("abandoned") / "script.py"
    script.write_text(_ABANDONED)
    ran = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    numbers = [int(line) for line in ran.stdout.split()]
    assert numbers, ran.stderr
    alive = [psutil.Process(number) for number in numbers if psutil.pid_exists(number)]
    _, left = psutil.wait_procs(alive, timeout=10)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


_ABANDONED_EARLY = """
import os, signal, sys, time
from pathlib import Path
from rewardsmith.training.population import physics
from tests.conftest import load_task

class Late:
    '''A task that is unpickled when its parent is dead.'''

    def __reduce__(self):
        return arrived, (sys.argv[1],)

def arrived(file):
    Path(file).write_text(str(os.getpid()))
    time.sleep(2)
    return load_task("env=point")

if __name__ == "__main__":
    running = physics.Physics(Late(), [8], 1)
    running.collect(physics.Play(1, None, 1))
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_dies_whose_parent_was_killed_before_it_could_look(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("early")
    (folder / "script.py").write_text(_ABANDONED_EARLY)
    subprocess.run(
        [sys.executable, str(folder / "script.py"), str(folder / "pid")],
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
    )
    number = int((folder / "pid").read_text())
    alive = [psutil.Process(number)] if psutil.pid_exists(number) else []
    _, left = psutil.wait_procs(alive, timeout=10)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
