"""Packages that only an extra of this package brings with it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from forecast.errors import ForecastError


def package(name: str, extra: str) -> Any:
    """A package that only an extra brings with it.

    Raises:
        ForecastError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        top = name.partition(".")[0]
        message = f"{top} is not installed; pip install 'forecast[{extra}]'"
        raise ForecastError(message) from None
