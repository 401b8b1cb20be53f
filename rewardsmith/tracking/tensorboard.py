"""The table of candidates in TensorBoard's HPARAMS tab; their curves are written as they train."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewardsmith.files import write_whole
from rewardsmith.headline import Entrant
from rewardsmith.llm.types import Usage
from rewardsmith.results import RunDirectory
from rewardsmith.settings import Settings
from rewardsmith.summary import Result
from rewardsmith.types import Candidate, Trial

Value = str | float
FITNESS, HEADLINE = "result/fitness", "result/headline"
_COUNTER = itertools.count()


class HParams:
    """Implements `rewardsmith.loop.Listener`: one line per candidate, and one for its fitness.

    A line is a session of TensorBoard's plugin ``hparams``; later files of the same candidate add
    to it. Without torch, as `rewardsmith.training.population.curves`.
    """

    def __init__(
        self, run: RunDirectory, settings: Settings, say: Callable[[str], None] = print
    ) -> None:
        """Write into the folder of a run."""
        self._run, self._say = run, say
        self._common: dict[str, Value] = {
            "strategy": "+".join(settings.experiment.strategy),
            "algorithm": settings.training.algorithm,
            "learning_rate": _number(settings.training.learning_rate),
            "total_timesteps": float(settings.training.total_timesteps),
        }
        self._stopped = False

    def iteration_started(self, number: int, of: int, candidates: int) -> None:
        """A round begins; before the first one the table is declared."""
        if number == 1:
            self._write(self._run.hparams_folder(), 0, [_experiment()])

    def candidate_written(self, candidate: Candidate) -> None:
        """A reply was turned into a candidate, usable or not."""

    def progressed(self, candidate: Candidate, data: dict[str, Any]) -> None:
        """A training came further."""

    def evaluated(self, trial: Trial, usage: Usage) -> None:
        """A candidate is finished: its line; one of more trainings counts later."""
        candidate, evaluation = trial.candidate, trial.evaluation
        if evaluation.fitness is None:
            return
        components = evaluation.curves[0][-1].components if any(evaluation.curves) else {}
        values = {
            "iteration": float(candidate.iteration),
            "candidate": float(candidate.index),
            "origin": candidate.origin,
            "parents": " ".join(candidate.parents) or "none",
            "components": float(len(components)),
            "trainings": float(evaluation.fitness.seeds),
            **self._common,
        }
        scalar = _scalar(FITNESS, evaluation.fitness.mean)
        self._write(
            self._run.hparams_folder(candidate),
            evaluation.fitness.seeds,
            [_session_start(candidate.label, values), scalar, _session_end()],
        )

    def iteration_finished(self, number: int, best: Trial | None) -> None:
        """A round ends."""

    def racing(self, rivals: Sequence[Trial], seeds: int) -> None:
        """Candidates that cannot be told from the best are trained on more seeds."""

    def retraining(self, entrants: Sequence[Entrant], seeds: int) -> None:
        """The winner, or what it is compared with, is trained once more, for the result."""

    def finished(self, result: Result) -> None:
        """The run came to its end: what the fresh trainings say of the candidates among them."""
        for entrant in result.entrants:
            own = entrant.evaluation
            if entrant.candidate.iteration and own is not None and own.fitness is not None:
                scalar = _scalar(HEADLINE, own.fitness.mean)
                folder = self._run.hparams_folder(entrant.candidate)
                self._write(folder, own.fitness.seeds, [scalar])

    def _write(self, folder: Path, step: int, values: Sequence[Any]) -> None:
        """Write one more file of events; a table is never worth a run."""
        if self._stopped:
            return
        try:
            _write_events(folder, step, values)
        except Exception as error:
            self._stopped = True
            self._say(f"TensorBoard's table is not written ({error}); the run goes on")


def _write_events(folder: Path, step: int, values: Sequence[Any]) -> None:
    """Write a file of events, whole.

    TensorBoard reads a folder's files in the order of their names, and the last one counts; its own
    writer's names lose that order within a second.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    now, content = time.time(), io.BytesIO()
    writer = RecordWriter(content)
    for event in (
        Event(wall_time=now, file_version="brain.Event:2"),
        Event(wall_time=now, step=step, summary=Summary(value=values)),
    ):
        writer.write(event.SerializeToString())
    name = f"events.out.tfevents.{int(now):010d}.{next(_COUNTER):06d}.hparams"
    write_whole(folder / name, content.getvalue())


def _number(value: float | None) -> Value:
    """The learning rate of Stable-Baselines3 may be left to the algorithm."""
    return "its own" if value is None else float(value)


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=value)


def _experiment() -> Any:
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    experiment = api_pb2.Experiment(
        description="The candidates of a run.",
        time_created_secs=time.time(),
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=name)
            for tag, name in ((FITNESS, "fitness"), (HEADLINE, "from scratch"))
        ],
    )
    data = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    return _plugin_value(metadata.EXPERIMENT_TAG, data)


def _session_start(name: str, values: Mapping[str, Value]) -> Any:
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(group_name=name, start_time_secs=time.time())
    for key, value in values.items():
        if isinstance(value, str):
            start.hparams[key].string_value = value
        else:
            start.hparams[key].number_value = value
    data = plugin_data_pb2.HParamsPluginData(session_start_info=start)
    return _plugin_value(metadata.SESSION_START_INFO_TAG, data)


def _session_end() -> Any:
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    return _plugin_value(metadata.SESSION_END_INFO_TAG, data)


def _plugin_value(tag: str, data: Any) -> Any:
    """A value that holds nothing but its metadata, as the plugin wants it."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    tensor = metadata.NULL_TENSOR
    return Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=tensor)
