"""The one error a user of the package is meant to see."""

from typing import Any


class ForecastError(Exception):
    """Something the user can mend.

    The message is one line: the item, its value, what was expected and what to do. The command
    line prints it and exits with code 1; a library user catches this class.
    """


def require(holds: bool, item: str, value: Any, expected: str) -> None:
    """Raises `ForecastError` "<item> is <value>; <expected> is needed" unless it holds."""
    if not holds:
        raise ForecastError(f"{item} is {value}; {expected} is needed")
