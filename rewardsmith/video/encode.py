"""Pictures to MP4 (through ffmpeg, where imageio-ffmpeg is installed) and to a small GIF."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

LARGEST = 1_400_000
"""Bytes of either file; a report holds one, and a page with it has to open quickly."""
QUALITIES = (24, 30, 36, 44)
"""Constant rate factors of H.264, best first; the first that is small enough is taken."""
LEAST_GIF_FRAMES = 20


def has_ffmpeg() -> bool:
    """Whether MP4 can be written: the extra ``video`` is installed, and its program is there."""
    try:
        import imageio_ffmpeg

        return bool(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return False


def mp4(pictures: Sequence[np.ndarray], fps: float, caption: str) -> bytes:
    """Encode pictures.

    Args:
        pictures: (H, W, 3) of bytes, all of one size, both even.
        fps: frames per second.
        caption: kept as the file's comment.
    """
    data = b""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        for quality in QUALITIES:
            _write_mp4(file, pictures, fps, caption, quality)
            data = file.read_bytes()
            if len(data) <= LARGEST:
                break
    return data


def _write_mp4(
    file: Path, pictures: Sequence[np.ndarray], fps: float, caption: str, quality: int
) -> None:
    from imageio_ffmpeg import write_frames

    height, width = pictures[0].shape[:2]
    writer = write_frames(
        str(file),
        (width, height),
        fps=fps,
        codec="libx264",
        quality=None,
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=[
            *("-crf", str(quality), "-preset", "medium", "-movflags", "+faststart"),
            *("-metadata", f"comment={caption}"),
        ],
    )
    writer.send(None)
    for picture in pictures:
        writer.send(np.ascontiguousarray(picture))
    writer.close()


def gif(pictures: Sequence[np.ndarray], fps: float, caption: str) -> bytes:
    """Encode pictures as an animation that runs for ever, in as many frames as fit.

    Args:
        pictures: (H, W, 3) of bytes.
        fps: frames per second.
        caption: kept as the file's comment.
    """
    every = 1
    while True:
        chosen = [_palette(picture) for picture in pictures[::every]]
        data = _write_gif(chosen, every / fps, caption)
        if len(data) <= LARGEST or len(chosen) <= LEAST_GIF_FRAMES:
            return data
        every = max(every + 1, round(every * len(data) / LARGEST))


def _palette(picture: np.ndarray) -> Image.Image:
    """128 colours without dithering, which GIF could not compress."""
    return Image.fromarray(picture).quantize(128, dither=Image.Dither.NONE)


def _write_gif(pictures: Sequence[Image.Image], seconds: float, caption: str) -> bytes:
    first, *others = pictures
    stream = io.BytesIO()
    # browsers show what is faster than 50 frames per second slowly
    duration = max(20, round(1000 * seconds))
    first.save(
        stream,
        "GIF",
        save_all=True,
        append_images=others,
        duration=duration,
        loop=0,
        comment=caption.encode("ascii", errors="replace"),
        disposal=1,
    )
    return stream.getvalue()
