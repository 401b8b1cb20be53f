"""The files of a run. This module alone knows their names; every file is written whole.

```
results/reach/
  config.yaml  run.json  log.txt  summary.json  metrics.jsonl  spent.jsonl  report.html  .lock
  iteration_1/    prompt.md  reply_0.md  exchange_0_0.json  candidate_0.json  race_1.json
                  evaluations.json  reflection.md  experience.npz (of shards: experience_0.npz, …)
  rewards/iteration_1/candidate_0.py
  models/iteration_1/candidate_0.zip  models/baselines/sparse_seed_500.zip  models/best.zip
  tensorboard_logs/iteration_1/candidate_0/seed_0/
  populations/    1.json
  headline/       1_0_c0ffee.json  sparse_c0ffee.json  human_c0ffee.json
  seed_rewards/0_my_reward.py
  best/           reward.py  model.zip  card.md  video.mp4  video.gif
  videos/         2_1.mp4
  logs/           population_1.log
  tracking/       wandb/
  hub/            README.md  model.zip  reward.py  replay.mp4  …
```
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rewardsmith.errors import ResultsError
from rewardsmith.files import (
    TEMPORARY,
    append_line,
    is_whole_archive,
    locked,
    read_text,
    write_whole,
)
from rewardsmith.types import Candidate, Evaluation, RewardFunction, Trial

_TRIAL = TypeAdapter(Trial)
_TRIALS = TypeAdapter(list[Trial])
_T = TypeVar("_T")
TABLE_AGAIN = "it is written again, from the candidates' own files"


class RunDirectory:
    """One run on disk."""

    def __init__(self, root: Path) -> None:
        """Point at a run; see `create` and `open`."""
        self.root = root

    @classmethod
    def create(cls, results: Path, name: str) -> RunDirectory:
        """Make the folder of a new run: ``name``, or ``name-2``, … if that exists.

        Raises:
            ResultsError: it cannot be made.
        """
        number = 1
        while True:
            root = results / (name if number == 1 else f"{name}-{number}")
            try:
                root.mkdir(parents=True, exist_ok=False)
                return cls(root)
            except FileExistsError:
                number += 1
            except OSError as error:
                raise ResultsError(
                    f"The run folder {root} cannot be made: {error.strerror}. "
                    "Choose another place with paths.results=FOLDER."
                ) from None

    @classmethod
    def open(cls, path: Path, named: str = "experiment.resume") -> RunDirectory:
        """Point at a run that exists.

        Args:
            path: of the run.
            named: option that the path was given by, for the sentence.

        Raises:
            ResultsError: there is none.
        """
        run = cls(path)
        if not run.config_file.is_file():
            raise ResultsError(
                f"{named} is {str(path)!r}, but there is no run (no config.yaml) in it."
            )
        return run

    @classmethod
    def newest(cls, results: Path) -> RunDirectory:
        """Point at the run that was last written to.

        Raises:
            ResultsError: there is none.
        """
        runs = [cls(file.parent) for file in results.glob("*/config.yaml")]
        if not runs:
            raise ResultsError(f"There is no run in {str(results)!r} yet; name the folder of one.")
        return max(runs, key=cls._last_written)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from going on with this run meanwhile; clear up after a killed one.

        Raises:
            ResultsError: another process holds it.
            StorageError: nothing can be written here.
        """
        with locked(self.root / ".lock", f"{self.root} is a run that is still going"):
            for file in self.root.rglob(f".*{TEMPORARY}"):
                file.unlink(missing_ok=True)
            yield

    def _last_written(self) -> float:
        files = (self.config_file, self.log_file)
        return max(file.stat().st_mtime for file in files if file.exists())

    # -- where things are ---------------------------------------------------------------------

    @property
    def config_file(self) -> Path:
        """The composed configuration."""
        return self.root / "config.yaml"

    @property
    def record_file(self) -> Path:
        """Versions, provider, sandbox layers, and how the run ended."""
        return self.root / "run.json"

    @property
    def log_file(self) -> Path:
        """Everything that was told to the user, and more."""
        return self.root / "log.txt"

    @property
    def metrics_file(self) -> Path:
        """What happened, one line of JSON per event; see `rewardsmith.metrics`."""
        return self.root / "metrics.jsonl"

    @property
    def ledger_file(self) -> Path:
        """What was asked of a provider that costs something, and what it cost."""
        return self.root / "spent.jsonl"

    @property
    def summary_file(self) -> Path:
        """The result as data."""
        return self.root / "summary.json"

    @property
    def report_file(self) -> Path:
        """The result as a page."""
        return self.root / "report.html"

    @property
    def tensorboard(self) -> Path:
        """For ``tensorboard --logdir``."""
        return self.root / "tensorboard_logs"

    @property
    def best_model(self) -> Path:
        """Policy of the best reward."""
        return self.root / "best" / "model.zip"

    @property
    def best_reward(self) -> Path:
        """The best reward as a module that stands alone."""
        return self.root / "best" / "reward.py"

    @property
    def best_video(self) -> Path:
        """The best policy at work; beside it the same as a GIF."""
        return self.root / "best" / "video.mp4"

    @property
    def video_log(self) -> Path:
        """What the workers that film printed."""
        return self.root / "logs" / "video.log"

    @property
    def video_curves(self) -> Path:
        """The winner's video for TensorBoard."""
        return self.tensorboard / "winner"

    def new_video(self, name: str) -> Path:
        """Where a further video goes, never over an earlier one.

        Args:
            name: of what is filmed, e.g. ``2/1``.
        """
        stem = name.replace("/", "_")
        for number in itertools.count(1):
            file = self.root / "videos" / f"{stem}{f'-{number}' if number > 1 else ''}.mp4"
            if not (file.exists() or file.with_suffix(".gif").exists()):
                break
        return file

    @property
    def card_file(self) -> Path:
        """What should be known of the best reward and its policy."""
        return self.root / "best" / "card.md"

    @property
    def hub_folder(self) -> Path:
        """The best in the layout of the Hugging Face Hub."""
        return self.root / "hub"

    @property
    def tracking_folder(self) -> Path:
        """What a tracker keeps of its own."""
        return self.root / "tracking"

    def iteration(self, number: int) -> Path:
        """Folder of one iteration's texts and numbers."""
        return self.root / f"iteration_{number}"

    def iterations(self) -> list[int]:
        """Numbers of the iterations that have begun, in order."""
        names = (folder.name.partition("_")[2] for folder in self.root.glob("iteration_*"))
        return sorted(int(name) for name in names if name.isdigit())

    @staticmethod
    def _place(candidate: Candidate) -> Path:
        """Where a candidate's files are, below the folder of their kind."""
        if not candidate.iteration:
            return Path("baselines", candidate.label)
        return Path(f"iteration_{candidate.iteration}", f"candidate_{candidate.index}")

    def reward_file(self, candidate: Candidate) -> Path:
        """Source of a candidate's reward."""
        return self.root / "rewards" / f"{self._place(candidate)}.py"

    def model_file(self, candidate: Candidate, training: int = 0) -> Path:
        """Policy of one of a candidate's trainings."""
        suffix = f"_seed_{training}" if training else ""
        return self.root / "models" / f"{self._place(candidate)}{suffix}.zip"

    def last_model_file(self, candidate: Candidate, training: int = 0) -> Path:
        """Policy at the end of one of a candidate's trainings, be it the best one or not."""
        file = self.model_file(candidate, training)
        return file.with_name(f"{file.stem}_last.zip")

    def experience_file(self, iteration: int, shard: int | None = None) -> Path:
        """Transitions that were collected in an iteration, by one shard where there are several."""
        suffix = "" if shard is None else f"_{shard}"
        return self.iteration(iteration) / f"experience{suffix}.npz"

    def experience_files(self, before: int) -> list[Path]:
        """Transitions of the iterations before one, oldest first.

        Raises:
            ResultsError: one is damaged, or missing though there was a training.
        """
        return [file for number in range(1, before) for file in self._experience_of(number)]

    def _experience_of(self, number: int) -> list[Path]:
        found = []
        trained = self.root.glob(f"populations/{number}_shard_*.json")
        shards = sorted(int(file.stem.rpartition("_")[2]) for file in trained)
        for shard in (None, *shards):
            name = f"{number}" if shard is None else f"{number}_shard_{shard}"
            file, training = self.experience_file(number, shard), self._population_file(name)
            if not file.exists() and not training.exists():
                continue  # nothing was trained, or by a backend that keeps none
            if not is_whole_archive(file):
                raise ResultsError(
                    f"{file} is damaged or missing; delete it, {training} and "
                    f"{self.iteration(number)}/candidate_*.json to have that iteration trained "
                    "again, from the same replies."
                )
            found.append(file)
        return found

    def population_log(self, name: str) -> Path:
        """What the worker of a joint training printed."""
        return self.root / "logs" / f"population_{name}.log"

    def tensorboard_folder(self, candidate: Candidate, training: int) -> Path:
        """Scalars of one training."""
        return self.tensorboard / self._place(candidate) / f"seed_{training}"

    def hparams_folder(self, candidate: Candidate | None = None) -> Path:
        """A candidate's line in TensorBoard's table; of the table itself if there is none."""
        return self.tensorboard / self._place(candidate) if candidate else self.tensorboard

    def worker_log(self, candidate: Candidate, training: int) -> Path:
        """What a training worker printed."""
        suffix = f"_seed_{training}" if training else ""
        return self.root / "logs" / f"{self._place(candidate)}{suffix}.log"

    # -- writing ------------------------------------------------------------------------------

    def write_config(self, text: str) -> None:
        """Keep the composed configuration, once."""
        write_whole(self.config_file, text)

    def update_record(self, **values: Any) -> None:
        """Add to ``run.json``."""
        record = self.read_record()
        record.update(values)
        write_whole(self.record_file, json.dumps(record, indent=2) + "\n")

    def note_resumption(self, overrides: list[str], record: dict[str, Any]) -> None:
        """Add to ``run.json`` that, when, where and with which changes the run went on."""
        self.update_record(resumed=[*self._resumptions(), {**record, "overrides": overrides}])

    def earlier_overrides(self) -> list[str]:
        """What earlier resumptions changed; it goes on to count."""
        return [item for entry in self._resumptions() for item in entry["overrides"]]

    def _resumptions(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.read_record().get("resumed", [])
        return entries

    def append_metrics(self, line: str) -> None:
        """Add a line to ``metrics.jsonl``.

        Raises:
            ResultsError: it cannot be written.
        """
        append_line(self.metrics_file, line)

    def write_prompt(self, number: int, text: str) -> None:
        """Keep an iteration's prompt for people to read."""
        write_whole(self.iteration(number) / "prompt.md", text)

    def write_seed_reward(self, number: int, name: str, text: str) -> None:
        """Keep a reward of the user's own as it is now; the file it came from may change."""
        write_whole(self._seed_reward_file(number, name), text)

    def _seed_reward_file(self, number: int, name: str) -> Path:
        return self.root / "seed_rewards" / f"{number}_{name}"

    def write_reply(self, candidate: Candidate) -> None:
        """Keep a candidate's last reply and its code."""
        write_whole(self._reply_file(candidate), candidate.reply)
        if candidate.reward is not None:
            write_whole(self.reward_file(candidate), candidate.reward.source)

    def write_trial(self, trial: Trial) -> None:
        """Keep what became of a candidate: from here on it is finished."""
        candidate = trial.candidate
        file = self._trial_file(candidate.iteration, candidate.index)
        write_whole(file, _TRIAL.dump_json(trial, indent=2))

    def _trial_file(self, iteration: int, index: int) -> Path:
        return self.iteration(iteration) / f"candidate_{index}.json"

    def write_population(
        self, name: str, key: dict[str, str], results: dict[str, dict[str, Any]]
    ) -> None:
        """Keep what a joint training found out, whole.

        Args:
            name: of the joint training.
            key: what the results depend on.
            results: of each candidate, by its label.
        """
        text = json.dumps({"key": key, "results": results})
        write_whole(self._population_file(name), text)

    def _population_file(self, name: str) -> Path:
        return self.root / "populations" / f"{name}.json"

    def write_race(self, iteration: int, number: int, trials: Sequence[Trial]) -> None:
        """Keep what further trainings of an iteration's rivals came to."""
        write_whole(self._race_file(iteration, number), _TRIALS.dump_json(list(trials)))

    def _race_file(self, iteration: int, number: int) -> Path:
        return self.iteration(iteration) / f"race_{number}.json"

    def write_final(self, candidate: Candidate, key: str, evaluation: Evaluation) -> None:
        """Keep what fresh trainings with a reward came to, for the result.

        Args:
            candidate: its reward.
            key: digest of what the trainings depend on beside.
            evaluation: what they came to.
        """
        file = self._final_file(candidate, key)
        write_whole(file, _TRIAL.dump_json(Trial(candidate, evaluation)))

    def _final_file(self, candidate: Candidate, key: str) -> Path:
        return self.root / "headline" / f"{candidate.label.replace('/', '_')}_{key}.json"

    def write_iteration(self, number: int, summary: list[dict[str, Any]], reflection: str) -> None:
        """Keep an iteration's table and reflection."""
        folder = self.iteration(number)
        write_whole(folder / "reflection.md", reflection)
        # last: an iteration that has its table is over, and is not written again
        write_whole(folder / "evaluations.json", json.dumps(summary, indent=2) + "\n")

    def write_best(self, candidate: Candidate, training: int, module: str) -> None:
        """Make a candidate the best so far.

        Raises:
            ResultsError: its policy is damaged or missing.
        """
        file = self.model_file(candidate, training)
        if not file.exists():
            raise ResultsError(f"{file} is missing, the policy of the best candidate: put it back.")
        model = file.read_bytes()
        write_whole(self.best_reward, module)
        write_whole(self.best_model, model)
        write_whole(self.root / "models" / "best.zip", model)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Keep the result."""
        write_whole(self.summary_file, json.dumps(summary, indent=2) + "\n")

    def write_report(self, text: str) -> None:
        """Keep the result as a page."""
        write_whole(self.report_file, text)

    def write_card(self, text: str) -> None:
        """Keep what should be known of the best reward and its policy."""
        write_whole(self.card_file, text)

    def discard_curves(self, candidate: Candidate, training: int) -> None:
        """Remove the curves of a training that was cut off, so that they are not drawn twice."""
        shutil.rmtree(self.tensorboard_folder(candidate, training), ignore_errors=True)

    # -- reading ------------------------------------------------------------------------------

    def read_record(self) -> dict[str, Any]:
        """Read ``run.json``; empty if it is not there yet."""
        if not self.record_file.exists():
            return {}
        return self._read_json(self.record_file, dict, "what resumptions have changed is lost then")

    def read_seed_reward(self, number: int, name: str) -> str | None:
        """Read what `write_seed_reward` kept, None if there is nothing."""
        file = self._seed_reward_file(number, name)
        return file.read_text(encoding="utf-8") if file.is_file() else None

    def read_population(self, name: str, key: dict[str, str]) -> dict[str, dict[str, Any]] | None:
        """Read what `write_population` kept of these candidates, by label; None if nothing.

        Raises:
            ResultsError: the file is damaged.
        """
        file = self._population_file(name)
        if not file.exists():
            return None
        try:
            data = json.loads(file.read_text())
            results: dict[str, dict[str, Any]] = data["results"]
            return results if key.items() <= data["key"].items() else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise ResultsError(
                f"{file} is damaged; delete it, and the candidate_*.json of that iteration, to "
                "have it trained again."
            ) from None

    def read_race(self, iteration: int, number: int) -> list[Trial] | None:
        """Read what `write_race` kept, None if there is nothing.

        Raises:
            ResultsError: the file is damaged.
        """
        return self._read(_TRIALS, self._race_file(iteration, number))

    def read_trial(self, iteration: int, index: int) -> Trial | None:
        """Read a finished candidate, None if it is not finished.

        Raises:
            ResultsError: the file is damaged.
        """
        return self._read(_TRIAL, self._trial_file(iteration, index))

    def read_written(self, candidate: Candidate) -> Candidate:
        """Add what `write_reply` kept to a candidate that is not finished."""
        source = read_text(self.reward_file(candidate))
        reply = read_text(self._reply_file(candidate))
        return replace(candidate, reply=reply, reward=RewardFunction(source) if source else None)

    def _reply_file(self, candidate: Candidate) -> Path:
        return self.iteration(candidate.iteration) / f"reply_{candidate.index}.md"

    def is_closed(self, iteration: int) -> bool:
        """Whether an iteration is finished, its table written and all its candidates there.

        Raises:
            ResultsError: the table is damaged.
        """
        rows = self.read_table(iteration)
        return rows is not None and all(
            self._trial_file(iteration, index).exists() for index in range(len(rows))
        )

    def read_table(self, iteration: int) -> list[dict[str, Any]] | None:
        """Read what `write_iteration` kept of the candidates, None if there is nothing.

        Raises:
            ResultsError: the file is damaged.
        """
        file = self.iteration(iteration) / "evaluations.json"
        if not file.exists():
            return None
        rows = self._read_json(file, list, TABLE_AGAIN)
        if not all(isinstance(row, dict) for row in rows):
            raise _damaged(file, TABLE_AGAIN)
        return rows

    def read_trials(self, iteration: int | None = None) -> list[Trial]:
        """Read all finished candidates, in order.

        Args:
            iteration: only those of this one.

        Raises:
            ResultsError: a file is damaged.
        """
        files = self.root.glob(f"iteration_{iteration or '*'}/candidate_*.json")
        trials = [trial for file in files if (trial := self._read(_TRIAL, file)) is not None]
        return sorted(trials, key=lambda item: (item.candidate.iteration, item.candidate.index))

    def read_races(self, iteration: int) -> list[list[Trial]]:
        """Read all that `write_race` kept of an iteration, in order.

        Raises:
            ResultsError: a file is damaged.
        """
        races: list[list[Trial]] = []
        while (more := self.read_race(iteration, len(races) + 1)) is not None:
            races.append(more)
        return races

    def read_finals(self) -> list[Trial]:
        """Read all fresh trainings for the result, be they of this result or of an earlier one.

        Raises:
            ResultsError: a file is damaged.
        """
        files = sorted(self.root.glob("headline/*.json"))
        return [trial for file in files if (trial := self._read(_TRIAL, file)) is not None]

    def read_summary(self) -> dict[str, Any] | None:
        """Read the result; None if the run has not come to one.

        Raises:
            ResultsError: the file is damaged.
        """
        if not self.summary_file.exists():
            return None
        return self._read_json(self.summary_file, dict, "a run that is resumed writes it again")

    def read_texts(self, iteration: int) -> dict[str, str]:
        """Read an iteration's prompt and reflection, as far as they are there."""
        files = {
            name: self.iteration(iteration) / f"{name}.md" for name in ("prompt", "reflection")
        }
        return {name: read_text(file) for name, file in files.items() if file.is_file()}

    def read_final(self, candidate: Candidate, key: str) -> Evaluation | None:
        """Read what `write_final` kept of this candidate, None if there is nothing.

        Raises:
            ResultsError: the file is damaged.
        """
        trial = self._read(_TRIAL, self._final_file(candidate, key))
        return None if trial is None or trial.candidate != candidate else trial.evaluation

    @staticmethod
    def _read_json(file: Path, kind: type[_T], consequence: str) -> _T:
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ResultsError(f"{file} cannot be read: {error.strerror}.") from None
        except ValueError:
            data = None
        if not isinstance(data, kind):
            raise _damaged(file, consequence)
        return data

    @staticmethod
    def _read(adapter: TypeAdapter[_T], file: Path) -> _T | None:
        if not file.exists():
            return None
        try:
            return adapter.validate_json(file.read_bytes())
        except (OSError, ValidationError):
            raise ResultsError(f"{file} is damaged; delete it to have it done again.") from None


def _damaged(file: Path, consequence: str) -> ResultsError:
    return ResultsError(f"{file} cannot be read: it is damaged. Delete it to go on: {consequence}.")
