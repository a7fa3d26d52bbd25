"""Loops over numbers as machine code: how they are compiled, and when kept code is too old.

Numba compiles a loop when it is first called and keeps it for later processes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

ZERO: Any = np.float32(0)
HALF: Any = np.float32(0.5)
ONE: Any = np.float32(1)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Machine code that runs without the interpreter's lock; NaN stays NaN.

    Sums keep their order: the compiler makes a loop twice, over vectors and by element, and takes
    the second where arrays lie close together. With sums in any order the two round differently.
    """
    free = {"contract", "nsz", "arcp", "afn"}
    return numba.njit(nogil=True, cache=True, fastmath=free, error_model="numpy")(function)


def forget_older_code(folder: Path) -> None:
    """Deletes kept machine code that is older than a file of its folder, or than this one.

    Numba looks at a loop's own file alone, but a loop contains those that it calls.
    """
    files = [Path(__file__), *folder.glob("*.py")]
    newest = max(path.stat().st_mtime for path in files)
    for kept in folder.glob("__pycache__/*.nbi"):
        with suppress(OSError):  # gone, or not ours to delete
            if kept.stat().st_mtime < newest:
                kept.unlink()
