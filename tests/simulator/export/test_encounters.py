import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
from nuscenes import NuScenes

from forecast.cli import main
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import SceneStore, prepare
from forecast.errors import ForecastError
from forecast.parallel import Workers
from forecast.scene import AgentKind
from forecast.scene.agents import Decision
from forecast.simulator import write_encounters
from forecast.simulator.export import encounters
from tests.simulator.export.test_dataset import contents

SEED, MOMENTS, NOW = 77, 12, 4
PLANS = ("went", "stop", "slow", "hurry")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Moments of a seed in which people are known to react."""
    out = tmp_path_factory.mktemp("encounters") / "out"
    words = ["--scenes", str(MOMENTS), "--seed", str(SEED), "--encounters", "--counterfactual"]
    main(["town", "--out", str(out), *words])
    return out


@pytest.fixture(scope="module")
def scenes(written):
    """The moments under each plan."""
    sources = {plan: NuScenesSource(written / plan, "v1.0-town") for plan in PLANS}
    return {
        plan: [source.read(name)[0] for name in source.scene_names()]
        for plan, source in sources.items()
    }


def notes(written):
    return json.loads((written / "encounters.json").read_bytes())


def test_the_devkit_opens_every_plan(written):
    for plan in PLANS:
        assert len(NuScenes("v1.0-town", str(written / plan), verbose=False).scene) == MOMENTS


def test_plans_have_the_same_scenes_and_agents_up_to_the_moment(scenes):
    for moments in zip(*scenes.values(), strict=True):
        went = moments[0]
        assert went.steps == 17
        for other in moments[1:]:
            assert other.id == went.id
            _, a, b = np.intersect1d(
                went.tracks.agent_ids, other.tracks.agent_ids, return_indices=True
            )
            for name in ("positions_m", "valid", "decisions"):
                one, two = getattr(went.tracks, name), getattr(other.tracks, name)
                np.testing.assert_array_equal(one[a, : NOW + 1], two[b, : NOW + 1])


def test_the_ego_brakes_and_hurries_as_the_plan_says(scenes):
    ways = {plan: np.array([way_of_ego(scene) for scene in scenes[plan]]) for plan in PLANS}
    assert (ways["stop"] <= ways["went"] + 1e-3).all()
    assert (ways["slow"] <= ways["hurry"] + 1e-3).all()
    assert (ways["hurry"] > ways["stop"] + 1).any()


def way_of_ego(scene):
    (ego,) = np.flatnonzero(scene.tracks.kinds == AgentKind.EGO)
    steps = np.diff(scene.tracks.positions_m[ego, NOW:], axis=0)
    return np.linalg.norm(steps, axis=-1).sum()


def test_the_side_table_says_who_is_moved_by_which_plan(written, scenes):
    table = notes(written)
    assert table["plans"] == list(PLANS)
    moved = 0
    for index, note in enumerate(table["moments"]):
        assert note["same_until"] == NOW
        for plan, people in note["moved_m"].items():
            went, other = scenes["went"][index].tracks, scenes[plan][index].tracks
            for token, distance in people.items():
                ends = [
                    each.positions_m[each.agent_ids.tolist().index(token), -1].astype(float)
                    for each in (went, other)
                ]
                assert np.hypot(*(ends[1] - ends[0])) == pytest.approx(distance, abs=2e-3)
                moved += distance > 0.5
    assert moved > 0


def test_decisions_are_those_of_pedestrians_and_agree_with_what_they_do(scenes):
    went = [scene.tracks for scene in scenes["went"]]
    for tracks in went:
        known = tracks.decisions != Decision.UNKNOWN
        # Strollers are pedestrians in nuScenes' categories, but they decide nothing.
        assert not known[tracks.kinds != AgentKind.PEDESTRIAN].any()
    speeds = {Decision.GO: [], Decision.YIELD: []}
    for tracks in went:
        steps = np.linalg.norm(np.diff(tracks.positions_m, axis=1), axis=-1) / 0.5
        both = tracks.valid[:, 1:] & tracks.valid[:, :-1]
        for decision, found in speeds.items():
            same = (tracks.decisions[:, 1:] == decision) & (tracks.decisions[:, :-1] == decision)
            found += steps[both & same].tolist()
    assert np.median(speeds[Decision.GO]) > 0.8
    assert np.median(speeds[Decision.YIELD]) < 0.5


def test_decisions_go_through_a_store(written, scenes, tmp_path):
    prepare(NuScenesSource(written / "stop", "v1.0-town"), tmp_path / "store")
    stored = SceneStore.open(tmp_path / "store")[scenes["stop"][0].id]
    np.testing.assert_array_equal(stored.tracks.decisions, scenes["stop"][0].tracks.decisions)


def test_moments_of_one_scene_are_apart_and_on_one_side_of_the_split(written):
    splits = json.loads((written / "went" / "v1.0-town" / "splits.json").read_bytes())
    scene_of = {
        side: [divmod(int(name.removeprefix("town-")) - 1, 41) for name in splits[side]]
        for side in ("town_train", "town_val")
    }
    assert sum(map(len, scene_of.values())) == MOMENTS
    assert not {s for s, _ in scene_of["town_train"]} & {s for s, _ in scene_of["town_val"]}
    for (scene, frame), (other, later) in pairwise(scene_of["town_train"]):
        assert other > scene or later >= frame + 4


def test_without_other_plans_there_is_one_dataset(tmp_path):
    write_encounters(tmp_path / "out", moments=2, seed=SEED)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"went", "encounters.json"}
    write_encounters(tmp_path / "out", moments=1, seed=SEED)  # an earlier one is replaced
    assert len(notes(tmp_path / "out")["moments"]) == 1


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(written, tmp_path):
    out = tmp_path / "out"
    write_encounters(out, moments=MOMENTS, seed=SEED, counterfactual=True, workers=Workers(2))
    assert contents(out) == contents(written)


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(ForecastError, match="scenes is 0; at least 1"):
        write_encounters(tmp_path / "out", moments=0)
    words = ["town", "--out", str(tmp_path / "out"), "--encounters", "--full-rate"]
    assert main(words) != 0
    assert "one of the two" in capsys.readouterr().err

    def fail(*_: object) -> None:
        raise RuntimeError("disk is full")

    monkeypatch.setattr(encounters, "_of_scene", fail)
    with pytest.raises(ForecastError, match=r"^scene 0: RuntimeError: disk is full"):
        write_encounters(tmp_path / "out", moments=1)
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_decisions_of_another_length_is_refused(written, tmp_path):

    shutil.copytree(written / "went", tmp_path / "went")
    table = tmp_path / "went" / "v1.0-town" / "decision.json"
    rows = json.loads(table.read_bytes())
    rows[0]["decisions"].append(0)
    table.write_text(json.dumps(rows))
    source = NuScenesSource(tmp_path / "went", "v1.0-town")
    with pytest.raises(ForecastError, match="has 18 decisions; its scene has 17 keyframes"):
        source.read(source.scene_names()[0])
    rows[0]["decisions"][0] = 9
    table.write_text(json.dumps(rows))
    with pytest.raises(ForecastError, match=r"decision\.json: .*<= 4"):
        NuScenesSource(tmp_path / "went", "v1.0-town")


def test_in_shared_space_people_near_the_way_of_the_ego_are_moved_and_yield(tmp_path):
    out, words = tmp_path / "out", ["--encounters", "--counterfactual", "--scenes", "4"]
    main(["town", "--out", str(out), "--seed", str(SEED), "--district", "shared_space", *words])
    moved = [
        max(m.values(), default=0)
        for note in notes(out)["moments"]
        for m in [*note["moved_m"].values()]
    ]
    assert max(moved) > 0.5
    source = NuScenesSource(out / "hurry", "v1.0-town")
    tracks = [source.read(name)[0].tracks for name in source.scene_names()]
    made = np.concatenate(
        [each.decisions[each.kinds == AgentKind.PEDESTRIAN].ravel() for each in tracks]
    )
    assert {Decision.FREE, Decision.YIELD} <= set(made.tolist())
    assert Decision.UNDECIDED not in made  # there are no kerbs
