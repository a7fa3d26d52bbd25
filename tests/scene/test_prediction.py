from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast import ForecastError, Prediction, Predictor, Scene
from forecast.scene import Grid, Tubes

ORIGIN = np.array([1000.0, 2000.0])


@pytest.fixture
def prediction() -> Prediction:
    """Two samples of two agents over two steps; the second agent is not predicted."""
    positions = np.zeros((2, 2, 2, 2), np.float32)
    positions[0, 0] = [[1, 0], [2, 0]]
    positions[1, 0] = [[1, 2], [2, 4]]
    positions[:, 1] = np.nan
    return Prediction(
        positions_m=positions,
        weights=np.array([0.25, 0.75]),
        agent_ids=np.array(["a", "b"]),
        valid=np.array([True, False]),
        at_us=5,
        dt_s=0.5,
        origin_m=ORIGIN,
    )


def test_sizes(prediction):
    assert (prediction.samples, prediction.steps) == (2, 2)


def test_the_most_probable_is_the_heaviest_sample_unless_one_is_named(prediction):
    assert prediction.most_probable()[0].tolist() == [[1, 2], [2, 4]]
    even = replace(prediction, weights=np.array([0.5, 0.5]))
    assert even.most_probable()[0].tolist() == [[1, 0], [2, 0]]
    named = replace(prediction, mode_m=np.full((2, 2, 2), 7, np.float32))
    assert named.most_probable()[0].tolist() == [[7, 7], [7, 7]]


def test_the_mean_is_weighted(prediction):
    np.testing.assert_allclose(prediction.mean()[0], [[1, 1.5], [2, 3]])


def test_world_positions_are_exact_at_map_scale(prediction):
    world = prediction.world_positions_m()
    assert world.dtype == np.float64
    np.testing.assert_array_equal(world[1, 0], [[1001, 2002], [1002, 2004]])


def test_to_frame_is_seen_from_an_ego_that_faces_up(prediction):
    seen = prediction.to_frame(np.array([1001.0, 2000.0, np.pi / 2]))
    np.testing.assert_allclose(seen[1, 0], [[2, 0], [4, -1]], atol=1e-9)


@pytest.fixture
def with_tubes(prediction) -> Prediction:
    """Circles of radius 1 and 2 around (1, 0) and (2, 0) for the first agent alone."""
    tubes = Tubes(
        centre_m=prediction.positions_m[0].astype(float),
        shape_m2=np.broadcast_to(np.eye(2), (2, 2, 2, 2)),
        scale=np.broadcast_to([1.0, 2.0], (2, 2, 2)),
        levels=(0.5, 0.9),
        valid=np.array([True, False]),
    )
    return replace(prediction, tubes=tubes)


def test_the_region_of_an_agent_at_a_time(with_tubes):
    region = with_tubes.region("a", 1.0, 0.9)
    np.testing.assert_allclose(region.mean(axis=0), [2, 0], atol=1e-12)
    reach = np.linalg.norm(region - [2, 0], axis=1)
    np.testing.assert_allclose(reach, 2 / np.cos(np.pi / 32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("c", 1.0, 0.9), "agent is 'c'; a pedestrian who is predicted is needed"),
        (("b", 1.0, 0.9), "agent is 'b'; a pedestrian who is predicted is needed"),
        (("a", 0.7, 0.9), r"at_s is 0.7; a multiple of 0.5 s up to 1 s is needed"),
        (("a", 0.0, 0.9), r"at_s is 0.0; a multiple of 0.5 s up to 1 s is needed"),
        (("a", 1.5, 0.9), r"at_s is 1.5; a multiple of 0.5 s up to 1 s is needed"),
        (("a", np.inf, 0.9), r"at_s is inf; a multiple of 0.5 s up to 1 s is needed"),
        (("a", 1.0, 0.7), "level is 0.7; one of 0.5, 0.9 is needed"),
    ],
)
def test_a_region_that_is_not_there(with_tubes, arguments, message):
    with pytest.raises(ForecastError, match=message):
        with_tubes.region(*arguments)


def test_a_region_needs_calibrated_weights(prediction):
    with pytest.raises(ForecastError, match=r"no tubes; calibrate the weights \('forecast calib"):
        prediction.region("a", 1.0, 0.9)


def test_tubes_of_another_horizon_are_refused(with_tubes):
    with pytest.raises(ForecastError, match=r"tubes.centre_m's shape is \[1, 2, 2\]; \[2, 2, 2\]"):
        replace(with_tubes, tubes=with_tubes.tubes.select(np.array([0])))


@pytest.mark.parametrize("shape", [(2,), (3, 1), (4, 4)])
def test_to_frame_needs_a_pose(prediction, shape):
    with pytest.raises(ForecastError, match=r"world_from_ego has shape .*; \[3\] is needed"):
        prediction.to_frame(np.zeros(shape))


def test_to_nuscenes_is_what_the_devkit_reads(prediction):
    from nuscenes.eval.prediction.data_classes import Prediction as DevkitPrediction

    (record,) = prediction.to_nuscenes("token")
    read = DevkitPrediction.deserialize(record)
    assert (read.instance, read.sample) == ("a", "token")
    np.testing.assert_array_equal(read.prediction, prediction.world_positions_m()[:, 0])
    np.testing.assert_array_equal(read.probabilities, [0.25, 0.75])
    assert read.serialize() == record


def test_occupancy_by_hand(prediction):
    grid = Grid(x_m=0.0, y_m=-1.0, cell_m=2.0, columns=2, rows=2)
    occupied = prediction.occupancy(grid)
    assert occupied.shape == (2, 2, 2)
    np.testing.assert_allclose(occupied[0], [[0.25, 0], [0.75, 0]])
    np.testing.assert_allclose(occupied[1], [[0, 0.25], [0, 0]])


def test_ones_own_car_need_not_count(prediction):
    grid = Grid(x_m=0.0, y_m=-1.0, cell_m=2.0, columns=2, rows=2)
    everybody = prediction.occupancy(grid)
    name = str(prediction.agent_ids[prediction.valid][0])
    assert everybody.any()
    assert (prediction.occupancy(grid, without=[name]) <= everybody).all()
    assert not prediction.occupancy(grid, without=prediction.agent_ids.tolist()).any()
    with pytest.raises(ForecastError, match="without: unknown agents is"):
        prediction.occupancy(grid, without=["car"])


def test_two_agents_in_a_cell_count_once():
    futures = np.zeros((2, 2, 1, 2), np.float32) + 0.5
    futures[1] = 1.5
    both = Prediction(
        futures,
        np.array([0.4, 0.6]),
        np.array(["a", "b"]),
        np.array([True, True]),
        0,
        0.5,
        np.zeros(2),
    )
    np.testing.assert_allclose(both.occupancy(Grid(0, 0, 1, 2, 2))[0], [[0.4, 0], [0, 0.6]])


@given(
    st.integers(1, 5),
    st.integers(0, 4),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)
def test_occupancy_is_the_weight_of_the_samples_with_somebody_there(samples, agents, steps, seed):
    rng = np.random.default_rng(seed)
    weights = rng.random(samples) + 0.1
    made = Prediction(
        positions_m=rng.uniform(-1, 4, (samples, agents, steps, 2)).astype(np.float32),
        weights=weights / weights.sum(),
        agent_ids=np.arange(agents).astype(np.str_),
        valid=rng.random(agents) < 0.7,
        at_us=0,
        dt_s=0.5,
        origin_m=np.zeros(2),
    )
    expected = np.zeros((steps, 3, 2))
    for k in range(samples):
        for t in range(steps):
            cells = {
                (int(np.floor(y)), int(np.floor(x))) for x, y in made.positions_m[k, made.valid, t]
            }
            for row, column in cells:
                if 0 <= row < 3 and 0 <= column < 2:
                    expected[t, row, column] += made.weights[k]
    np.testing.assert_allclose(made.occupancy(Grid(0, 0, 1, 2, 3)), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cell_m": 0.0}, "grid: cell_m is 0.0; a length above 0 is needed"),
        ({"cell_m": -1.0}, "grid: cell_m is -1.0; a length above 0 is needed"),
        ({"cell_m": "1"}, "grid: cell_m is '1'; a length in metres is needed"),
        ({"x_m": np.nan}, "grid: x_m is nan; a finite length in metres is needed"),
        ({"columns": 0}, "grid: columns is 0; at least 1 is needed"),
        ({"rows": 2.5}, "grid: rows is 2.5; a whole number of at least 1 is needed"),
    ],
)
def test_a_grid_without_cells_is_refused(wrong, message):
    with pytest.raises(ForecastError, match=message):
        Grid(**{"x_m": 0, "y_m": 0, "cell_m": 1, "columns": 1, "rows": 1, **wrong})


def test_a_grid_too_large_for_memory_is_refused(prediction):
    with pytest.raises(ForecastError, match=r"grid: number of cells is .*; at most 2000000000"):
        prediction.occupancy(Grid(0, 0, 1, 10**7, 10**7))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"positions_m": np.zeros((2, 2, 2))},
            r"positions_m has shape \[2, 2, 2\]; \[K, A, T, 2\]",
        ),
        ({"weights": np.ones(1)}, r"weights has shape \[1\]; \[2\] is needed"),
        ({"agent_ids": np.array(["a"])}, r"agent_ids has shape \[1\]; \[2\] is needed"),
        ({"valid": np.ones(3, bool)}, r"valid has shape \[3\]; \[2\] is needed"),
        ({"origin_m": np.zeros(3)}, r"origin_m has shape \[3\]; \[2\] is needed"),
        ({"origin_m": 3}, r"origin_m is a int; a numpy array \[2\] is needed"),
        ({"origin_m": np.array([0, np.nan])}, r"origin_m is \[0.0, nan\]; metres up to 1e\+08"),
        ({"weights": [0.5, 0.5]}, r"weights is a list; a numpy array \[2\] is needed"),
        ({"mode_m": np.zeros((2, 2))}, r"mode_m has shape \[2, 2\]; \[2, 2, 2\] is needed"),
        ({"spread_m": np.zeros(2)}, r"spread_m has shape \[2\]; \[2, 2\] is needed"),
        ({"fallback": np.ones(3, bool)}, r"fallback has shape \[3\]; \[2\] is needed"),
        ({"valid": np.ones(2, bool)}, r"agent 'b': a predicted position is not finite"),
        (
            {"mode_m": np.full((2, 2, 2), np.nan, np.float32)},
            r"agent 'a': a predicted position is not finite",
        ),
        ({"weights": np.array([0.5, 0.6])}, r"weights sum to 1.100000; non-negative weights"),
        (
            {"weights": np.array([-0.5, 1.5])},
            r"a weight is -0.5; non-negative weights summing to 1 are needed",
        ),
        ({"weights": np.array([np.nan, 1.0])}, r"weights sum to nan; non-negative weights"),
    ],
)
def test_a_broken_prediction_is_refused(prediction, change, message):
    with pytest.raises(ForecastError, match=message):
        replace(prediction, **change)


def test_anything_that_predicts_is_a_predictor():
    class Frozen:
        def predict(self, scene: Scene, at: int, **_: object) -> Prediction:
            raise ForecastError("never asked")

    assert isinstance(Frozen(), Predictor)
    assert not isinstance(object(), Predictor)
