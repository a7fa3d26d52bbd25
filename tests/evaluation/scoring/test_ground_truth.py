import numpy as np
import pytest
import torch

from forecast import AgentKind, Scene
from forecast.datasets.store import SceneStore, prepare
from forecast.datasets.windows import WindowSpec
from forecast.evaluation import EvaluationResult, evaluate
from forecast.evaluation.output.writers import metrics_document
from forecast.evaluation.scoring.ground_truth import GROUND_TRUTH_METRICS, ground_truth_values
from forecast.models.baselines import ConstantVelocity, Stationary
from forecast.models.metrics.scored import Scored
from forecast.scene import LaneMap, Polygons
from tests.streets import StreetSource

ROAD = np.array([(0, -5), (10, -5), (10, 0.5), (0, 0.5)], float)


class Meeting(StreetSource):
    """Two stand still, then one of them walks through the other; a third walks onto the road."""

    def scene_names(self):
        return ["meeting"]

    def splits(self):
        return {"val": ["meeting"]}

    def read(self, name):
        stands = [[-3.0, 5.0]] * 4
        meets = [[-5.0, 5.0], [-5.0, 5.0], [-3.1, 5.0], [-1.0, 5.0]]
        crosses = [[3.0, 2.0], [3.0, 2.0], [3.0, 1.0], [3.0, 0.0]]
        kinds = [AgentKind.PEDESTRIAN] * 3
        far = Polygons.of([[ROAD + 1000]])
        road = LaneMap(drivable_area=Polygons.of([[ROAD]]), crosswalks=far, walkways=far)
        positions = [stands, meets, crosses]
        return Scene.from_arrays(positions, kinds, 0.5, id=name, lane_map=road), {}


@pytest.fixture(scope="module")
def meeting(tmp_path_factory) -> SceneStore:
    return prepare(Meeting(), tmp_path_factory.mktemp("meeting") / "store")


def scored(store: SceneStore, predictor) -> EvaluationResult:
    return evaluate(predictor, store, ["meeting"], WindowSpec(2, 2), samples=1, seed=0)


def test_by_hand(meeting):
    result = scored(meeting, Stationary())
    assert {*result.ground_truth} == {*GROUND_TRUTH_METRICS}
    assert result.ground_truth["collision_rate_pedestrians"].tolist() == [1.0, 1.0, 0.0]
    assert result.ground_truth["on_road_share"].tolist() == [0.0, 0.0, 0.5]
    assert np.isnan(result.ground_truth["collision_rate_ego"]).all(), "there is no ego"
    assert result.values["collision_rate_pedestrians"].tolist() == [0.0, 0.0, 0.0]


def test_is_the_same_beside_every_predictor(meeting):
    one, other = (scored(meeting, each).ground_truth for each in (Stationary(), ConstantVelocity()))
    for name in GROUND_TRUTH_METRICS:
        np.testing.assert_array_equal(one[name], other[name])


def test_metrics_json_holds_it_with_its_counts(meeting):
    document = metrics_document(scored(meeting, Stationary()))["recorded"]
    assert {*document["all"]} == {*document["movers"]} == {*GROUND_TRUTH_METRICS}
    assert document["all"]["collision_rate_pedestrians"] == pytest.approx(2 / 3)
    assert document["movers"]["collision_rate_pedestrians"] == 0.5
    assert document["movers"]["on_road_share"] == 0.25
    assert document["all"]["collision_rate_ego"] is None
    assert document["n"]["all"] == {
        "collision_rate_pedestrians": 3,
        "collision_rate_ego": 0,
        "on_road_share": 3,
    }


def test_the_egos_box_is_that_of_the_predictions():
    truth = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[9.0, 0.0], [9.0, 0.0]]]).double()
    scored = Scored(
        samples_m=truth.new_zeros(3, 2, 2, 2),
        weights=truth.new_full((3,), 1 / 3),
        mode_m=truth,
        truth_m=truth,
        dt_s=0.5,
        ego=torch.zeros(2, 3).double(),
        ego_size_m=(4.0, 2.0),
    )
    assert ground_truth_values(scored)["collision_rate_ego"].tolist() == [1.0, 0.0]
