import numpy as np
import pytest

from forecast.report.times import shown_steps


@pytest.mark.parametrize(
    ("dt_s", "steps", "shown", "words"),
    [
        (0.5, 4, [1, 3], ("1 s", "2 s")),
        (0.5, 5, [1, 3, 4], ("1 s", "2 s", "2.5 s")),
        (0.4, 12, [4, 9, 11], ("2 s", "4 s", "4.8 s")),
        (0.4, 2, [1], ("0.8 s",)),
        (0.5, 1, [0], ("0.5 s",)),
    ],
)
def test_whole_seconds_and_the_end(dt_s, steps, shown, words):
    found, times = shown_steps(dt_s * np.arange(1, steps + 1))
    assert found.tolist() == shown
    assert times == words
