import pytest

from forecast.evaluation.numbers import UNDEFINED, difference, number


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
