"""Curves for TensorBoard, written without torch: one folder per training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.metadata import create_summary_metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from rewardsmith.files import writing
from rewardsmith.types import Checkpoint


class Curves:
    """Writes what happens in one training."""

    def __init__(self, folder: str, source: str) -> None:
        """Open the file, and put the reward's source first.

        Args:
            folder: of the training.
            source: of the reward function.
        """
        self._folder = Path(folder)
        with writing(self._folder):
            self._writer = EventFileWriter(folder)
        text = TensorProto(dtype=DT_STRING, string_val=[f"```python\n{source}\n```".encode()])
        metadata = create_summary_metadata("reward/source", "")
        value = Summary.Value(tag="reward/source", tensor=text, metadata=metadata)
        self._write(0, Summary(value=[value]))

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
        with writing(self._folder):
            self._writer.flush()

    def scalars(self, timesteps: int, values: Mapping[str, float]) -> None:
        """Write numbers at one moment."""
        items = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(timesteps, Summary(value=items))

    def close(self) -> None:
        """Write everything out."""
        with writing(self._folder):
            self._writer.close()

    def _write(self, timesteps: int, summary: Summary) -> None:
        event = Event(wall_time=time.time(), step=timesteps, summary=summary)
        with writing(self._folder):
            self._writer.add_event(event)
