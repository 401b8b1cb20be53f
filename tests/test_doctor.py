"""``rewardsmith doctor``: what it finds, and that it never shows a key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner, Result
from werkzeug import Request, Response

from rewardsmith import commands, doctor
from rewardsmith.config import provider_settings
from rewardsmith.doctor import Check, State
from rewardsmith.installed import packages
from rewardsmith.llm.reach import reach
from rewardsmith.settings import LLMSettings
from tests.conftest import load_settings
from tests.runs import ROOT, environment

KEY = "sk-planted-0123456789abcdef"


NOWHERE = "http://127.0.0.1:9/v1"


def asked(url: str, **changes: Any) -> LLMSettings:
    llm = provider_settings()["openai"]
    return llm.model_copy(update={"base_url": url, "model": "model-a", **changes})


def serve(server: HTTPServer, key: str = KEY) -> str:
    """Serve a list of models to whoever has the key; give the address."""

    def answer(request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {key}":
            words = {"error": {"message": f"Incorrect API key provided: {KEY[:5]}*{KEY[-4:]}"}}
            return Response(json.dumps(words), 401, content_type="application/json")
        models = {"object": "list", "data": [{"id": "model-a", "object": "model"}]}
        return Response(json.dumps(models), content_type="application/json")

    server.expect_request(re.compile(".*")).respond_with_handler(answer)
    return str(server.url_for("/v1"))


def checks_of(function: Any, *arguments: Any) -> list[Check]:
    return list(function(*arguments))


def test_a_provider_that_answers_costs_no_token(httpserver: HTTPServer) -> None:
    found = reach(asked(serve(httpserver)), {"OPENAI_API_KEY": KEY})
    assert found.answer == "answers", found
    assert "takes the key in OPENAI_API_KEY" in found.text
    assert [(item.method, item.path) for item, _ in httpserver.log] == [("GET", "/v1/models")]


def test_a_refused_key_is_named_but_never_shown(httpserver: HTTPServer) -> None:
    found = reach(asked(serve(httpserver, "another")), {"OPENAI_API_KEY": KEY})
    assert found.answer == "refused"
    assert "refused the key in OPENAI_API_KEY (401)" in found.text
    assert KEY not in found.text + found.advice
    assert KEY[-4:] not in found.text + found.advice


def test_a_server_that_is_not_there_or_silent_is_said_so() -> None:
    found = reach(asked(NOWHERE), {"OPENAI_API_KEY": KEY})
    assert found.answer == "unreachable"
    assert "http://127.0.0.1:9/v1 cannot be reached" in found.text


def test_another_model_and_a_missing_key_are_said_so(httpserver: HTTPServer) -> None:
    found = reach(asked(serve(httpserver), model="model-z"), {"OPENAI_API_KEY": KEY})
    assert found.answer == "doubtful"
    assert "does not list the model model-z" in found.text
    missing = reach(asked(NOWHERE), {})
    assert missing.answer == "unusable"
    assert "set OPENAI_API_KEY" in missing.text


def test_only_the_provider_that_a_run_would_ask_can_be_in_its_way() -> None:
    nowhere = {"OPENAI_BASE_URL": NOWHERE, "GROQ_BASE_URL": NOWHERE}
    keys = {"OPENAI_API_KEY": KEY, "GROQ_API_KEY": "gsk-planted-0123456789"}
    llm = load_settings("llm=auto").llm
    first, *others = checks_of(doctor._providers, llm, {**nowhere, **keys})
    assert (first.state, first.text.split(":")[0]) == (State.BAD, "openai")
    assert [(item.state, item.text.split(":")[0]) for item in others] == [(State.NOTE, "groq")]
    [none, *_] = checks_of(doctor._providers, llm, {})
    assert none.state is State.OK
    assert "the built-in designer" in none.text
    assert "OPENAI_API_KEY" in none.advice


def test_the_sandbox_is_tried_and_a_missing_layer_is_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = load_settings("sandbox.allow_weaker=true").sandbox
    [found] = checks_of(doctor._sandbox, limits)
    assert found.state in (State.OK, State.NOTE)
    assert "rlimits" in found.text or "weaker" in found.text

    class Without:
        def __init__(self, layout: Any, limits: Any) -> None:
            self.layers = tuple(name for name in doctor.LAYERS if name != "landlock")

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            pass

    monkeypatch.setattr(doctor, "RewardProcess", Without)
    [found] = checks_of(doctor._sandbox, limits)
    assert found.state is State.NOTE
    assert "no Landlock" in found.text
    assert "Linux 5.13" in found.advice


def test_a_sandbox_that_refuses_ends_in_a_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    from rewardsmith.errors import SandboxUnavailable

    def refuse(layout: Any, limits: Any) -> Any:
        raise SandboxUnavailable("This machine cannot lock a reward process down: seccomp missing.")

    monkeypatch.setattr(doctor, "RewardProcess", refuse)
    [found] = checks_of(doctor._sandbox, load_settings().sandbox)
    assert found.state is State.BAD
    assert "seccomp missing" in found.text


def test_folders_that_cannot_be_written_are_found(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    [found] = checks_of(doctor._folder, "results", taken / "results")
    assert found.state is State.BAD
    assert "paths.results=FOLDER" in found.advice
    [found] = checks_of(doctor._folder, "results", tmp_path / "new" / "results")
    assert found.state in (State.OK, State.NOTE)
    assert "will be made" in found.text
    assert not (tmp_path / "new").exists()


def test_little_disk_is_a_note_and_none_a_cross(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, state in ((1 << 20, State.BAD), (500 << 20, State.NOTE), (5 << 30, State.OK)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder, usage=usage: usage)
        [found] = checks_of(doctor._folder, "results", tmp_path)
        assert found.state is state


def test_no_graphics_is_a_note_that_names_the_debian_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_child", lambda code, **variables: (False, "no such library"))
    [found] = checks_of(doctor._rendering)
    assert found.state is State.NOTE
    assert "libegl1 libgl1-mesa-dri libopengl0" in found.advice
    assert "libosmesa6" in found.advice


def test_a_child_has_no_keys_and_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    works, text = doctor._child("import os; print(dict(os.environ))", MUJOCO_GL="egl")
    assert works
    assert "'MUJOCO_GL': 'egl'" in text
    assert KEY not in text
    assert doctor._child("raise SystemExit('no luck')") == (False, "no luck")
    monkeypatch.setattr(doctor, "CHILD_S", 0.2)
    assert doctor._child("import time; time.sleep(60)") == (False, "no answer within 0.2 s")


def test_packages_are_those_of_pyproject(monkeypatch: pytest.MonkeyPatch) -> None:
    needed, extras = packages()
    if not needed:
        pytest.skip("neither an installed package nor tomllib")
    assert {"jax", "mujoco", "torch"} <= {item.name for item in needed}
    assert "dev" not in extras
    assert {"wandb", "trackio", "hub"} <= set(extras)
    from rewardsmith import installed

    monkeypatch.setattr(installed.metadata, "version", lambda name: "99.0")
    wrong = {item.name for item in packages()[0] if not item.fits}
    assert "mujoco" in wrong, "a version above the range is no good"
    assert "numpy" not in wrong


CHECKS = [
    Check("versions", State.OK, "rewardsmith 0.1.0"),
    Check("rendering", State.NOTE, "EGL: " + "no such library " * 12, "apt-get install [libegl1]"),
    Check("sandbox", State.BAD, "seccomp missing"),
]


def call(*arguments: str, columns: int = 80) -> Result:
    return CliRunner().invoke(commands.app, list(arguments), env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_is_aligned_and_fits(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda settings, environment: CHECKS)
    shown = call("doctor", columns=columns)
    assert shown.exit_code == 1
    lines = [line.rstrip() for line in shown.output.splitlines()]
    assert max(map(len, lines)) <= columns
    assert re.match(r"✓ versions  +rewardsmith 0.1.0$", lines[0])
    start = lines[0].index("rewardsmith")
    assert all(line[:start].strip(" ✓!✗") in ("", "versions", "rendering", "sandbox")
               for line in lines[:-2])  # fmt: skip
    assert any(line.strip() == "→ apt-get install [libegl1]" for line in lines)
    assert lines[-1] == "A run would not work: see ✗."


def test_data_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda settings, environment: CHECKS[:2])
    shown = call("doctor", "--json")
    assert shown.exit_code == 0
    data = json.loads(shown.output)
    assert data["works"] is True
    assert [item["state"] for item in data["checks"]] == ["ok", "note"]


def test_a_wrong_setting_is_one_sentence() -> None:
    shown = call("doctor", "experiment.candidates=0")
    assert shown.exit_code == 2
    assert "experiment.candidates is 0" in shown.output
    assert len(shown.output.strip().splitlines()) == 1


@pytest.mark.slow
def test_this_machine_is_examined_from_end_to_end(tmp_path: Path, httpserver: HTTPServer) -> None:
    url = serve(httpserver, "another")
    done = subprocess.run(
        [sys.executable, "-m", "rewardsmith", "doctor", "--json"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT), OPENAI_API_KEY=KEY, OPENAI_BASE_URL=url),
        capture_output=True,
        text=True,
        timeout=300,
    )
    data = json.loads(done.stdout)
    assert done.returncode == 1, "the key that a run would use is refused"
    states = {item["topic"]: item["state"] for item in data["checks"]}
    assert {"versions", "packages", "cores", "JAX", "torch", "rendering", "sandbox"} <= set(states)
    assert [item["state"] for item in data["checks"] if "openai: " in item["text"]] == ["bad"]
    assert states["JAX"] != "bad"
    assert KEY not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
