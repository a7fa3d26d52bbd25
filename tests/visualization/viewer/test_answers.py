import numpy as np
import pytest

from forecast import ForecastError, SceneStore
from forecast.datasets.one_scene import OneScene
from forecast.datasets.store import prepare
from forecast.models.baselines import BASELINES
from forecast.visualization.viewer.answers import Answers
from forecast.visualization.viewer.edits import (
    ActEdit,
    AddEdit,
    ChangeEdit,
    Edit,
    GoToEdit,
    ObstacleEdit,
    RemoveEdit,
)
from forecast.visualization.viewer.frames import decode_frame
from forecast.visualization.viewer.state import AskDrive, AskFutures, AskRanking, PageState
from tests.scenes import street_scene

SCENE, AT = "street-3", 8
EDITS: list[Edit] = [
    ChangeEdit("0", (3.0, -1.25), heading_rad=0.4, speed_mps=2.0),
    AddEdit("person 1", "pedestrian", (5.0, 0.1), 0.25, 1.3),
    ObstacleEdit("obstacle 1", (12.0, 0.0), (2.5, 1.2, 1.1)),
    RemoveEdit("4"),
    GoToEdit("2", (1.0, 8.0)),
    ActEdit(-4.0),
]


def asked(answers: Answers, state: PageState):
    return decode_frame(answers.answer(AskFutures(1, state)))


def ran(code: str, store: SceneStore):
    """What a shown piece of Python makes."""
    made: dict = {}
    exec(code, made)
    return made


def test_the_futures_are_those_of_predict(answers, forecaster, store):
    header, arrays = asked(answers, PageState(SCENE, AT, seed=3, samples=10))
    expected = forecaster.predict(store[SCENE], AT, samples=10, seed=3)
    np.testing.assert_array_equal(arrays["positions"], expected.positions_m)
    np.testing.assert_array_equal(arrays["mode"], expected.mode_m)
    assert header["agents"] == expected.agent_ids.tolist()
    assert header["fallback"] == expected.agent_ids[expected.fallback].tolist()
    assert header["levels"] == list(expected.tubes.levels)
    assert header["calibrated"]
    inside = arrays["regions"][2, expected.tubes.valid]
    np.testing.assert_allclose(inside[..., :2], expected.tubes.centre_m[expected.tubes.valid])


def test_an_ellipse_is_the_edge_of_the_tube(answers, forecaster, store):
    _, arrays = asked(answers, PageState(SCENE, AT))
    tubes = forecaster.predict(store[SCENE], AT).tubes
    agent = int(np.flatnonzero(tubes.valid)[0])
    a, b, c = arrays["regions"][1, agent, 5, 2:].astype(np.float64)
    offset = np.array([a * 0.6, b * 0.6 + c * 0.8])  # the point of the unit circle at (0.6, 0.8)
    inverse = np.linalg.inv(tubes.shape_m2[agent, 5])
    radius = np.sqrt(offset @ inverse @ offset)
    assert radius == pytest.approx(tubes.scale[agent, 5, 1], rel=1e-4)


def test_an_edited_scene_has_the_regions_of_its_samples(answers):
    header, arrays = asked(answers, PageState(SCENE, AT, edits=EDITS))
    assert (header["calibrated"], header["levels"], header["mode_counts"]) == (
        False,
        [0.5, 0.9],
        [],
    )
    row = header["agents"].index("0")
    centre = arrays["positions"][:, row].mean(axis=0)
    np.testing.assert_allclose(arrays["regions"][1, row, :, :2], centre, atol=1e-4)


def test_all_mode_sets_are_given(answers, forecaster, store):
    header, arrays = asked(answers, PageState(SCENE, AT))
    expected = forecaster.predict(store[SCENE], AT)
    assert header["mode_counts"] == [each.count for each in expected.mode_sets]
    for each in expected.mode_sets:
        np.testing.assert_array_equal(arrays[f"modes.{each.count}"], each.positions_m)
        np.testing.assert_array_equal(arrays[f"mode_shares.{each.count}"], each.probabilities)


def test_the_shown_python_gives_the_same_numbers(answers, store):
    for edits in ([], EDITS):
        header, arrays = asked(answers, PageState(SCENE, AT, 2, 6, edits))
        made = ran(header["code"], store)
        after = made["after" if edits else "prediction"]
        np.testing.assert_array_equal(arrays["positions"], after.positions_m)
        assert header["agents"] == after.agent_ids.tolist()
    np.testing.assert_array_equal(arrays["before"], made["before"].positions_m)
    assert header["before_agents"] == made["before"].agent_ids.tolist()


def test_edited_agents_are_shown_where_they_were_put(answers):
    header, arrays = asked(answers, PageState(SCENE, AT, edits=EDITS))
    now = dict(zip(header["agents"], arrays["now"].tolist(), strict=True))
    kinds = dict(zip(header["agents"], header["kinds"], strict=True))
    assert now["0"] == pytest.approx([3.0, -1.25, 0.4, 2.0], abs=1e-5)
    assert now["person 1"] == pytest.approx([5.0, 0.1, 0.25, 1.3], abs=1e-5)
    assert (kinds["person 1"], kinds["obstacle 1"]) == ("pedestrian", "obstacle")
    assert "4" not in now


def test_an_edit_that_changes_nothing_has_no_effect(answers, store):
    scene = store[SCENE]
    row = scene.tracks.agent_ids.tolist().index("5")
    x, y = scene.positions_m[row, AT].tolist()
    header, arrays = asked(answers, PageState(SCENE, AT, edits=[ChangeEdit("5", (x, y))]))
    np.testing.assert_array_equal(arrays["before"], arrays["positions"])
    assert all(effect["largest_m"] == 0 for effect in header["effects"].values())
    chances = {name: entry["probability"] for name, entry in header["entry"].items()}
    assert chances == {n: entry["probability"] for n, entry in header["entry_before"].items()}


def test_errors_and_baselines_are_those_of_the_library(answers, store):
    header, _ = asked(answers, PageState(SCENE, AT))
    row = store[SCENE].tracks.agent_ids.tolist().index("2")
    truth = store[SCENE].positions_m[row, AT + 6]
    other = BASELINES["constant_velocity"](None, 20, 0).predict(store[SCENE], AT)
    place = other.most_probable()[other.agent_ids.tolist().index("2"), 5]
    found = header["errors"]["2"][0]
    assert found["horizon_s"] == 3.0
    expected = np.linalg.norm(place - truth)
    assert found["baselines"]["constant_velocity"] == pytest.approx(expected, abs=1e-5)


def test_an_edit_that_leaves_the_training_range_is_marked(answers):
    calm, _ = asked(answers, PageState(SCENE, AT, edits=[ChangeEdit("0", speed_mps=1.3)]))
    fast, _ = asked(answers, PageState(SCENE, AT, edits=[ChangeEdit("0", speed_mps=10.0)]))
    assert calm["ood"]["0"]["score"] <= calm["ood"]["0"]["most"]
    assert fast["ood"]["0"]["score"] > fast["ood"]["0"]["most"]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (PageState("street-9", AT), "no scene 'street-9'"),
        (PageState(SCENE, 1000), "at is 1000"),
        (PageState(SCENE, AT, edits=[RemoveEdit("nobody")]), "agent 'nobody' is not in the world"),
        (PageState(SCENE, AT, edits=[ChangeEdit("0", speed_mps=500.0)]), "at most 12 m/s"),
        (PageState(SCENE, AT, edits=[ChangeEdit("0", (1e7, 0.0))]), "relative to origin_m"),
        (PageState(SCENE, AT, edits=[ActEdit(-40.0)]), "at most 20 m/s"),
        (PageState(SCENE, AT, edits=[EDITS[1], EDITS[1]]), "a name that is not in use"),
    ],
)
@pytest.mark.parametrize("ask", ["futures", "edited"])
def test_what_the_library_refuses_is_refused(answers, state, why, ask):
    with pytest.raises(ForecastError, match="[^\n]*" + why):
        getattr(answers, ask)(state)


def test_a_ranking_is_that_of_the_library(answers, forecaster, store):
    state = PageState(SCENE, AT, samples=8)
    header, arrays = decode_frame(answers.answer(AskRanking(2, state, plans=40)))
    ranked = forecaster.rank_plans(
        store[SCENE], AT, arrays["plans"].astype(np.float64), samples=8, seed=0
    )
    assert header["best"] == ranked.best
    np.testing.assert_allclose(arrays["cost"], ranked.cost, rtol=1e-3, atol=1e-3)
    assert [row["plan"] for row in header["table"]] == ranked.order[:8].tolist()
    assert header["why"].startswith(f"Plan {ranked.best} has the lowest cost")
    partner = ranked.partners(ranked.best)[0]
    assert header["conflict"]["agent"] == partner.agent_id
    assert partner.agent_id not in header["why"].split()


def test_keeping_the_speed_and_braking_are_measured_as_the_best_plans_are(
    answers, forecaster, store
):
    """Of 400 plans, the two would be left behind with fewer samples and without reactions."""
    header, arrays = answers.ranking(PageState(SCENE, AT), 400)
    plans = arrays["plans"]
    ranked = forecaster.rank_plans(store[SCENE], AT, plans, samples=20, seed=0)
    assert not ranked.reactive[:2].all()
    again = forecaster.rank_plans(store[SCENE], AT, plans[:2], samples=20, seed=0)
    for plan, name in enumerate(("keep", "brake")):
        row = header[name]
        assert (row["plan"], row["samples"], row["reactive"]) == (plan, 20, True)
        assert row["risk"] == again.risk[plan]
        price = ranked.cost[plan] - ranked.risk[plan]
        assert row["cost"] == pytest.approx(price + again.risk[plan])


def test_a_ranking_of_edits_starts_from_the_edited_scene(answers):
    state = PageState(SCENE, AT, edits=EDITS)
    header, _ = decode_frame(answers.answer(AskRanking(2, state, plans=20)))
    assert header["left_out"] == [EDITS[4].code(), EDITS[5].code()]


def test_a_drawn_plan_becomes_an_edit_that_the_world_accepts(answers):
    ask = AskDrive(4, PageState(SCENE, AT), [(20.0, 0.0), (40.0, 0.0)], 5.0)
    header, _ = decode_frame(answers.answer(ask))
    assert header["edit"]["do"] == "follow"
    assert len(header["edit"]["poses"]) == 12


def test_a_saved_scene_predicts_from_the_edited_places(answers, forecaster, saved_in):
    found = answers.save(PageState(SCENE, AT, edits=EDITS))
    scene = SceneStore.open(found["path"])[SCENE]
    expected = answers.edited(PageState(SCENE, AT, edits=EDITS))
    np.testing.assert_array_equal(scene.positions_m, expected.positions_m)
    assert found["left_out"] == [EDITS[4].code(), EDITS[5].code()]
    assert forecaster.predict(scene, -1, samples=2).valid.all()


def test_a_baseline_is_shown_and_refuses_edits_in_one_line(store, tmp_path):
    plain = Answers(
        store, BASELINES["constant_velocity"](None, 20, 0), "constant_velocity", tmp_path
    )
    assert plain.scenes()["editable"] is False
    header, arrays = asked(plain, PageState(SCENE, AT))
    assert (arrays["positions"].shape[0], header["levels"], header["ood"]) == (1, [], {})
    with pytest.raises(ForecastError, match="'constant_velocity' cannot imagine edits; give"):
        plain.futures(PageState(SCENE, AT, edits=[EDITS[0]]))
    assert header["code"] is None, "forecast.load reads no baselines"
    plain.warm_up()


def test_the_shown_python_has_absolute_paths(store, forecaster, tmp_path, monkeypatch):
    forecaster.save(tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "streets").symlink_to(store.path)
    here = Answers(SceneStore.open("streets"), forecaster, "mine.safetensors", tmp_path)
    header, _ = asked(here, PageState(SCENE, AT))
    assert f"open_store({str(tmp_path / 'streets')!r})" in header["code"]
    assert f"load({str(tmp_path / 'mine.safetensors')!r})" in header["code"]
    header, _ = asked(Answers(store, forecaster, "mine:Model", tmp_path), PageState(SCENE, AT))
    assert header["code"] is None


def test_a_scene_at_10_hz_keeps_the_history_that_the_model_needs(forecaster, tmp_path):
    scene = street_scene(steps=80, dt_s=0.1)
    made = prepare(OneScene(scene, "fine", "nuscenes-ped-v1"), tmp_path / "fine")
    answers = Answers(made, forecaster, "town", tmp_path)
    state = PageState("street", 40, edits=[ChangeEdit("0", (3.0, -1.0))])
    assert answers.edited(state).steps == 21  # 2 s
    _, arrays = asked(answers, PageState("street", 40))
    expected = forecaster.predict(scene, 40)
    np.testing.assert_array_equal(arrays["positions"], expected.positions_m)
