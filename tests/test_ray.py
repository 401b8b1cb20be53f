"""Jobs on a real Ray cluster of two nodes, of which one is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rewardsmith.errors import ConfigurationError
from rewardsmith.execution import Job, Outcome
from rewardsmith.execution.ray import RayExecutor, _compare, _Node
from rewardsmith.installed import everything
from tests.conftest import load_settings
from tests.executors import (
    Make,
    assert_an_exception_of_the_caller_stops_all_jobs,
    assert_jobs_report_answer_and_fail,
)
from tests.runs import COMPARED, evaluations, generate, start, summary, wait_for

ray = pytest.importorskip("ray", reason="Ray is not installed")
from tests.ray_cluster import HEAD, SECOND, RayCluster  # noqa: E402

KEY = "sk-planted-on-a-node-0123456789"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(variables={"NODE_API_KEY": KEY}) as started:
        yield started
        ray.shutdown()


@pytest.fixture(scope="module")
def executor(cluster: RayCluster) -> RayExecutor:
    settings = load_settings("env=point", "executor=ray", f"ray.address={cluster.address}")
    return RayExecutor.connect(settings, {})


@pytest.fixture
def job(tmp_path: Path) -> Make:
    def make(function: str, name: str = "job", reads: tuple[Path, ...] = (), **payload: Any) -> Job:
        log, folder = tmp_path / "logs" / f"{name}.log", tmp_path / "run"
        return Job(name, f"tests.jobs:{function}", payload, log, 60, folder, reads)

    return make


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ray://somewhere:10001", "should be HOST:PORT of the cluster's head"),
        ("somewhere", "should be HOST:PORT of the cluster's head"),
        ("127.0.0.3:1", "There is no Ray cluster at 127.0.0.3:1 .*refused"),
    ],
)
def test_an_address_without_a_cluster_is_one_sentence(address: str, sentence: str) -> None:
    settings = load_settings("env=point", "executor=ray", f"ray.address={address}")
    with pytest.raises(ConfigurationError, match=sentence) as error:
        RayExecutor.connect(settings, {})
    assert "\n" not in str(error.value)


def test_a_node_with_other_packages_is_one_sentence() -> None:
    node = _Node("0", "10.0.0.7", 4)
    same = {"versions": everything(), "layers": []}
    _compare(node, Outcome(same))
    other = {**same, "versions": {**everything(), "mujoco": "3.1.0"}}
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.7 has mujoco 3\.1\.0, but"):
        _compare(node, Outcome(other))


# -- jobs -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_jobs_report_and_answer_and_fail_as_they_do_here(executor: RayExecutor, job: Make) -> None:
    assert_jobs_report_answer_and_fail(executor, job)


@pytest.mark.slow
def test_files_go_out_with_a_job_and_come_back(executor: RayExecutor, job: Make) -> None:
    copied = job("copy")
    assert copied.folder is not None
    copied.folder.mkdir()
    source, target = copied.folder / "a" / "source", copied.folder / "b" / "target"
    source.parent.mkdir()
    source.write_text("read on another machine")
    outcome = executor.run([job("copy", reads=(source,), source=source, target=target)])["job"]
    assert target.read_text() == "READ ON ANOTHER MACHINE"
    there = Path(outcome.value)
    assert there != target
    assert not there.exists(), "nothing is left on the node"
    assert sorted(path.name for path in copied.folder.rglob("*") if path.is_file()) == [
        "source",
        "target",
    ]


@pytest.mark.slow
def test_no_key_of_a_node_reaches_a_worker(executor: RayExecutor, job: Make) -> None:
    seen = executor.run([job("look_around")])["job"].value
    assert "PATH" in seen["variables"]
    assert KEY not in seen["environ"]


@pytest.mark.slow
def test_an_exception_of_the_caller_stops_all_jobs(executor: RayExecutor, job: Make) -> None:
    assert_an_exception_of_the_caller_stops_all_jobs(executor, job)


@pytest.mark.slow
def test_a_node_that_dies_costs_a_retry(
    cluster: RayCluster, executor: RayExecutor, job: Make, tmp_path: Path
) -> None:
    jobs = [job("sleep_once", name, mark=str(tmp_path / name)) for name in ("one", "other")]
    told: list[tuple[str, int]] = []

    def heard(name: str, data: dict[str, Any]) -> None:
        told.append((name, data["pid"]))
        if len(told) == 2:  # one on each node
            [lost] = [pid for _, pid in told if on_second_node(pid)]
            [left] = [pid for _, pid in told if pid != lost]
            cluster.kill()
            psutil.Process(left).kill()  # makes room; no node is lost by it

    outcomes = executor.run(jobs, heard)
    cluster.start()
    assert sorted(str(outcome.value or outcome.error) for outcome in outcomes.values()) == [
        "awake",
        "the worker was killed by SIGKILL",
    ]
    assert len(told) == 3, "what was lost was begun again, what was killed was not"


def on_second_node(pid: int) -> bool:
    parents = psutil.Process(pid).parents()
    return any(f"node_ip_address={SECOND}" in " ".join(item.cmdline()) for item in parents)


# -- whole runs -----------------------------------------------------------------------------------

SPREAD = (
    "env=point",
    "llm=builtin",
    *COMPARED,
    "experiment.races=0",
    "experiment.iterations=1",
    "training.shard=2",
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_loses_a_node_ends_as_it_would_here(cluster: RayCluster, tmp_path: Path) -> None:
    here = generate(tmp_path, *SPREAD)
    assert here.returncode == 0, here.stderr
    there = ("executor=ray", f"ray.address={cluster.address}", "paths.results=spread")
    process = start(tmp_path, *SPREAD, *there)
    try:
        wait_for(lambda: trains_on_second_node(process.pid), 240)
        cluster.kill()
        out, err = process.communicate(timeout=400)
    finally:
        process.kill()
        cluster.start()
    assert process.returncode == 0, err
    assert f"{HEAD} (1), {SECOND} (1)" in out or f"{SECOND} (1), {HEAD} (1)" in out
    one, other = tmp_path / "results" / "point", tmp_path / "spread" / "point"
    assert outcome_of(one) == outcome_of(other)
    assert files_of(one) == files_of(other)


def trains_on_second_node(_: int) -> bool:
    for process in psutil.process_iter(["cmdline"]):
        if "rewardsmith.worker" in " ".join(process.info["cmdline"] or ()):
            try:
                if on_second_node(process.pid) and len(process.children()) > 1:
                    return True
            except psutil.Error:
                continue
    return False


def outcome_of(run: Path) -> Any:
    """What a run came to, to the last bit, but for the time that it took."""
    rows = [*evaluations(run), *summary(run)["headline"]]
    kept = sorted(run.glob("iteration_*/experience_*.npz"))
    return [{**row, "seconds": None} for row in rows], [file.read_bytes() for file in kept]


def files_of(run: Path) -> set[str]:
    files = {path.relative_to(run) for path in run.rglob("*") if path.is_file()}
    return {str(file.parent if "events" in file.name else file) for file in files}
