"""``rewardsmith play``: what it films, what it prints, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rewardsmith import commands
from rewardsmith.results import RunDirectory
from rewardsmith.tasks.point import PointReachEnv
from rewardsmith.video import recorder
from rewardsmith.video.recorder import Film, Subject
from tests import films

SB3 = ("env=point", "training=sb3", "training.algorithm=SAC")


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return films.make_run(tmp_path, PointReachEnv(), "env=point")


def play(*arguments: object) -> Result:
    return CliRunner().invoke(commands.app, ["play", *map(str, arguments)])


def refused(*arguments: object) -> str:
    """The one sentence that a call ends with."""
    result = play(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.strip().splitlines()[-1]


@pytest.fixture
def filmed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Subject, dict[str, Any]]]:
    """What was asked for, without filming."""
    calls: list[tuple[Subject, dict[str, Any]]] = []

    def fake(settings: Any, subject: Subject, *others: Any, **options: Any) -> Film:
        assert subject.algorithm in (None, "SAC")  # or it is refused
        calls.append((subject, {"episodes": settings.video.episodes, **options}))
        file = options["mp4"] or options["gif"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"film")
        episode = {"success": True, "own_return": 1.5, "length": 1}
        return Film(options["mp4"], None if options["mp4"] else file, "caption", (episode,))

    monkeypatch.setattr(recorder, "film", fake)
    return calls


@pytest.mark.slow
def test_a_strangers_run_is_filmed_without_executing_anything(
    run: RunDirectory, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    films.add_bombs(run.best_model, mark, "data", "pytorch_variables.pth")
    shown = play(run.root, "--record", "--episodes", "1")
    assert shown.exit_code == 0, shown.output
    assert not mark.exists()
    file = run.root / "videos" / "1_0.mp4"
    assert f"1/0 on PointReach-v0, policy {run.best_model}" in shown.output
    assert "episode 1: no success, own return -" in shown.output
    assert ", 20 steps" in shown.output
    assert f"video: {file}" in shown.output
    assert file.stat().st_size > 5_000
    assert not file.with_suffix(".gif").exists()


@pytest.mark.slow
def test_a_window_shows_each_episode_as_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, own = films.Windowed(), films.own("Windowed-v0")
    run = films.make_run(tmp_path, env, *own, reward=films.PLAIN_REWARD)
    monkeypatch.setenv("DISPLAY", ":77")
    shown = play(run.root, "--episodes", "2")
    assert shown.exit_code == 0, shown.output
    assert "made by your own module tests.films, which is imported" in shown.output
    assert "episode 1: own return 2.500, 5 steps" in shown.output
    assert "episode 2: own return 2.500, 5 steps" in shown.output


def test_without_a_display_the_way_out_is_named(run: RunDirectory) -> None:
    assert "There is no display for a window" in refused(run.root)
    assert "use --record" in refused(run.root)


def test_models_that_can_execute_code_need_trust(
    tmp_path: Path, filmed: list[tuple[Subject, dict[str, Any]]]
) -> None:
    run = films.make_run(tmp_path, PointReachEnv(), *SB3)
    sentence = refused(run.root, "--record")
    assert "was trained with training=sb3 (SAC)" in sentence
    assert "opening it executes what they say" in sentence
    assert "add --trust" in sentence
    assert not filmed
    assert play(run.root, "--record", "--trust").exit_code == 0
    assert filmed[0][0].algorithm == "SAC"


def test_a_candidate_and_a_training_are_chosen(
    run: RunDirectory, filmed: list[tuple[Subject, dict[str, Any]]]
) -> None:
    [trial] = run.read_trials()
    fresh = run.model_file(trial.candidate, 500)
    fresh.write_bytes(b"model")
    assert play(run.root, "--record", "--candidate", "1/0").exit_code == 0
    assert play(run.root, "--record", "--seed-number", 500, "--episodes", 7).exit_code == 0
    (first, _), (second, options) = filmed
    assert first.model == run.model_file(trial.candidate)
    assert second.model == fresh
    assert options["episodes"] == 7


def test_no_video_is_written_over_another(
    run: RunDirectory, tmp_path: Path, filmed: list[tuple[Subject, dict[str, Any]]]
) -> None:
    for name in ("1_0.mp4", "1_0-2.mp4"):
        assert f"video: {run.root / 'videos' / name}" in play(run.root, "--record").output
    file = tmp_path / "mine.gif"
    assert f"video: {file}" in play(run.root, "--record", file).output
    assert filmed[-1][1]["mp4"] is None
    assert "mine.gif exists already; choose another name" in refused(run.root, "--record", file)
    assert len(filmed) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--record", "--candidate", "3/1"), "has no candidate '3/1' with a reward"),
        (("--record", "--candidate", "best"), "has no candidate 'best' with a reward"),
        (("--record", "--seed-number", "4"), "candidate_0_seed_4.zip; that training did not"),
        (("--record", "film.avi"), "'film.avi', but must end in .mp4 or .gif"),
        (("film.mp4",), "film.mp4 would be written with --record only"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, run: RunDirectory
) -> None:
    assert sentence in refused(run.root, *arguments)


def test_a_run_whose_record_masks_a_secret_is_played(
    tmp_path: Path, filmed: list[tuple[Subject, dict[str, Any]]]
) -> None:
    secret = "+llm.parameters.extra_headers.authorization=sk-123456789"
    run = films.make_run(tmp_path, PointReachEnv(), "env=point", secret)
    assert "sk-123456789" not in run.config_file.read_text()
    assert play(run.root, "--record").exit_code == 0
    assert len(filmed) == 1


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    assert "there is no run (no config.yaml) in it" in refused(tmp_path, "--record")
