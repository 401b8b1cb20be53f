"""Curves for TensorBoard, written without torch: one folder per training.

TensorBoard's own writer keeps a thread and an open file for each folder; with hundreds of trainings
side by side that is too much, so each look is appended on its own.
"""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from rewardsmith.files import writing
from rewardsmith.types import Checkpoint

_COUNTER = itertools.count()


class Curves:
    """Writes what happens in one training."""

    def __init__(self, folder: str, source: str) -> None:
        """Begin a file with the reward's source.

        Args:
            folder: of the training.
            source: of the reward function.
        """
        place = Path(folder)
        name = f"{int(time.time()):010d}.{platform.node()}.{os.getpid()}.{next(_COUNTER)}"
        self._file = place / f"events.out.tfevents.{name}"
        with writing(self._file):
            place.mkdir(parents=True, exist_ok=True)
        text = TensorProto(dtype=DT_STRING, string_val=[f"```python\n{source}\n```".encode()])
        metadata = create_summary_metadata("reward/source", "")
        value = Summary.Value(tag="reward/source", tensor=text, metadata=metadata)
        now = time.time()
        self._write(
            Event(wall_time=now, file_version="brain.Event:2"),
            Event(wall_time=now, step=0, summary=Summary(value=[value])),
        )

    def checkpoint(self, point: Checkpoint) -> None:
        """Write one look at the policy."""
        values = {
            "checkpoint/own_return": point.own_return,
            "checkpoint/episode_length": point.episode_length,
            **{f"reward/{name}": value for name, value in point.components.items()},
            **{f"train/{name}": value for name, value in point.learner.items()},
        }
        if point.success is not None:
            values["checkpoint/success"] = point.success
        self.scalars(point.timesteps, values)

    def scalars(self, timesteps: int, values: Mapping[str, float]) -> None:
        """Write numbers at one moment."""
        items = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(Event(wall_time=time.time(), step=timesteps, summary=Summary(value=items)))

    def _write(self, *events: Event) -> None:
        with writing(self._file), self._file.open("ab") as stream:
            writer = RecordWriter(stream)
            for event in events:
                writer.write(event.SerializeToString())
