import numpy as np

from forecast.evaluation.prediction_file.predictor import (
    PredictionFilePredictor,
    PredictionFileWindow,
)
from forecast.evaluation.scoring.subject import Subject
from forecast.models.baselines import ConstantVelocity, Kalman


class Traced(ConstantVelocity):
    def provenance(self):
        return {"weights_sha256": "ab", "config": {}}


def file(*weights: list[float]) -> PredictionFilePredictor:
    """One window of a file in which agent n has the n-th weights."""
    names = np.array([str(number) for number in range(len(weights))])
    window = PredictionFileWindow(
        names, np.zeros((len(weights), 2, 4, 2)), np.array(weights, float), None
    )
    return PredictionFilePredictor("theirs", {("street", 0): window})


def test_a_plain_predictor_is_joint_and_knows_nothing_of_its_origin():
    subject = Subject.of(Kalman())
    assert subject.name == "kalman"
    assert subject.is_joint
    assert subject.stored is None
    assert subject.alone("7") is subject
    assert subject.provenance() is None


def test_a_predictor_with_provenance_says_what_it_was_made_from():
    assert Subject.of(Traced()).provenance() == {"weights_sha256": "ab", "config": {}}


def test_a_file_with_common_weights_holds_joint_futures():
    subject = Subject.of(file([0.3, 0.7], [0.3, 0.7]))
    assert subject.stored is not None
    assert subject.is_joint


def test_a_file_with_weights_of_each_agent_is_scored_one_agent_at_a_time():
    subject = Subject.of(file([0.3, 0.7], [0.6, 0.4]))
    assert not subject.is_joint
    alone = subject.alone("1")
    assert alone.is_joint
    assert alone.predictor.agent == "1"
