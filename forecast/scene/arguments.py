"""Numbers that users pass: counts, times, multiples of a step.

They are refused where they would otherwise be rounded or cut, or end in a traceback.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from forecast.errors import ForecastError, require

Value = TypeVar("Value")

MOST_SAMPLES = 100_000
"""More samples of a scene than this would take all memory."""

_MOST_STEPS = 100_000
_LATEST_US = 2**62
"""In int64, a time and a difference of two."""

ON_STEP = 0.02
"""A time this close to a multiple of the step, in steps, is that multiple. Steps of recorded data
are not exact: 6 s in steps of 0.5005 s."""


def whole_number(item: str, value: Any, least: int | None = None) -> int:
    """A whole number, such as a number of samples.

    Args:
        item: Its name in messages.
        value: An integer of Python or NumPy.
        least: Smallest accepted value; None for any.

    Raises:
        ForecastError: It is another type, also a bool or a float such as 4.0, or too small.
    """
    bound = "" if least is None else f"at least {least}"
    needed = f"a whole number{bound and ' of '}{bound}"
    # A bool is an index for Python, but where a number is asked it stands for a mistake.
    require(not isinstance(value, bool | np.bool_), item, value, needed)
    try:
        number = operator.index(value)
    except TypeError:
        raise ForecastError(f"{item} is {value!r}; {needed} is needed") from None
    require(least is None or number >= least, item, number, bound)
    return number


def time_us(item: str, value: Any) -> int:
    """A time in whole microseconds.

    Args:
        item: Its name in messages.
        value: An integer, or a float that is one.

    Raises:
        ForecastError: It is something else, or no time of any clock.
    """
    is_whole = isinstance(value, float | np.floating) and float(value).is_integer()
    try:
        number = int(value) if is_whole else operator.index(value)
    except TypeError:
        raise ForecastError(
            f"{item} is {value!r}; a whole number of microseconds is needed"
        ) from None
    require(abs(number) <= _LATEST_US, item, number, f"a time up to {_LATEST_US} us")
    return number


def sample_count(value: Any) -> int:
    """A number of samples; raises `ForecastError` if it is none, or more than fit into memory."""
    count = whole_number("samples", value, least=1)
    require(count <= MOST_SAMPLES, "samples", count, f"at most {MOST_SAMPLES}")
    return count


def index(item: str, value: Any, count: int) -> int:
    """An index from 0 on, of one that may be counted from the end: -1 is the last one.

    Args:
        item: Its name in messages.
        value: An integer of Python or NumPy.
        count: Number of entries.

    Raises:
        ForecastError: It is another type or out of range.
    """
    number = whole_number(item, value)
    needed = f"0 to {count - 1}, or {-count} to -1 counted from the end,"
    require(-count <= number < count, item, number, needed)
    return number % count


def parse_list(item: str, values: Iterable[Value]) -> Iterator[Value]:
    """Values one after the other.

    Args:
        item: Their name in messages.
        values: A list or any other iterable.

    Raises:
        ForecastError: It is a single object, such as one scene instead of a list of them.
    """
    try:
        return iter(values)
    except TypeError:
        kind = type(values).__name__
        raise ForecastError(f"{item} is a single {kind}; a list is needed: [{item}]") from None


def real_number(item: str, value: Any, needed: str) -> float:
    """A number such as a time.

    Args:
        item: Its name in messages.
        value: A real number of Python or NumPy.
        needed: What is needed, for messages: "a time in seconds".

    Raises:
        ForecastError: It is another type, such as a text.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ForecastError(f"{item} is {value!r}; {needed} is needed")
    return float(value)


def whole_steps(item: str, time_s: Any, dt_s: Any) -> int:
    """The number of steps of a time that is a multiple of the step.

    Args:
        item: Name of the time in messages.
        time_s: The time in seconds.
        dt_s: The step length in seconds.

    Raises:
        ForecastError: A value is no number, the step is not above 0, or the time is shorter than a
            step, not finite, or not a multiple of it.
    """
    step_s = real_number("dt_s", dt_s, "a step in seconds")
    require(0 < step_s < math.inf, "dt_s", dt_s, "a finite step above 0")
    steps = real_number(item, time_s, "a time in seconds") / step_s
    nearest = round(steps) if math.isfinite(steps) else 0
    require(nearest >= 1, item, time_s, f"at least one step of {step_s:g} s")
    require(nearest <= _MOST_STEPS, item, time_s, f"at most {_MOST_STEPS} steps of {step_s:g} s")
    near = {max(count, 1) * step_s for count in (math.floor(steps), math.ceil(steps))}
    named = " or ".join(f"{time:g}" for time in sorted(near))
    multiple = f"a multiple of the step of {step_s:g} s, such as {named} s,"
    require(abs(steps - nearest) <= ON_STEP, item, time_s, multiple)
    return nearest
