"""Frames: a header in JSON and arrays in float32, in one message of bytes.

The first four bytes are the length of the header, as a little-endian integer. The header is filled
with spaces to a multiple of four bytes, so that the page reads the arrays without a copy. Its entry
``arrays`` lists names and shapes in the order of the arrays.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


def encode_frame(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A frame.

    Args:
        header: Plain values; numbers that are not finite become null.
        arrays: Numbers of any shape.
    """
    shapes = [[name, list(values.shape)] for name, values in arrays.items()]
    text = msgspec.json.encode({**header, "arrays": shapes}, enc_hook=_plain)
    text += b" " * (-len(text) % 4)
    parts = [np.ascontiguousarray(values, "<f4").tobytes() for values in arrays.values()]
    return b"".join([struct.pack("<I", len(text)), text, *parts])


def decode_frame(frame: bytes) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """The header and the arrays of a frame."""
    (length,) = struct.unpack_from("<I", frame)
    header = msgspec.json.decode(frame[4 : 4 + length])
    arrays, at = {}, 4 + length
    for name, shape in header.pop("arrays"):
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(frame, "<f4", count, at).reshape(shape)
        at += 4 * count
    return header, arrays


def _plain(value: Any) -> Any:
    """NumPy's numbers, strings and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"{type(value).__name__} is no plain value")
