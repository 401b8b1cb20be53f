"""Videos: what is in them, when they are made, and what is said when they cannot be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import imageio
import imageio.v3
import numpy as np
import pytest
from omegaconf import OmegaConf
from stable_baselines3 import SAC
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rewardsmith import config
from rewardsmith.errors import RenderingError, ResultsError
from rewardsmith.evaluation import CHECKPOINT_SEEDS, RANKING_SEEDS, TEST_SEEDS, VIDEO_SEEDS
from rewardsmith.tasks.task import Task, build_task, make_environment
from rewardsmith.training.population.weights import read_policy
from rewardsmith.types import Candidate, RewardFunction
from rewardsmith.video import encode, recorder, winner, worker
from rewardsmith.video.panel import GREEN, PAPER, RED, Moment, Panel
from rewardsmith.video.recorder import Film, Subject, film
from tests import films

CANDIDATE = Candidate(2, 3, RewardFunction(films.REWARD))


def take(folder: Path, *overrides: str, **options: Any) -> Film:
    """Film an untrained policy."""
    settings = films.settings(*overrides)
    env = make_environment(settings.env)
    films.write_model(folder / "model.zip", env)
    env.close()
    subject = Subject(CANDIDATE, folder / "model.zip", settings.training)
    places: dict[str, Any] = {"mp4": folder / "v.mp4", "gif": folder / "v.gif", **options}
    return film(settings, subject, dict(os.environ), folder / "log.txt", **places)


def frames(file: Path) -> np.ndarray:
    if file.suffix == ".gif":
        return np.asarray(imageio.v3.imread(file, index=None))
    return np.stack(list(imageio.get_reader(file).iter_data()))


def close_to(picture: np.ndarray, colour: tuple[int, int, int], within: int = 30) -> np.ndarray:
    """Pixels (H, W) of about one colour."""
    near: np.ndarray = np.abs(picture.astype(int) - colour).max(axis=-1) <= within
    return near


# -- whole videos -------------------------------------------------------------------------------


@pytest.mark.slow
def test_point_is_filmed_as_mp4_and_gif(tmp_path: Path) -> None:
    made = take(tmp_path, "env=point", "video.episodes=2", curves=tmp_path / "curves")
    assert made.mp4 is not None
    assert made.gif is not None
    movie = frames(made.mp4)
    assert movie.shape == (2 * (1 + 20 + 8), 532, 480, 3)  # a reset, the steps, 0.8 s of the end
    assert all((movie[at] != movie[at + 1]).any() for at in range(20))
    assert (movie[21] == movie[28]).mean() > 0.99
    band, scene, strip = movie[5, :40], movie[5, 60:470], movie[5, 485:]
    assert close_to(strip, PAPER).mean() > 0.5
    assert close_to(strip, RED, 60).sum() > 100  # both components are below zero
    assert close_to(band, (240, 242, 245), 60).sum() > 200  # there is text
    assert close_to(scene, (35, 90, 190), 60).sum() > 200  # the point is not hidden
    assert frames(made.gif).shape[1:3] == (360, 320)
    assert made.gif.stat().st_size < encode.LARGEST
    solved = sum(item["success"] for item in made.episodes)
    assert [item["seed"] for item in made.episodes] == [VIDEO_SEEDS, VIDEO_SEEDS + 1]
    assert f"2/3 on PointReach-v0, 2 episodes, {solved} of them successful" in made.caption
    assert made.caption.encode() in made.gif.read_bytes()
    assert made.caption.encode() in made.mp4.read_bytes()
    curves = EventAccumulator(str(tmp_path / "curves"))
    curves.Reload()
    [image] = curves.Images("video")
    assert image.encoded_image_string == made.gif.read_bytes()


@pytest.mark.slow
def test_reach_is_filmed_without_a_screen(tmp_path: Path) -> None:
    try:
        made = take(tmp_path, "env=reach", "video.episodes=1", "video.frames=10", "video.size=240")
    except RenderingError as error:
        assert "libegl1" in str(error)
        pytest.skip(str(error))
    assert made.mp4 is not None
    movie = frames(made.mp4)
    assert movie.shape[0] == 1 + 10 + 20  # every fifth step
    assert movie.shape[2:] == (240, 3)
    scene = movie[3, 50:230]
    assert close_to(scene, (115, 220, 145), 25).mean() > 0.2  # the green room of the Fetch robot
    assert (movie[2] != movie[9]).mean() > 0.01
    assert len({*made.episodes[0]} & {"success", "own_return", "length", "seed"}) == 4


@pytest.mark.slow
def test_without_graphics_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "GL_BACKENDS", ("nonsense",))
    with pytest.raises(RenderingError, match="install libegl1 libgl1-mesa-dri libopengl0") as error:
        take(tmp_path, "env=reach")
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.glob("v.*"))


def test_a_crash_in_the_graphics_library_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "_WORKER", "tests.films")
    with pytest.raises(RenderingError, match="neither EGL nor OSMesa works"):
        take(tmp_path, "env=point")


def test_a_gif_is_made_where_ffmpeg_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reports: list[Any]
) -> None:
    monkeypatch.setattr(worker, "has_ffmpeg", lambda: False)
    value = worker.record(
        payload(tmp_path, "env=point", always_gif=False, algorithm="SAC"), reports.append
    )
    assert value["mp4"] is None
    assert frames(Path(value["gif"])).shape[1:3] == (360, 320)
    assert reports == [{"rendered": True}]


def test_an_environment_that_renders_nothing_is_named(tmp_path: Path) -> None:
    data = payload(tmp_path, *films.own("Blind-v0"))
    value = worker.record(data, print)
    assert value == {
        "refused": "tests.films:Blind-v0 renders no pictures (its render_modes are [])."
    }


@pytest.fixture
def reports() -> Iterator[list[Any]]:
    yield []


def payload(folder: Path, *overrides: str, **changes: Any) -> dict[str, Any]:
    """Arguments of the worker."""
    settings = films.settings(*overrides, "video.episodes=1")
    env = make_environment(settings.env)
    films.write_model(folder / "model.zip", env)
    subject = Subject(CANDIDATE, folder / "model.zip", settings.training)
    return {
        **recorder._payload(settings, subject, 1),
        "video": settings.video.model_dump(),
        "label": "2/3",
        "mp4_file": str(folder / "v.mp4"),
        "gif_file": str(folder / "v.gif"),
        "always_gif": True,
        "curves": None,
        **changes,
    }


class _Slow(gymnasium.Wrapper):
    """Shows a blank picture."""

    def render(self) -> Any:
        return np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("horizon", "frames", "pace"),
    [(20, 300, (4, 1)), (50, 100, (2, 1)), (1_000, 300, (1, 4)), (0, 500, (1, 2))],
)
def test_long_episodes_are_fewer_and_faster(
    horizon: int, frames: int, pace: tuple[int, int], point_task: Task, tmp_path: Path
) -> None:
    data = payload(tmp_path, "env=point", f"video.frames={frames}", episodes=4)
    task = replace(point_task, horizon=horizon)
    found = worker._pace(task, _Slow(task.make()), worker.RecordPayload.model_validate(data))
    assert (found.episodes, found.every) == pace


@pytest.fixture(scope="module")
def point_task() -> Task:
    return build_task(films.settings("env=point").env)


# -- the panel ----------------------------------------------------------------------------------

PANEL = Panel(480, ("near", "effort"), 2.0, "1/0 on Here-v0", episodes=3, steps=50, unit="m")
MOMENT = Moment(1, 7, solved=False, distance=0.25, own_return=-3.5, components=(2.0, -1.0))


def test_bars_show_sign_and_size() -> None:
    picture = PANEL.draw(np.full((480, 480, 3), 90, np.uint8), MOMENT)
    assert picture.shape[1] == 480
    assert picture.shape[0] % 2 == 0
    first, second = np.array_split(picture[480:], 2)
    up, down = close_to(first, GREEN, 10), close_to(second, RED, 10)
    assert up.any()
    assert down.any()
    assert not close_to(first, RED, 10).any()
    full, half = np.ptp(np.flatnonzero(up.any(axis=0))), np.ptp(np.flatnonzero(down.any(axis=0)))
    assert full == pytest.approx(2 * half, abs=3)
    assert (picture[100:480] == 90).all()  # the scene itself is left alone


def test_success_and_distance_are_drawn_over_the_frame() -> None:
    def band(**changes: Any) -> np.ndarray:
        blank = np.zeros((480, 480, 3), np.uint8)
        return PANEL.draw(blank, replace(MOMENT, **changes))[:50]

    assert close_to(band(solved=True), GREEN, 10).any()
    assert not close_to(band(solved=False), GREEN, 10).any()
    assert close_to(band(solved=False), RED, 10).any()
    assert not close_to(band(solved=None), RED, 10).any()
    assert (band(distance=0.25) != band(distance=0.75)).any()


@pytest.mark.parametrize("count", [1, 6, 7, 12, 20])
@pytest.mark.parametrize("width", [160, 320, 480])
def test_any_number_of_long_names_fits(count: int, width: int) -> None:
    names = tuple(f"a_rather_long_name_of_a_component_{at}" for at in range(count))
    panel = replace(PANEL, names=names, width=width)
    values = tuple(-123456.789 for _ in names)
    picture = panel.draw(np.zeros((300, 400, 3), np.uint8), replace(MOMENT, components=values))
    assert picture.shape[1] == width
    assert picture.shape[0] < 2.2 * width
    edge = picture[round(width * 0.75) :, -2:]
    assert close_to(edge, PAPER, 2).all()  # nothing runs out of the picture


def test_a_gif_drops_frames_until_it_is_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 40, 40, 3), np.uint8)
    whole = len(encode.gif(list(noise), 10.0, "x"))
    monkeypatch.setattr(encode, "LARGEST", whole // 2)
    assert len(encode.gif(list(noise), 10.0, "x")) <= whole // 2


# -- the winner's -------------------------------------------------------------------------------


@pytest.fixture
def filmed(monkeypatch: pytest.MonkeyPatch) -> list[Subject]:
    """What was filmed, without filming."""
    subjects: list[Subject] = []

    def fake(settings: Any, subject: Subject, *others: Any, mp4: Path, gif: Path, **_: Any) -> Film:
        subjects.append(subject)
        mp4.write_bytes(b"mp4")
        gif.write_bytes(b"gif")
        return Film(mp4, gif, "caption", ({"success": True, "seed": 1},) * 2)

    monkeypatch.setattr(winner, "film", fake)
    return subjects


def test_the_winner_is_filmed_once(tmp_path: Path, filmed: list[Subject], point_task: Task) -> None:
    settings = films.settings("env=point")
    run = films.make_run(tmp_path, point_task.make(), "env=point")
    said = winner.film_winner(settings, run, CANDIDATE, {})
    assert said == f"{run.best_video} (2 of 2 episodes succeed; they were not selected)"
    assert winner.film_winner(settings, run, CANDIDATE, {}) == said
    assert len(filmed) == 1
    run.best_model.write_bytes(b"another winner")
    winner.film_winner(settings, run, CANDIDATE, {})
    assert len(filmed) == 2


def test_a_video_that_fails_is_a_sentence_and_leaves_none_of_another_winner(
    tmp_path: Path, filmed: list[Subject], point_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = films.settings("env=point")
    run = films.make_run(tmp_path, point_task.make(), "env=point")
    winner.film_winner(settings, run, CANDIDATE, {})
    run.best_model.write_bytes(b"another winner")

    def fail(*arguments: Any, **options: Any) -> Film:
        raise RenderingError("There is no light.")

    monkeypatch.setattr(winner, "film", fail)
    assert winner.film_winner(settings, run, CANDIDATE, {}) == "none: There is no light."
    assert not run.best_video.exists()


def test_seeds_of_videos_are_their_own() -> None:
    span = 300_000_000  # of each range, see held_out_seeds
    starts = (CHECKPOINT_SEEDS, RANKING_SEEDS, TEST_SEEDS, VIDEO_SEEDS)
    assert all(late - early > span for early, late in zip(starts, starts[1:], strict=False))


def test_runs_from_before_there_were_videos_are_read(tmp_path: Path) -> None:
    values = OmegaConf.create(config.to_yaml(films.settings("env=point")))
    del values["video"]
    file = tmp_path / "config.yaml"
    OmegaConf.save(values, file)
    assert config.resumed(file, []).video.episodes == 4


# -- weights and nothing else -------------------------------------------------------------------


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_policy_read_as_weights_acts_as_the_loaded_one(dictionary: bool, tmp_path: Path) -> None:
    box = gymnasium.spaces.Box
    observation: gymnasium.Space = box(-9.0, 9.0, (5,))
    if dictionary:
        goal = box(-9.0, 9.0, (3,), np.float64)
        observation = gymnasium.spaces.Dict({"observation": observation, "desired_goal": goal})
    action = box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))
    env = films.Spaces(observation, action)
    films.write_model(tmp_path / "model.zip", env)
    loaded = SAC.load(tmp_path / "model.zip")
    policy = read_policy(tmp_path / "model.zip", observation, action)
    for _ in range(50):
        seen = observation.sample()
        expected = loaded.predict(seen, deterministic=True)[0]
        np.testing.assert_allclose(policy(seen), expected, atol=1e-5)
        assert policy(seen).dtype == expected.dtype


def test_nothing_in_a_model_is_executed(tmp_path: Path, point_task: Task) -> None:
    env, model, mark = point_task.make(), tmp_path / "model.zip", tmp_path / "mark"
    films.write_model(model, env)
    films.add_bombs(model, mark, "data", "pytorch_variables.pth", "actor.optimizer.pth")
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    read_policy(model, env.observation_space, env.action_space)
    assert not mark.exists()
    films.add_bombs(model, mark, "policy.pth")
    with pytest.raises(ResultsError, match="no policy that can be read as weights alone"):
        read_policy(model, env.observation_space, env.action_space)
    assert not mark.exists()
    with pytest.raises(Exception):  # noqa: B017 - the bombs are real
        SAC.load(model)
    assert mark.exists()


def test_a_model_of_another_task_is_refused(tmp_path: Path, point_task: Task) -> None:
    model = tmp_path / "model.zip"
    box = gymnasium.spaces.Box(-1.0, 1.0, (7,))
    films.write_model(model, films.Spaces(box, box))
    env = point_task.make()
    assert isinstance(env.action_space, gymnasium.spaces.Box)
    with pytest.raises(ResultsError, match="no policy that can be read as weights alone"):
        read_policy(model, env.observation_space, env.action_space)
