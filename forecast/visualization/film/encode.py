"""Pictures as a film: MP4 with PyAV (H.264), GIF with Pillow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forecast.visualization.extras import package

_QUALITY = "22"
"""Constant rate factor of x264; smaller is better, and from 18 on no loss is visible."""

_COLOURS = 128
_PALETTE_PICTURES = 4
"""The colours of a GIF are chosen from this many of its pictures."""

MOST_GIF_FPS = 50
"""Browsers show a picture of less than 2 hundredths of a second for 10 of them."""

_KEPT_ROWS = 30
"""A colour to be kept counts as this many rows of a picture."""


def write_mp4(path: Path, pictures: Iterable[NDArray[np.uint8]], fps: int) -> None:
    """Writes pictures as H.264 in an MP4 file that browsers and phones play.

    Args:
        path: The file; its ending does not matter.
        pictures: Pictures ``[height, width, 4]`` of one size, with even edges.
        fps: Pictures a second.

    Raises:
        ForecastError: PyAV is not installed.
    """
    av = package("av", "render")
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=Fraction(fps))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": _QUALITY, "preset": "veryfast"}

        def encode(number: int, picture: NDArray[np.uint8]) -> None:
            frame = av.VideoFrame.from_ndarray(picture, format="rgba")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            out.mux(stream.encode(frame))

        # A picture is encoded while the next one is drawn.
        with ThreadPoolExecutor(1) as other:
            before: Future[None] | None = None
            for number, picture in enumerate(pictures):
                if before is None:
                    stream.height, stream.width = picture.shape[:2]
                else:
                    before.result()
                before = other.submit(encode, number, picture)
            if before is not None:
                before.result()
        out.mux(stream.encode())


def write_gif(
    path: Path, pictures: Iterable[NDArray[np.uint8]], fps: int, colours: Sequence[str] = ()
) -> None:
    """Writes pictures as a GIF that repeats for ever.

    Only what changes from picture to picture is stored. All have one palette, and colours are not
    dithered: dots that dance would make the file large.

    Args:
        path: The file; its ending does not matter.
        pictures: Pictures ``[height, width, 4]`` of one size.
        fps: Pictures a second, at most `MOST_GIF_FPS`. A GIF counts in hundredths of a second, so
            some pictures last one longer than others.
        colours: Colours that are kept as they are, however little they cover.
    """
    images = [Image.fromarray(picture).convert("RGB") for picture in pictures]
    chosen = np.linspace(0, len(images) - 1, _PALETTE_PICTURES).round().astype(int)
    samples = [np.asarray(images[i]) for i in chosen]
    for colour in colours:
        samples.append(np.asarray(Image.new("RGB", (images[0].width, _KEPT_ROWS), colour)))
    palette = Image.fromarray(np.concatenate(samples)).quantize(_COLOURS)
    still = Image.Dither.NONE
    first, *others = [image.quantize(palette=palette, dither=still) for image in images]
    # The times at which pictures end are rounded, not their lengths: so errors do not add up.
    ends = np.arange(len(images) + 1) * 100 / fps
    milliseconds = (10 * np.diff(ends.round())).astype(int).tolist()
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
        optimize=False,
    )
