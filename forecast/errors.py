"""The error that the package raises for mistakes that its user can correct."""

from typing import Any


class ForecastError(Exception):
    """An error that the user can correct.

    The message is one line: the item, its value, what was expected and what to do. The command line
    prints it and exits with code 1. A library user catches this class.
    """


def require(holds: bool, item: str, value: Any, expected: str) -> None:
    """Checks a condition.

    Args:
        holds: The condition.
        item: What is checked.
        value: Its value.
        expected: What is needed instead.

    Raises:
        ForecastError: "<item> is <value>; <expected> is needed", if the condition does not hold.
    """
    if not holds:
        raise ForecastError(f"{item} is {value}; {expected} is needed")


class ForecastWarning(UserWarning):
    """Says that an input was mended or lacks something, and how. The message is one line."""
