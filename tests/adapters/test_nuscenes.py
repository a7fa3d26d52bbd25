import json
from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError
from forecast.adapters.nuscenes import challenge_records, write_challenge
from tests.adapters.conftest import ORIGIN


def test_the_devkit_reads_the_file(prediction, scene, tmp_path):
    from nuscenes.eval.prediction.data_classes import Prediction as DevkitPrediction

    write_challenge(tmp_path / "sub.json", challenge_records(prediction, scene, "token", modes=2))
    records = json.loads((tmp_path / "sub.json").read_text())
    read = [DevkitPrediction.deserialize(record) for record in records]
    assert [(one.instance, one.sample) for one in read] == [("ped", "token"), ("car", "token")]
    assert read[0].prediction.shape == (2, 12, 2)
    assert read[0].probabilities.sum() == pytest.approx(1)
    np.testing.assert_allclose(read[1].prediction[0, -1], ORIGIN + np.array([10, 4]))


@pytest.mark.parametrize("modes", [0, 26])
def test_more_modes_than_the_challenge_allows_are_refused(prediction, scene, modes):
    with pytest.raises(ForecastError, match=f"modes is {modes}; 1 to 25 is needed"):
        challenge_records(prediction, scene, "token", modes=modes)


def test_another_horizon_is_refused(prediction, scene):
    short = replace(prediction, positions_m=prediction.positions_m[:, :, :6])
    with pytest.raises(ForecastError, match=r"steps and dt_s is \(6, 0.5\); \(12, 0.5\), 6 s at"):
        challenge_records(short, scene, "token")
