"""Compiles loops to machine code with Numba, and deletes cached code that is out of date.

Numba compiles a loop at its first call and caches it for later processes. It is used for the search
for neighbours (`forecast.models.neighbors`) and the clearance of plans
(`forecast.planning.clearance`).
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

HALF: Any = np.float32(0.5)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function to machine code that releases the interpreter's lock; NaN stays NaN.

    Reassociation of sums is not allowed. The compiler makes two versions of a loop, one over
    vectors and one by element, and runs the second if arrays are close in memory. With
    reassociation the two would round differently, so equal inputs could give unequal results.
    """
    free = {"contract", "nsz", "arcp", "afn"}
    return numba.njit(nogil=True, cache=True, fastmath=free, error_model="numpy")(function)


def forget_older_code(folder: Path, *called: Path) -> None:
    """Deletes cached machine code that is older than its source.

    Numba compares a cached loop with its own file only. But the code also contains the loops that
    it calls, which may be in other files.

    Args:
        folder: Folder of the loops.
        called: Other folders, with loops that these call.
    """
    files = [Path(__file__), *(file for place in (folder, *called) for file in place.glob("*.py"))]
    newest = max(path.stat().st_mtime for path in files)
    for cached in folder.glob("__pycache__/*.nbi"):
        with suppress(OSError):  # already deleted, or not writable
            if cached.stat().st_mtime < newest:
                cached.unlink()
