"""The winner's video: made once, at the end of a run, and again only for another winner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewardsmith.errors import RewardsmithError, StorageError
from rewardsmith.results import RunDirectory
from rewardsmith.settings import PopulationSettings, Settings, StableBaselines3Settings
from rewardsmith.types import Candidate
from rewardsmith.video.recorder import NO_FFMPEG, Film, Subject, film


def best_training(settings: Settings) -> PopulationSettings | StableBaselines3Settings:
    """What trained the policy that a run keeps as its best."""
    final = settings.final_training if settings.experiment.final_seeds else None
    return final or settings.training


def film_winner(
    settings: Settings, run: RunDirectory, candidate: Candidate, environment: Mapping[str, str]
) -> str:
    """Film the best policy of a run that has just trained it.

    Args:
        settings: of the run.
        run: that is finished.
        candidate: the winner.
        environment: variables for the workers, without keys.

    Returns:
        For the user: where the video is, or why there is none.
    """
    key = _key(settings, run, candidate)
    known = _known(run, key)
    try:
        found = known or _film(settings, run, candidate, environment, key)
    except StorageError:
        raise  # it can be filmed when the run goes on
    except RewardsmithError as error:
        return f"none: {error}"
    text = f"{found.file} ({count_successes(found.episodes)})"
    return text if found.mp4 is not None else f"{text}. {NO_FFMPEG}"


def count_successes(episodes: Any) -> str:
    """E.g. ``3 of 4 episodes succeed; they were not selected``."""
    told = [item["success"] for item in episodes]
    if None in told:
        return f"{len(told)} episode{'' if len(told) == 1 else 's'}, not selected"
    verb = "succeeds" if len(told) == 1 else "succeed"
    return f"{sum(told)} of {len(told)} episodes {verb}; they were not selected"


def _key(settings: Settings, run: RunDirectory, candidate: Candidate) -> str:
    """Digest of what the video depends on."""
    assert candidate.reward is not None
    values = json.dumps(settings.video.model_dump(), sort_keys=True)
    parts = (run.best_model.read_bytes(), candidate.reward.source.encode(), values.encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _known(run: RunDirectory, key: str) -> Film | None:
    """The video that is there already, if it is of this winner; one of another is removed."""
    record = run.read_record().get("video", {})
    mp4 = run.best_video if run.best_video.exists() else None
    gif = run.best_video.with_suffix(".gif")
    if record.get("key") == key and gif.exists():
        return Film(mp4, gif, record["caption"], tuple(record["episodes"]))
    for file in (run.best_video, gif):
        file.unlink(missing_ok=True)
    return None


def _film(
    settings: Settings,
    run: RunDirectory,
    candidate: Candidate,
    environment: Mapping[str, str],
    key: str,
) -> Film:
    subject = Subject(candidate, Path(run.best_model), best_training(settings), trusted=True)
    made = film(
        settings,
        subject,
        environment,
        run.video_log,
        mp4=run.best_video,
        gif=run.best_video.with_suffix(".gif"),
        curves=run.video_curves,
    )
    run.update_record(video={"key": key, "caption": made.caption, "episodes": list(made.episodes)})
    return made
