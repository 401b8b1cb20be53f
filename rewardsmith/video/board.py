"""The GIF for TensorBoard: an image summary with the file's own bytes, which it plays."""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from rewardsmith.files import writing


def write_gif(folder: str, data: bytes) -> None:
    """Write an animation, in place of what was written to the folder before.

    Args:
        folder: of its own.
        data: of a GIF.
    """
    shutil.rmtree(folder, ignore_errors=True)
    width, height = Image.open(io.BytesIO(data)).size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
    value = Summary.Value(tag="video", image=image)
    with writing(Path(folder)):
        writer = EventFileWriter(folder)
        writer.add_event(Event(wall_time=time.time(), step=0, summary=Summary(value=[value])))
        writer.close()
