from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest
import safetensors.torch
import torch

from forecast import ForecastError, Predictor, inference
from forecast.inference import Forecaster, Frame, weights, windows
from forecast.models.forecaster import PedestrianForecaster
from forecast.models.modes import MODE_COUNTS
from forecast.planning import EgoState
from forecast.scene import AgentKind, Scene
from tests.inference.conftest import CONFIG
from tests.scenes import drive, street_scene


def test_a_prediction_is_for_everyone_present(forecaster: Forecaster) -> None:
    scene = street_scene()
    prediction = forecaster.predict(scene, 10, horizon_s=4.0, samples=3)
    present = scene.present(10)
    assert isinstance(forecaster, Predictor)
    assert prediction.agent_ids.tolist() == scene.tracks.agent_ids[present].tolist()
    assert AgentKind.STATIC not in scene.tracks.kinds[present]
    assert prediction.positions_m.shape == (3, len(present), 8, 2)
    assert prediction.at_us == scene.timestamps_us[10]
    assert prediction.mode_m is not None
    np.testing.assert_array_equal(prediction.now_m, scene.tracks.positions_m[present, 10])


def test_the_future_is_not_looked_at(forecaster: Forecaster) -> None:
    scene = street_scene()
    whole = forecaster.predict(scene, 10, samples=3)
    so_far = forecaster.predict(scene.between(0, 11), 10, samples=3)
    np.testing.assert_array_equal(whole.positions_m, so_far.positions_m)


def test_same_seed_same_bits(forecaster: Forecaster) -> None:
    one, two, other = (forecaster.predict(street_scene(), 10, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.positions_m, two.positions_m)
    assert not np.array_equal(one.positions_m, other.positions_m)


def test_threads_may_share_a_model(forecaster: Forecaster) -> None:
    scene, seeds = street_scene(), list(range(8))
    alone = [forecaster.predict(scene, 10, samples=3, seed=seed).positions_m for seed in seeds]
    with ThreadPoolExecutor(4) as pool:
        together = list(
            pool.map(lambda seed: forecaster.predict(scene, 10, samples=3, seed=seed), seeds)
        )
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found.positions_m, expected)


def test_inputs_stay_as_they_are(forecaster: Forecaster) -> None:
    scene = street_scene()
    plans = np.stack([drive(scene, 10, 8, bend) for bend in (-0.1, 0.0)])
    given = (scene.tracks.positions_m, scene.tracks.headings_rad, scene.tracks.valid, plans)
    before = [values.copy() for values in given]
    forecaster.predict(scene, 10, horizon_s=4.0, samples=3, ego_plan=plans[0])
    forecaster.rank_plans(scene, 10, plans, samples=3)
    for old, new in zip(before, given, strict=True):
        np.testing.assert_array_equal(old, new)


def test_more_samples_begin_with_the_same(forecaster: Forecaster) -> None:
    scene = street_scene()
    few, many = (forecaster.predict(scene, 10, samples=count, seed=4) for count in (3, 40))
    np.testing.assert_allclose(many.positions_m[:3], few.positions_m, atol=1e-5)
    np.testing.assert_allclose(many.mode_m, few.mode_m, atol=1e-5)


def test_modes_are_those_of_the_present_without_a_plan(forecaster: Forecaster) -> None:
    scene = street_scene()
    few = forecaster.predict(scene, 10, horizon_s=4.0, samples=2)
    many = forecaster.predict(scene, 10, horizon_s=4.0, samples=9, seed=3)
    assert [modes.count for modes in few.mode_sets] == list(MODE_COUNTS)
    assert few.modes_m.shape == (len(few.agent_ids), 20, 8, 2)
    np.testing.assert_array_equal(few.modes_m, many.modes_m)  # they are not drawn
    assert (np.diff(few.mode_probabilities, axis=1) <= 0).all()
    np.testing.assert_allclose(few.mode_probabilities.sum(1), 1, atol=1e-5)
    plan = drive(scene, 10, 8, 0.1)
    assert forecaster.predict(scene, 10, horizon_s=4.0, samples=2, ego_plan=plan).mode_sets == ()


def test_modes_of_many_scenes_and_of_finer_steps_are_the_same(forecaster: Forecaster) -> None:
    scene, past = street_scene(), street_scene().between(0, 8)
    alone = [forecaster.predict(each, -1, horizon_s=4.0, samples=2) for each in (scene, past)]
    together = forecaster.predict_many([scene, past], horizon_s=4.0, samples=2)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.modes_m, other.modes_m, atol=1e-3)
        np.testing.assert_allclose(one.mode_probabilities, other.mode_probabilities, atol=1e-4)
    fine = forecaster.predict(scene, -1, horizon_s=4.0, samples=2, dt_s=0.1)
    np.testing.assert_allclose(fine.modes_m[:, :, 4::5], alone[0].modes_m, atol=1e-5)


def test_more_samples_than_the_caches_hold_are_the_same_samples(forecaster: Forecaster) -> None:
    scene = street_scene()
    agents = len(scene.present(10))
    few = forecaster.predict(scene, 10, horizon_s=1.0, samples=100)
    many = forecaster.predict(scene, 10, horizon_s=1.0, samples=2 * 4096 // agents)
    np.testing.assert_allclose(many.positions_m[:100], few.positions_m, atol=1e-5)
    assert len(np.unique(many.positions_m[:, 0, -1], axis=0)) == many.samples


def test_the_ego_follows_its_plan(forecaster: Forecaster) -> None:
    scene = street_scene()
    plan = drive(scene, 10, 8, 0.1)
    prediction = forecaster.predict(scene, 10, horizon_s=4.0, samples=2, ego_plan=plan)
    ego = scene.tracks.kinds[scene.present(10)] == AgentKind.EGO
    np.testing.assert_allclose(prediction.positions_m[0, ego][0], plan[:, :2], atol=1e-5)


def test_a_plan_of_another_step_is_the_same_plan(forecaster: Forecaster) -> None:
    scene = street_scene()
    plan = drive(scene, 10, 8)
    now = EgoState.of(scene, 10).pose
    before = np.concatenate([[now], plan[:-1]])
    share = np.arange(1, 6)[:, None] / 5
    fine = (before[:, None] + share * (plan - before)[:, None]).reshape(40, 3)
    fine[4::5] = plan
    options = {"horizon_s": 4.0, "samples": 2}
    one = forecaster.predict(scene, 10, ego_plan=plan, **options)
    other = forecaster.predict(scene, 10, ego_plan=fine, plan_dt_s=0.1, **options)
    np.testing.assert_array_equal(one.positions_m, other.positions_m)


def test_a_plan_that_cannot_be_driven_is_refused(forecaster: Forecaster) -> None:
    scene = street_scene()
    plan, now = drive(scene, 10, 12), EgoState.of(scene, 10).pose
    degrees = plan * [1, 1, 180 / np.pi] + [0, 0, 90]
    for wrong, message in (
        (
            plan + np.array([690_000.0, 5_334_000.0, 0.0]),
            "relative to the scene's origin_m are needed",
        ),
        (degrees, "degrees\\? radians are needed"),
        (now + (plan - now) * [0.2, 0.2, 1], "an acceleration of 1[0-9]"),
    ):
        with pytest.raises(ForecastError, match=f"ego_plan, step .*{message}"):
            forecaster.predict(scene, 10, ego_plan=wrong)


def ask_predict(forecaster: Forecaster, scene: Scene, at: int, **options) -> object:
    return forecaster.predict(scene, at, **options)


def ask_many(forecaster: Forecaster, scene: Scene, at: int, **options) -> object:
    return forecaster.predict_many([(scene, at)], **options)[0]


def ask_imagine(forecaster: Forecaster, scene: Scene, at: int, **options) -> object:
    return forecaster.imagine(scene, at, **options).step().prediction()


def ask_rank(forecaster: Forecaster, scene: Scene, at: int, **options) -> object:
    plans = np.stack([drive(scene, at, 8, bend) for bend in (-0.1, 0.0)])
    return forecaster.rank_plans(scene, at, plans, **options)


def ask_stream(forecaster: Forecaster, scene: Scene, at: int, **options) -> object:
    tracks, stream = scene.tracks, forecaster.stream()
    for step in range(scene.step(at) - 4, scene.step(at) + 1):
        seen = tracks.valid[:, step]
        names, kinds = tracks.agent_ids[seen], tracks.kinds[seen]
        stream.observe(Frame(500_000 * step, names, kinds, tracks.positions_m[seen, step]))
    return stream.predict(**options)


DOORS = [ask_predict, ask_many, ask_imagine, ask_rank, ask_stream]


@pytest.mark.parametrize("ask", DOORS)
def test_a_step_below_0_is_counted_from_the_end(forecaster: Forecaster, ask) -> None:
    scene = street_scene(steps=12)
    last, same = (ask(forecaster, scene, at, samples=2) for at in (-1, 11))
    for name in ("positions_m", "cost"):
        if hasattr(last, name):
            np.testing.assert_array_equal(getattr(last, name), getattr(same, name))
    assert EgoState.of(scene, -1) == EgoState.of(scene, 11)


@pytest.mark.parametrize("ask", DOORS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 2.5}, "samples is 2.5; a whole number of at least 1 is needed"),
        ({"samples": "2"}, "samples is '2'; a whole number of at least 1 is needed"),
        ({"samples": 0}, "samples is 0; at least 1 is needed"),
        ({"samples": 10**9}, "samples is 1000000000; at most 100000 is needed"),
        ({"seed": 1.5}, "seed is 1.5; a whole number is needed"),
    ],
)
def test_numbers_that_do_not_count_are_refused(forecaster, ask, arguments, message) -> None:
    with pytest.raises(ForecastError, match=f"^{message}$"):
        ask(forecaster, street_scene(steps=12), 11, **arguments)


@pytest.mark.parametrize("ask", [each for each in DOORS if each is not ask_stream])
@pytest.mark.parametrize(
    ("at", "message"),
    [
        (4.0, "at is 4.0; a whole number is needed"),
        ("4", "at is '4'; a whole number is needed"),
        (12, "at is 12; 0 to 11, or -12 to -1 counted from the end, is needed"),
        (-13, "at is -13; 0 to 11, or -12 to -1 counted from the end, is needed"),
    ],
)
def test_a_step_that_is_none_is_refused(forecaster: Forecaster, ask, at, message) -> None:
    if ask is ask_rank:

        def ask(forecaster, scene, at):
            return forecaster.rank_plans(scene, at, np.zeros((2, 8, 3)))

    with pytest.raises(ForecastError, match=f"^street: {message}$"):
        ask(forecaster, street_scene(steps=12), at)
    with pytest.raises(ForecastError, match=f"^street: {message}$"):
        EgoState.of(street_scene(steps=12), at)


@pytest.mark.parametrize("ask", [ask_predict, ask_many, ask_stream])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon_s": 2.3}, "horizon_s is 2.3; a multiple of the step of 0.5 s, such as 2 or 2.5"),
        ({"horizon_s": 0.35}, "horizon_s is 0.35; a multiple of the step of 0.5 s, such as 0.5 s,"),
        ({"horizon_s": "6"}, "horizon_s is '6'; a time in seconds is needed"),
        ({"horizon_s": -3.0}, "horizon_s is -3.0; at least one step of 0.5 s is needed"),
        ({"horizon_s": 0.1}, "horizon_s is 0.1; at least one step of 0.5 s"),
        ({"horizon_s": float("inf")}, "horizon_s is inf; at least one step of 0.5 s"),
        ({"horizon_s": 2.35, "dt_s": 0.1}, "horizon_s is 2.35; a multiple of the step of 0.1 s"),
        ({"dt_s": "0.5"}, "dt_s is '0.5'; a step in seconds is needed"),
        ({"dt_s": 0}, "dt_s is 0; a finite step above 0 is needed"),
    ],
)
def test_a_horizon_between_two_steps_is_refused(forecaster, ask, arguments, message) -> None:
    with pytest.raises(ForecastError, match=f"^{message}"):
        ask(forecaster, street_scene(steps=12), 11, **arguments)


def test_a_horizon_may_end_between_two_steps_of_the_model(forecaster: Forecaster) -> None:
    made = forecaster.predict(street_scene(), 10, horizon_s=2.3, samples=2, dt_s=0.1)
    assert (made.steps, made.dt_s) == (23, 0.1)


def test_many_scenes_are_predicted_as_each_alone(forecaster: Forecaster) -> None:
    coarse = street_scene(seed=3, dt_s=0.4)
    bare = replace(street_scene(seed=4), lane_map=None)
    one = bare.tracks.select(np.array([0]))
    asked = [
        (street_scene(), 10),
        (coarse, -2),
        street_scene(seed=2),
        (replace(bare, tracks=one), 9),
    ]
    many = forecaster.predict_many(asked, samples=3, seed=5, horizon_s=2.0)
    pairs = [item if isinstance(item, tuple) else (item, -1) for item in asked]
    assert [len(made.agent_ids) for made in many] == [6, 5, 5, 1]
    for made, (scene, at) in zip(many, pairs, strict=True):
        alone = forecaster.predict(scene, at, samples=3, seed=5, horizon_s=2.0)
        assert (made.scene_id, made.at_us, made.dt_s) == ("street", alone.at_us, scene.dt_s)
        for name in ("agent_ids", "weights", "now_m"):
            np.testing.assert_array_equal(getattr(made, name), getattr(alone, name))
        for name in ("positions_m", "mode_m"):
            np.testing.assert_allclose(getattr(made, name), getattr(alone, name), atol=1e-5)
    assert forecaster.predict_many([]) == []


def test_a_scene_without_anybody_is_one_of_many(forecaster: Forecaster) -> None:
    scene = street_scene()
    nobody = np.zeros_like(scene.tracks.valid)
    empty = replace(scene, tracks=replace(scene.tracks, valid=nobody))
    many = forecaster.predict_many([empty, scene, empty], samples=2)
    assert [len(made.agent_ids) for made in many] == [0, 5, 0]


def test_many_scenes_are_imagined_in_batches(forecaster: Forecaster, monkeypatch) -> None:
    asked = [street_scene(seed=seed) for seed in range(5)]
    whole = forecaster.predict_many(asked, samples=2)
    sizes = []
    imagined = windows._imagined_together

    def counted(model, cuts, samples, seed):
        sizes.append(len(cuts))
        return imagined(model, cuts, samples, seed)

    monkeypatch.setattr(windows, "_imagined_together", counted)
    monkeypatch.setattr(windows, "_AGENTS_AT_ONCE", 11)
    for made, again in zip(whole, forecaster.predict_many(asked, samples=2), strict=True):
        np.testing.assert_allclose(made.positions_m, again.positions_m, atol=1e-5)
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(
    ("item", "named"),
    [("street", "str"), ((1, 2), "tuple of int, int"), ((street_scene(),), "tuple of Scene")],
)
def test_what_is_no_scene_is_refused(forecaster: Forecaster, item, named: str) -> None:
    with pytest.raises(
        ForecastError, match=rf"an item is {named}; a Scene or a pair \(scene, at\)"
    ):
        forecaster.predict_many([item])


def test_a_single_scene_is_not_many(forecaster: Forecaster) -> None:
    with pytest.raises(ForecastError, match=r"^scenes is a single Scene; a list is needed"):
        forecaster.predict_many(street_scene())


def test_texts_of_objects_are_one_short_line(forecaster: Forecaster) -> None:
    scene = street_scene(steps=12)
    plans = np.stack([drive(scene, -1, 8, bend) for bend in (-0.1, 0.0)])
    for made in (
        forecaster,
        forecaster.stream(),
        forecaster.imagine(scene, -1),
        forecaster.rank_plans(scene, -1, plans, samples=2),
        forecaster.predict(scene, -1, samples=2),
        Frame(0, ["a"], ["pedestrian"], [[0.0, 0.0]]),
    ):
        text = repr(made)
        assert text.startswith(f"{type(made).__name__}(")
        assert "\n" not in text
        assert "array" not in text
        assert len(text) < 160


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ego_plan": np.zeros((3, 3))}, "ego_plan holds 3 poses every 0.5 s, 1.5 s in all"),
        (
            {"ego_plan": np.zeros((60, 3))},
            r"the horizon is 6 s: give plan_dt_s \(0.1\?\) or the first 12",
        ),
        ({"ego_plan": np.full((12, 3), np.nan)}, "ego_plan, step 1: the pose is"),
        ({"ego_plan": np.full((12, 3), 1e300)}, "ego_plan, step 1: lies inf m from the ego"),
        ({"horizon_s": 1e9}, "horizon_s is 1000000000.0; at most 100000 steps of 0.5 s"),
    ],
)
def test_wrong_arguments(forecaster: Forecaster, arguments: dict, message: str) -> None:
    with pytest.raises(ForecastError, match=message):
        forecaster.predict(street_scene(), 10, **arguments)


def test_a_plan_reaches_people_beyond_the_egos_present_reach(forecaster: Forecaster) -> None:
    # Both stand, 60 m apart: without a plan they cannot meet, with one the ego drives up to her.
    positions = np.zeros((2, 12, 2)) + np.array([[[0.0, 0.0]], [[60.0, 0.0]]])
    scene = Scene.from_arrays(positions, [AgentKind.PEDESTRIAN, AgentKind.EGO], dt_s=0.5)
    # For 3 s it accelerates with 6 m/s^2, then it brakes as hard until it stands 6 m from her.
    time_s = np.arange(0.5, 6.5, 0.5)
    driven_m = np.where(time_s < 3, 3 * time_s**2, 54 - 3 * (6 - time_s) ** 2)
    plan = np.stack([60 - driven_m, np.zeros(12), np.full(12, np.pi)], -1)
    alone, driven_at = (
        forecaster.predict(scene, 11, samples=2, ego_plan=p).positions_m[:, 0] for p in (None, plan)
    )
    assert np.abs(alone - driven_at).max() > 3e-4


def test_an_unknown_step_length_is_refused(forecaster: Forecaster) -> None:
    with pytest.raises(ForecastError, match=r"its step is 1.0 s, the model was trained"):
        forecaster.predict(street_scene(dt_s=1.0), 10)


def test_a_checkpoint_is_called_after_its_run(forecaster: Forecaster, tmp_path) -> None:
    folder = tmp_path / "monday" / "checkpoints"
    folder.mkdir(parents=True)
    state = {"state_dict": {}, "forecast": {}}
    torch.save(state, folder / "last.ckpt")
    assert weights._name(folder / "last.ckpt") == "monday"
    assert weights._name(tmp_path / "best.safetensors") == "best"


def test_provenance_names_the_weights_by_content(forecaster: Forecaster) -> None:
    other = Forecaster(PedestrianForecaster(CONFIG), forecaster.training, name="other")
    one, two = forecaster.provenance(), other.provenance()
    assert one["weights_sha256"] != two["weights_sha256"]
    assert one["config"] == two["config"] == asdict(CONFIG)


STEPS = np.arange(6)[:, None] * 0.5


def straight(speed_mps: float, agents: int = 1) -> np.ndarray:
    """Agents that go along x at the same place ``[A, 6, 2]``."""
    return np.repeat((STEPS * [speed_mps, 0.0])[None], agents, axis=0)


def newcomer() -> np.ndarray:
    """One that has walked, and one of which there is only the last frame."""
    tracks = np.concatenate([straight(1.4), straight(0.0)])
    tracks[1, :-1] = np.nan
    return tracks


def throng() -> np.ndarray:
    """1,000 agents."""
    rng = np.random.default_rng(0)
    return rng.uniform(0, 150, (1000, 1, 2)) + rng.normal(0, 1.0, (1000, 1, 2)) * STEPS


@pytest.mark.parametrize(
    ("tracks", "kinds"),
    [
        (straight(0.0), [0]),
        (straight(0.0, 5), [0] * 5),
        (straight(0.0, 3), [0, 2, 2]),
        (straight(1.4, 4), [0] * 4),
        (straight(11.9, 4), [0] * 4),
        (np.concatenate([straight(60.0), straight(0.0)]), [2, 0]),
        (straight(0.0, 0), []),
        (straight(0.0), [4]),
        (straight(8.0), [3]),
        (newcomer(), [0, 0]),
        pytest.param(throng(), np.arange(1000) % 3, marks=pytest.mark.slow),
    ],
    ids=["still", "in one place", "in a car", "walking as one", "running as one", "60 m/s",
         "nobody", "nobody who moves", "the ego alone", "one frame", "1,000"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::forecast.ForecastWarning")
def test_every_number_is_finite_and_no_pedestrian_is_too_fast(tracks, kinds) -> None:
    town, scene = inference.load("town"), Scene.from_arrays(tracks, kinds, 0.5)
    present = scene.present(-1)
    found = town.predict(scene, -1, samples=6)
    world = town.imagine(scene, -1, samples=6).step(12).prediction()
    for made in (found, world):
        assert np.isfinite(made.positions_m).all()
        assert made.mode_m is None or np.isfinite(made.mode_m).all()
    now = scene.tracks.positions_m[present, -1]
    start = np.broadcast_to(now[None, :, None], (6, len(present), 1, 2))
    way = np.diff(np.concatenate([start, found.positions_m], axis=2), axis=2)
    on_foot = scene.tracks.kinds[present] == AgentKind.PEDESTRIAN
    assert np.hypot(*np.moveaxis(way[:, on_foot], -1, 0)).max(initial=0) / 0.5 <= 12 + 1e-3


@pytest.mark.parametrize("origin_m", [1e6, 5.334e6, 9.9e7])
def test_map_coordinates_lose_less_than_a_millimetre(forecaster: Forecaster, origin_m) -> None:
    rng, origin = np.random.default_rng(0), np.array([origin_m, -origin_m])
    tracks = rng.uniform(0, 20, (8, 1, 2)) + rng.normal(0, 1.0, (8, 1, 2)) * STEPS
    here, there = (
        forecaster.predict(Scene.from_arrays(tracks + at, [0] * 8, 0.5, origin_m=at), -1)
        for at in (np.zeros(2), origin)
    )
    error = np.abs(there.world_positions_m() - origin - here.world_positions_m())
    assert error.max() < 1e-3


def test_the_bits_do_not_depend_on_the_number_of_threads(forecaster: Forecaster) -> None:
    """A crowd is imagined in parts, whose sizes change the last bits of matrix products."""
    rng = np.random.default_rng(0)
    walk = rng.normal(0, 0.5, (60, 1, 2)) * np.arange(6)[:, None]
    crowd = Scene.from_arrays(rng.uniform(0, 30, (60, 1, 2)) + walk, rng.choice(3, 60), 0.5)
    street, plans = street_scene(), np.zeros((9, 8, 3))
    plans[..., 0] = np.linspace(2, 3, 9)[:, None] * np.arange(1, 9)
    ego = EgoState(0.0, 0.0, 0.0, 5.0)

    def found() -> list[np.ndarray]:
        world = forecaster.imagine(crowd, -1, samples=64)
        many = forecaster.predict_many([crowd, (street, 10)], horizon_s=4.0, samples=30)
        return [
            *(forecaster.predict(crowd, -1, samples=k, horizon_s=4.0).positions_m for k in (9, 40)),
            world.step(6).prediction().positions_m,
            *(each.positions_m for each in many),
            forecaster.rank_plans(crowd, -1, plans, samples=30, ego=ego).cost,
        ]

    usual, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(found())
    finally:
        torch.set_num_threads(usual)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_plan_needs_an_ego(forecaster: Forecaster) -> None:
    scene = street_scene()
    without = replace(scene, tracks=scene.tracks.select(scene.tracks.kinds != AgentKind.EGO))
    with pytest.raises(ForecastError, match="street: number of egos is 0"):
        forecaster.predict(without, 10, ego_plan=np.zeros((12, 3)))


def test_saved_weights_predict_the_same(forecaster: Forecaster, tmp_path) -> None:
    forecaster.save(tmp_path / "weights.safetensors")
    loaded = inference.load(tmp_path / "weights.safetensors")
    assert loaded.training == forecaster.training
    assert loaded.name == "weights"
    before, after = (f.predict(street_scene(), 10) for f in (forecaster, loaded))
    np.testing.assert_array_equal(before.positions_m, after.positions_m)


def test_a_folder_does_not_hide_the_weights_of_its_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "town").mkdir()  # as `forecast town --out town` leaves it
    monkeypatch.chdir(tmp_path)
    assert inference.load("town").name == "town"


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(ForecastError, match="no such weights file"):
        inference.load(tmp_path / "absent.ckpt")


@pytest.mark.parametrize("name", ["weights.ckpt", "weights.safetensors"])
def test_a_file_that_is_something_else(tmp_path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(ForecastError, match=name):
        inference.load(tmp_path / name)


def test_a_checkpoint_of_another_program(tmp_path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ForecastError, match="not a checkpoint of 'forecast fit'"):
        inference.load(tmp_path / "other.ckpt")


def test_a_checkpoint_cannot_run_code(tmp_path) -> None:
    torch.save({"state_dict": {}, "forecast": print}, tmp_path / "evil.ckpt")
    with pytest.raises(ForecastError, match="not a checkpoint"):
        inference.load(tmp_path / "evil.ckpt")


def test_weights_of_another_configuration(forecaster: Forecaster, tmp_path) -> None:
    described = asdict(forecaster.training)
    described["config"]["world_model"]["hidden"] = 24
    torch.save({"state_dict": {}, "forecast": described}, tmp_path / "mixed.ckpt")
    with pytest.raises(ForecastError, match="do not fit the configuration they carry"):
        inference.load(tmp_path / "mixed.ckpt")


def test_a_configuration_of_another_version(forecaster: Forecaster, tmp_path) -> None:
    described = asdict(forecaster.training)
    described["config"]["world_model"]["depth"] = 3
    torch.save({"state_dict": {}, "forecast": described}, tmp_path / "newer.ckpt")
    with pytest.raises(ForecastError, match="another version"):
        inference.load(tmp_path / "newer.ckpt")
    text = '{"config": 3}'
    metadata = {"forecast": text, "sha256": weights._checksum(text, {})}
    safetensors.torch.save_file({}, tmp_path / "odd.safetensors", metadata)
    with pytest.raises(ForecastError, match="not understood"):
        inference.load(tmp_path / "odd.safetensors")
