import numpy as np
import pytest

from forecast.adaptation.config import AdaptConfig
from forecast.adaptation.gate import Change

CONFIG = AdaptConfig(noise=2.0, margin=0.01, limit=0.05)


def test_the_error_is_that_of_the_mean_of_the_differences():
    change = Change.of([1.0, 2.0, 3.0], [1.1, 2.3, 3.2])
    assert (change.scenes, change.before) == (3, 2.0)
    assert change.after == pytest.approx(2.2)
    assert change.error == pytest.approx(0.1 / np.sqrt(3))  # of 0.1, 0.3, 0.2


@pytest.mark.parametrize(
    ("after", "error", "worse"),
    [
        (0.9, 0.001, False),
        (1.005, 0.001, False),  # beyond its noise, within the margin
        (1.015, 0.001, True),  # beyond both
        (1.015, 0.01, False),  # within its noise
        (1.06, 1.0, True),  # beyond the limit, whatever the noise
        (float("nan"), 0.001, True),
    ],
)
def test_what_is_rolled_back(after, error, worse):
    assert Change(4, 1.0, after, error).worse(CONFIG, CONFIG.margin) is worse


def test_a_single_scene_says_nothing():
    assert Change.of([1.0], [9.0]) is None


def test_the_sentence_says_what_and_by_how_much():
    said = Change(4, 1.0, 1.2, 0.01).sentence("old data")
    assert "4 held-out scenes of the old data rose from 1.0000 to 1.2000" in said


def test_another_margin_and_start_are_said():
    change = Change(4, 1.0, 1.02, 0.001)
    assert not change.worse(CONFIG, margin=0.03)
    assert "old data rose since the start from" in change.sentence("old data", " since the start")
