"""The best of a run in the layout of the Hugging Face Hub: a folder, pushed only when asked.

Nothing is loaded from the model, and nothing is contacted but by `push`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rewardsmith import config as configuration
from rewardsmith.errors import ConfigurationError, HubError, ResultsError
from rewardsmith.files import write_whole
from rewardsmith.llm.keys import find_secrets, scrub
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings
from rewardsmith.summary import hub_text, interval_text
from rewardsmith.types import Fitness

TOKEN = "HF_TOKEN"
LOGIN = f"log in with hf auth login, or set {TOKEN}"


def export_best(
    run: RunDirectory, folder: Path, repository: str, environment: Mapping[str, str]
) -> list[str]:
    """Write the best reward and its policy into a folder, with a model card.

    Args:
        run: that came to its end with a best reward.
        folder: new or empty.
        repository: that it may be pushed to, for the card's lines on how to load it.
        environment: whose secrets must not be in any text.

    Returns:
        Names of the files.

    Raises:
        ResultsError: the run has no result, or the folder holds something.
    """
    _check_run(run)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ResultsError(f"{folder} is there already: choose a new folder with --output FOLDER.")
    settings = configuration.recorded(run.config_file, run.earlier_overrides())
    secrets = find_secrets(environment)
    contents = _contents(run, settings, repository)
    for name, data in contents.items():
        write_whole(folder / name, scrub(data, secrets) if isinstance(data, str) else data)
    return list(contents)


def _check_run(run: RunDirectory) -> None:
    if not run.summary_file.is_file():
        raise ResultsError(
            f"{run.root} is not finished, so its best is not tested: go on with it "
            f"(experiment.resume={run.root}) first."
        )
    for file in (run.best_model, run.best_reward, run.card_file):
        if not file.is_file():
            raise ResultsError(f"{run.root} has no best reward to export: there is no {file}.")


def _contents(run: RunDirectory, settings: Settings, repository: str) -> dict[str, str | bytes]:
    """The files by name; ``replay.mp4`` is what the Hub plays on the page of a model."""
    summary, record = run.read_summary() or {}, run.read_record()
    versions = {name: record.get(name) for name in ("rewardsmith", "python", "versions")}
    video = run.best_video.is_file()
    contents: dict[str, str | bytes] = {
        "README.md": _card(run, settings, summary, repository, video),
        "reward.py": run.best_reward.read_text(encoding="utf-8"),
        "model.zip": run.best_model.read_bytes(),
        "summary.json": json.dumps(summary, indent=2) + "\n",
        "config.yaml": configuration.yaml_text(configuration.public(settings)),
        "versions.json": json.dumps(versions, indent=2) + "\n",
    }
    if video:
        contents["replay.mp4"] = run.best_video.read_bytes()
    return contents


def _card(
    run: RunDirectory, settings: Settings, summary: dict[str, Any], repository: str, video: bool
) -> str:
    """The run's own card below what the Hub reads, and how to load the policy."""
    metadata = _metadata(run, settings, summary)
    front = configuration.yaml_text(metadata)
    training = settings.final_training or settings.training
    usage = hub_text(
        repository=repository,
        algorithm=training.algorithm,
        module=_module(training.algorithm),
        env_id=settings.env.short_id,
        video=video,
    )
    card = run.card_file.read_text(encoding="utf-8").strip()
    return f"---\n{front}---\n\n{card}\n\n{usage}"


def _metadata(run: RunDirectory, settings: Settings, summary: dict[str, Any]) -> dict[str, Any]:
    env_id = settings.env.short_id
    metadata: dict[str, Any] = {
        "library_name": "stable-baselines3",
        "pipeline_tag": "reinforcement-learning",
        "tags": [
            "reinforcement-learning",
            "deep-reinforcement-learning",
            "stable-baselines3",
            "rewardsmith",
            env_id,
        ],
    }
    if summary.get("test") is not None:
        result = {
            "task": {"type": "reinforcement-learning", "name": "reinforcement-learning"},
            "dataset": {"type": env_id, "name": env_id},
            "metrics": _metrics(Fitness(**summary["test"])),
        }
        name = f"rewardsmith-{settings.env.name}"
        metadata["model-index"] = [{"name": name, "results": [result]}]
    return metadata


def _metrics(test: Fitness) -> list[dict[str, Any]]:
    """Of the test episodes alone, which nothing was selected by."""
    measured = f"{interval_text(test)}, 95 % interval; {test.episodes} test episodes"
    success = test.kind == "success"
    main = {
        "type": "success_rate" if success else "mean_reward",
        "name": f"{'success' if success else 'mean return'} {measured}, {test.seeds} seeds",
        "value": round(test.mean, 4),
        "args": {"low": round(test.low, 4), "high": round(test.high, 4), "confidence": 0.95},
        "verified": False,
    }
    if not success:
        return [main]
    value = round(test.environment_return, 4)
    return [main, {"type": "mean_reward", "name": "mean reward", "value": value, "verified": False}]


def _module(algorithm: str) -> str:
    """Where an algorithm is imported from; without importing it, which takes seconds."""
    own = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")
    return "stable_baselines3" if algorithm in own else "sb3_contrib"


class Hub:
    """The Hugging Face Hub, as far as one may write there.

    The token is taken from the environment, or from where ``hf auth login`` has left it; it is
    written nowhere.
    """

    def __init__(self, repository: str, environment: Mapping[str, str]) -> None:
        """See that there are the package, a token and a possible name; nothing is contacted.

        Raises:
            ConfigurationError: one is missing.
        """
        if find_spec("huggingface_hub") is None:
            raise ConfigurationError(
                "--push needs the package huggingface-hub: pip install 'rewardsmith[hub]'."
            )
        self._hub = import_module("huggingface_hub")
        self._token = environment.get(TOKEN, "").strip() or self._hub.get_token()
        if not self._token:
            raise ConfigurationError(f"--push needs a token of huggingface.co: {LOGIN}.")
        try:
            import_module("huggingface_hub.utils").validate_repo_id(repository)
        except ValueError:
            raise ConfigurationError(
                f"--push is {repository!r}, but it should be a name as in USER/MODEL."
            ) from None
        self.repository = repository

    def push(self, folder: Path, private: bool) -> str:
        """Make the repository if it is not there, and commit the folder to it.

        Args:
            folder: that was exported.
            private: of a repository that is made; False leaves it to the account.

        Returns:
            The address of the model.

        Raises:
            HubError: it did not work; the folder is still there.
        """
        api = self._hub.HfApi(token=self._token)
        try:
            made = api.create_repo(self.repository, private=private or None, exist_ok=True)
            api.upload_folder(
                repo_id=self.repository,
                folder_path=str(folder),
                commit_message="Upload a reward and its policy",
            )
        except Exception as error:  # of HTTP libraries that change with its versions
            raise HubError(self._explain(error, folder)) from None
        return str(made)

    def _explain(self, error: Exception, folder: Path) -> str:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            why = f"the token is refused ({status}): {LOGIN}, with the right to write"
        else:
            words = scrub(" ".join(str(error).split()), [self._token])
            why = f"{type(error).__name__}: {words[:200]}"
        return f"Nothing was pushed to {self.repository}, {why}. The folder is {folder}."
