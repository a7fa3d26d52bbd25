import pytest

from forecast.evaluation.output.numbers import (
    UNDEFINED,
    counted,
    difference,
    interval,
    number,
    signed,
)
from forecast.evaluation.scoring.statistics import Estimate


@pytest.mark.parametrize(("value", "text"), [(1.23456, "1.235"), (float("nan"), UNDEFINED)])
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "other", "text"),
    [
        (0.9, 1.0, "10.0 % less"),
        (1.5, 1.0, "50.0 % more"),
        (2.0, 2.0, "the same"),
        (0.5, 0.0, "0.500 more"),
    ],
)
def test_difference(value, other, text):
    assert difference(value, other) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.23456, "+1.235"), (-0.5, "-0.500"), (float("nan"), UNDEFINED)]
)
def test_signed(value, text):
    assert signed(value) == text


def test_interval():
    found = Estimate(0.5, -0.25, 1.0, 9, 6)
    assert interval(found) == "-0.250 to 1.000"
    assert interval(found, signed=True) == "-0.250 to +1.000"
    assert interval(found._replace(low=float("nan"), high=float("nan"))) == ""


def test_one_thing_is_no_plural():
    assert [counted(n, "scene") for n in (0, 1, 2)] == ["0 scenes", "1 scene", "2 scenes"]
