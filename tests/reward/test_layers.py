"""Every layer of the lock is told, and its absence refused, or recorded where that was allowed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rewardsmith import assembly, doctor
from rewardsmith.assembly import Beginning, carry_out
from rewardsmith.console import Console
from rewardsmith.doctor import State
from rewardsmith.errors import SandboxUnavailable
from rewardsmith.reward import process as reward_process
from rewardsmith.reward.lockdown import LAYERS
from rewardsmith.summary import protection
from rewardsmith.words import layers_text
from tests.conftest import load_settings
from tests.llm.faulty_server import FaultyServer, ok
from tests.runs import ROOT, SMALL, environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere layers are missing")

NEEDED = [name for name in LAYERS if name != "landlock"]
OPTIONS = ("env=point", "llm=builtin", *SMALL)


def boot_without(*missing: str) -> str:
    """A start of the reward process in which layers do not come about, and are not claimed."""
    return (
        "import sys; sys.path.extend(sys.argv[3:]); from rewardsmith.reward import lockdown\n"
        "real = lockdown.lock\n"
        "lockdown.lock = lambda *limits: [\n"
        f"    name for name in real(*limits) if name not in {missing}]\n"
        "from rewardsmith.reward import server; server.main(*map(int, sys.argv[1:3]))"
    )


@pytest.mark.parametrize("layer", NEEDED)
def test_a_run_without_a_layer_is_refused_by_its_name(
    layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_process, "_BOOT", boot_without(layer))
    with pytest.raises(SandboxUnavailable, match=f": {layer} missing") as caught:
        settings = load_settings(*OPTIONS, f"paths.results={tmp_path / 'results'}")
        carry_out(Beginning(settings, {}, "why", None, None, ()), Console())
    assert "sandbox.allow_weaker=true" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("layer", NEEDED)
def test_doctor_says_no_without_a_layer_and_names_it_where_that_is_allowed(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_process, "_BOOT", boot_without(layer))
    [strict] = doctor._sandbox(load_settings("sandbox.allow_weaker=false").sandbox)
    [weaker] = doctor._sandbox(load_settings("sandbox.allow_weaker=true").sandbox)
    assert strict.state is State.BAD
    assert f"{layer} missing" in strict.text
    assert weaker.state is State.NOTE
    assert f"no {layer.replace('_', ' ')}" in weaker.text


def test_landlock_is_not_demanded_and_its_absence_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reward_process, "_BOOT", boot_without("landlock"))
    settings = load_settings("env=point", "llm=builtin")
    parts = assembly._build(Beginning(settings, {}, "why", None, None, ()))
    assert parts.layers == tuple(NEEDED)
    assert layers_text(parts.layers, False).endswith("seccomp; missing: landlock")
    [found] = doctor._sandbox(settings.sandbox)
    assert found.state is State.NOTE
    assert "no Landlock" in found.text


def test_a_run_that_has_everything_names_everything() -> None:
    assert layers_text(LAYERS, False) == ", ".join(LAYERS).replace("_", " ")


def test_the_first_lines_name_each_layer_that_is_missing() -> None:
    for layer in LAYERS:
        text = layers_text(tuple(name for name in LAYERS if name != layer), True)
        assert f"; missing: {layer.replace('_', ' ')} (weaker protection was allowed)" in text


def test_a_run_is_as_well_protected_as_its_weakest_part() -> None:
    whole = {"sandbox_layers": list(LAYERS), "sandbox_allow_weaker": False}
    later = {"sandbox_layers": ["rlimits"], "sandbox_allow_weaker": True, "overrides": []}
    assert protection(whole) == {"layers": list(LAYERS), "missing": [], "allow_weaker": False}
    found = protection({**whole, "resumed": [whole, later]})
    assert found["layers"] == ["rlimits"]
    assert "seccomp" in found["missing"]
    assert found["allow_weaker"]
    assert protection({}) == {"layers": [], "missing": [], "allow_weaker": False}


@pytest.mark.slow
def test_weaker_protection_is_told_and_recorded_everywhere(tmp_path: Path) -> None:
    script = (
        "import runpy, sys; from rewardsmith.reward import process\n"
        f"process._BOOT = {boot_without('seccomp', 'landlock')!r}\n"
        f"runpy.run_path({str(ROOT / 'gen.py')!r}, run_name='__main__')"
    )
    with FaultyServer() as server:
        server.rules.append(lambda sent: ok("I would rather not."))  # so that nothing is trained
        done = subprocess.run(
            [sys.executable, "-c", script, "env=point", *SMALL, "sandbox.allow_weaker=true"]
            + ["llm.provider=openai", "llm.model=model-a", f"llm.base_url={server.url}"]
            + ["experiment.iterations=1", "experiment.candidates=1", "experiment.repairs=0"],
            cwd=tmp_path,
            env=environment(PYTHONPATH=str(ROOT), OPENAI_API_KEY="sk-planted-0123456789abcdef"),
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 1, done.stderr
    shown = " ".join(done.stdout.split())
    assert "missing: landlock, seccomp (weaker protection was allowed)" in shown
    run = tmp_path / "results" / "point"
    record: dict[str, Any] = json.loads((run / "run.json").read_text())
    assert record["sandbox_allow_weaker"] is True
    assert "seccomp" not in record["sandbox_layers"]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["sandbox"]["missing"] == ["landlock", "seccomp"]
    assert summary["sandbox"]["allow_weaker"] is True
    report = (run / "report.html").read_text()
    assert '"missing":["landlock","seccomp"],"weaker":true' in report.replace(" ", "")
