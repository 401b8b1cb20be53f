"""``rewardsmith export``: the folder, its card, and no contact with anybody without ``--push``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result
from werkzeug import Request, Response

from rewardsmith import commands
from rewardsmith.config import to_yaml
from rewardsmith.results import RunDirectory
from rewardsmith.tasks.task import Task
from tests.runs import ROOT, environment
from tests.test_loop import Run

TOKEN = "hf_planted0123456789abcdefghij"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, point_task: Task, sandbox: Any) -> RunDirectory:
    made = Run(tmp_path_factory.mktemp("exported") / "point", point_task, sandbox)
    settings = made.loop.settings
    changes = {
        "base_url": "http://user:hunter2@inside.example/v1",
        "parameters": {"extra_headers": {"X-Key": "sk-planted"}},
    }
    llm = settings.llm.model_copy(update=changes)
    made.directory.write_config(to_yaml(settings.model_copy(update={"llm": llm})))
    versions = {"jax": "0.10.2", "torch": "2.13.0"}
    made.directory.update_record(rewardsmith="0.1.0", python="3.11.7", versions=versions)
    return made.directory


def export(*arguments: object) -> Result:
    return CliRunner().invoke(commands.app, ["export", *map(str, arguments)])


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """The metadata of a model card, and its text."""
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_folder_holds_what_the_hub_expects(run: RunDirectory, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "hub"
    shown = export(run.root, "--output", folder)
    assert shown.exit_code == 0, shown.output
    names = {file.name for file in folder.iterdir()}
    assert names == {
        "README.md",
        "reward.py",
        "model.zip",
        "summary.json",
        "config.yaml",
        "versions.json",
    }
    assert (folder / "model.zip").read_bytes() == run.best_model.read_bytes()
    assert (folder / "reward.py").read_text() == run.best_reward.read_text()
    assert json.loads((folder / "versions.json").read_text())["versions"]["jax"] == "0.10.2"
    text = card_of(folder)[1]
    assert text.lstrip().startswith("# A reward for")
    assert "from stable_baselines3 import SAC" in text
    assert "load it only if you trust" in text


def test_the_card_gives_the_test_episodes_alone(run: RunDirectory, tmp_path: Path) -> None:
    export(run.root, "--output", tmp_path / "hub")
    card, _ = card_of(tmp_path / "hub")
    summary = json.loads(run.summary_file.read_text())
    assert summary["test"]["mean"] != summary["best"]["fitness"]["mean"]
    assert card["library_name"] == "stable-baselines3"
    assert {"reinforcement-learning", "rewardsmith", "PointReach-v0"} <= set(card["tags"])
    [result] = card["model-index"][0]["results"]
    assert result["dataset"]["name"] == "PointReach-v0"
    success, reward = result["metrics"]
    assert success["type"] == "success_rate"
    assert success["value"] == pytest.approx(summary["test"]["mean"], abs=1e-4)
    assert success["args"]["low"] == pytest.approx(summary["test"]["low"], abs=1e-4)
    assert success["args"]["high"] == pytest.approx(summary["test"]["high"], abs=1e-4)
    assert f"{summary['test']['episodes']} test episodes" in success["name"]
    assert reward["value"] == pytest.approx(summary["test"]["environment_return"])


def test_the_hubs_own_reader_takes_the_card(run: RunDirectory, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    export(run.root, "--output", tmp_path / "hub")
    data = hub.ModelCard.load(tmp_path / "hub" / "README.md").data
    assert data.library_name == "stable-baselines3"
    assert data.eval_results[0].metric_type == "success_rate"


def test_a_video_becomes_what_the_hub_plays(run: RunDirectory, tmp_path: Path) -> None:
    run.best_video.write_bytes(b"frames")
    try:
        export(run.root, "--output", tmp_path / "hub")
    finally:
        run.best_video.unlink()
    assert (tmp_path / "hub" / "replay.mp4").read_bytes() == b"frames"
    assert "`replay.mp4`" in card_of(tmp_path / "hub")[1]


def test_no_secret_and_no_place_of_this_machine_is_exported(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "planted-elsewhere-123456")
    reward = run.best_reward.read_text()
    run.best_reward.write_text(f"# planted-elsewhere-123456\n{reward}")
    try:
        assert export(run.root, "--output", tmp_path / "hub").exit_code == 0
    finally:
        run.best_reward.write_text(reward)
    text = "".join(
        file.read_text() for file in (tmp_path / "hub").iterdir() if file.suffix != ".zip"
    )
    for secret in ("sk-planted", "hunter2", "inside.example", "planted-elsewhere", str(run.root)):
        assert secret not in text
    assert "*" * 3 in (tmp_path / "hub" / "reward.py").read_text()


def test_what_cannot_be_exported_is_one_sentence(run: RunDirectory, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    unfinished = RunDirectory(tmp_path / "unfinished")
    unfinished.write_config(run.config_file.read_text())
    for arguments, sentence in (
        ((run.root, "--output", full), "is there already: choose a new folder"),
        ((tmp_path / "nowhere",), "RUN is .*nowhere.*but there is no run"),
        ((unfinished.root,), "is not finished, so its best is not tested"),
        ((run.root, "--private"), "give --push USER/MODEL as well"),
    ):
        shown = export(*arguments)
        assert shown.exit_code == 2, arguments
        assert re.search(sentence, shown.output), shown.output
        assert len(shown.output.strip().splitlines()) == 1
    unfinished.write_summary({"test": None})
    shown = export(unfinished.root)
    assert "has no best reward to export" in shown.output
    assert [file.name for file in full.iterdir()] == ["mine.txt"]
    assert not unfinished.hub_folder.exists()


ALONE = """
import socket, sys
def refuse(*arguments, **named):
    raise AssertionError("something was contacted")
socket.socket.connect = socket.getaddrinfo = refuse
from rewardsmith.commands import app
app(sys.argv[1:], standalone_mode=False)
assert not {"huggingface_hub", "torch", "jax"} & set(sys.modules)
"""


def test_nothing_is_contacted_without_push(run: RunDirectory, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, "export", str(run.root), "--output", str(tmp_path / "hub")],
        env=environment(PYTHONPATH=str(ROOT), HF_TOKEN=TOKEN),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hub" / "README.md").is_file()


class FakeHub:
    """As much of the Hub as a commit of small files needs."""

    def __init__(self, server: HTTPServer, status: int = 200) -> None:
        self.status, self.seen = status, []
        self.url = server.url_for("").rstrip("/")
        server.expect_request(re.compile(".*")).respond_with_handler(self.answer)

    def answer(self, request: Request) -> Response:
        body = request.get_data()
        self.seen.append((request.method, request.path, body, request.headers))
        if self.status != 200:
            return self.json({"error": "Invalid credentials"}, self.status)
        if request.path == "/api/repos/create":
            return self.json({"url": f"{self.url}/me/point", "name": "me/point"})
        if request.path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if "/preupload/" in request.path:
            files = [item["path"] for item in json.loads(body)["files"]]
            modes = [{"path": file, "uploadMode": "regular"} for file in files]
            return self.json({"files": [{**mode, "shouldIgnore": False} for mode in modes]})
        if "/commit/" in request.path:
            commit = {"commitUrl": f"{self.url}/me/point/commit/1", "commitOid": "1" * 40}
            return self.json({**commit, "success": True, "pullRequestUrl": None})
        return self.json({"id": "me/point", "sha": "0" * 40, "siblings": []})

    @staticmethod
    def json(values: Any, status: int = 200) -> Response:
        return Response(json.dumps(values), status, content_type="application/json")


def push(run: RunDirectory, folder: Path, hub: FakeHub, *more: str, token: str = TOKEN) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "rewardsmith", "export", str(run.root)]
        + ["--output", str(folder / "hub"), "--push", "me/point", *more],
        cwd=folder,
        env=environment(
            PYTHONPATH=str(ROOT), HF_ENDPOINT=hub.url, HF_TOKEN=token, HF_HOME=str(folder / "home")
        ),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_push_commits_the_folder_with_the_token_of_the_environment(
    run: RunDirectory, tmp_path: Path, httpserver: HTTPServer
) -> None:
    pytest.importorskip("huggingface_hub")
    hub = FakeHub(httpserver)
    done = push(run, tmp_path, hub, "--private")
    assert done.returncode == 0, done.stderr + done.stdout
    assert f"Pushed to {hub.url}/me/point" in done.stdout
    made = json.loads(next(body for _, path, body, _ in hub.seen if path == "/api/repos/create"))
    assert made.get("private") or made.get("visibility") == "private"
    commit = next(body for _, path, body, _ in hub.seen if "/commit/" in path)
    lines = [json.loads(line) for line in commit.decode().splitlines() if line.strip()]
    files = {line["value"]["path"] for line in lines if line["key"] == "file"}
    assert files == {file.name for file in (tmp_path / "hub").iterdir()}
    signed = {path: headers.get("Authorization") for _, path, _, headers in hub.seen}
    for word in ("create", "preupload", "commit"):
        assert f"Bearer {TOKEN}" in [value for path, value in signed.items() if word in path]
    assert set(signed.values()) <= {f"Bearer {TOKEN}", None}
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes()
    assert TOKEN not in done.stdout + done.stderr


def test_a_refused_or_missing_token_is_one_sentence(
    run: RunDirectory, tmp_path: Path, httpserver: HTTPServer
) -> None:
    pytest.importorskip("huggingface_hub")
    hub = FakeHub(httpserver, status=401)
    done = push(run, tmp_path, hub, token="")
    assert done.returncode == 2
    assert "--push needs a token of huggingface.co: log in with hf auth login" in done.stderr
    assert not hub.seen
    assert not (tmp_path / "hub").exists()
    done = push(run, tmp_path, hub)
    assert done.returncode == 1
    assert "the token is refused (401)" in done.stderr
    assert TOKEN not in done.stderr
    assert (tmp_path / "hub" / "README.md").is_file(), "what was exported is kept"
