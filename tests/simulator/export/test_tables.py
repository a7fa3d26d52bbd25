import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.prediction import PredictHelper
from nuscenes.utils.splits import get_scenes_of_split
from pyquaternion import Quaternion

from forecast.simulator.export import tables
from forecast.simulator.export.dataset import simulate_scene
from forecast.simulator.export.recording import RANGE_M, Recording
from forecast.simulator.map import layouts
from tests.simulator.conftest import SCENES, SEED


@pytest.fixture(scope="module")
def nusc(town):
    return NuScenes("v1.0-town", str(town), verbose=False)


@pytest.fixture(scope="module")
def recording():
    return simulate_scene(SEED, 1)


def chain(nusc, table, first):
    records = [nusc.get(table, first)]
    while records[-1]["next"]:
        records.append(nusc.get(table, records[-1]["next"]))
    return records


def test_samples_are_chained_at_two_hertz(nusc):
    assert len(nusc.scene) == SCENES
    for scene in nusc.scene:
        samples = chain(nusc, "sample", scene["first_sample_token"])
        assert samples[-1]["token"] == scene["last_sample_token"]
        assert len(samples) == scene["nbr_samples"] == 41
        assert set(np.diff([s["timestamp"] for s in samples])) == {500_000}
        backwards = [s["prev"] for s in samples]
        assert backwards == ["", *(s["token"] for s in samples[:-1])]


def test_annotation_chains_are_consistent(nusc):
    in_chains = 0
    for instance in nusc.instance:
        records = chain(nusc, "sample_annotation", instance["first_annotation_token"])
        in_chains += len(records)
        assert records[-1]["token"] == instance["last_annotation_token"]
        assert len(records) == instance["nbr_annotations"]
        assert {r["instance_token"] for r in records} == {instance["token"]}
        stamps = [nusc.get("sample", r["sample_token"])["timestamp"] for r in records]
        assert (np.diff(stamps) > 0).all()
    assert in_chains == len(nusc.sample_annotation)


def test_the_devkits_helper_sees_the_future_and_the_ego(nusc):
    helper = PredictHelper(nusc)
    long = next(i for i in nusc.instance if i["nbr_annotations"] == 41)
    first = nusc.get("sample_annotation", long["first_annotation_token"])
    future = helper.get_future_for_agent(
        long["token"], first["sample_token"], seconds=6, in_agent_frame=False
    )
    records = chain(nusc, "sample_annotation", first["token"])[1:13]
    assert future == pytest.approx(np.array([r["translation"][:2] for r in records]))


def test_annotations_lie_within_range_of_the_ego(nusc):
    for sample in nusc.sample:
        data = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
        ego = nusc.get("ego_pose", data["ego_pose_token"])["translation"]
        places_m = [nusc.get("sample_annotation", t)["translation"] for t in sample["anns"]]
        if places_m:
            apart = np.array(places_m)[:, :2] - ego[:2]
            assert np.hypot(*apart.T).max() < RANGE_M + 0.01


def test_tables_hold_the_simulators_states_to_a_millimetre(nusc, recording):
    scene = nusc.scene[1]
    samples = chain(nusc, "sample", scene["first_sample_token"])
    step_of = {sample["token"]: i for i, sample in enumerate(samples)}
    found = np.full(recording.seen.shape, False)
    owner = {}
    for agent in np.flatnonzero(recording.seen.any(1)):
        owner[tables._scene_token("instance", SEED, 1, agent)] = agent
    for record in nusc.sample_annotation:
        if record["sample_token"] not in step_of:
            continue
        agent, step = owner[record["instance_token"]], step_of[record["sample_token"]]
        found[agent, step] = True
        pose = recording.poses[agent, step]
        assert record["translation"][:2] == pytest.approx(pose[:2], abs=1e-3)
        assert record["category_name"] == recording.categories[agent]
        width, length, height = record["size"]
        assert (length, width, height) == pytest.approx(recording.sizes_m[agent], abs=1e-3)
        turn = Quaternion(record["rotation"]).yaw_pitch_roll[0] - pose[2]
        assert np.cos(turn) == pytest.approx(1.0, abs=1e-9)
    assert np.array_equal(found, recording.seen)
    for sample, pose in zip(samples, recording.ego, strict=True):
        data = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
        ego = nusc.get("ego_pose", data["ego_pose_token"])
        assert ego["timestamp"] == sample["timestamp"]
        assert ego["translation"][:2] == pytest.approx(pose[:2], abs=1e-3)


def test_splits_cover_the_scenes_once(nusc):
    train, val = (get_scenes_of_split(f"town_{name}", nusc) for name in ("train", "val"))
    assert sorted(train + val) == [scene["name"] for scene in nusc.scene]
    assert len(val) == 1


def test_every_scene_has_a_location_and_a_description(nusc):
    for scene in nusc.scene:
        log = nusc.get("log", scene["log_token"])
        assert log["location"] in layouts.LOCATIONS
        assert nusc.get("map", log["map_token"])["filename"].endswith(".png")
        assert scene["description"]


def moment(seen, speeds=0.0, categories=("human.pedestrian.adult",)):
    count, steps = np.shape(seen)
    return Recording(
        ego=np.zeros((steps, 3)),
        ego_track=np.zeros((5 * steps - 4, 3)),
        categories=np.array(categories),
        sizes_m=np.ones((count, 3)),
        poses=np.zeros((count, steps, 3)),
        speeds_mps=np.full((count, steps), speeds),
        parked=np.arange(count) == 3,
        sits=np.arange(count) == 0,
        present=np.array(seen),
        seen=np.array(seen),
        visibility=np.where(seen, 2, 0),
        summary="",
    )


def test_a_gap_in_a_track_stays_one_instance_and_is_skipped_by_its_chain():
    rows = tables.scene_tables(moment([[True, False, False, True]]), 0, 0, "boston-seaport")
    first, last = rows["sample_annotation"]
    assert (first["prev"], first["next"], last["prev"], last["next"]) == (
        "", last["token"], first["token"], "",
    )  # fmt: skip
    samples = [sample["token"] for sample in rows["sample"]]
    assert [first["sample_token"], last["sample_token"]] == [samples[0], samples[3]]
    assert [i["nbr_annotations"] for i in rows["instance"]] == [2]


def test_agents_that_are_never_seen_are_left_out():
    rows = tables.scene_tables(moment([[False, False]]), 0, 0, "boston-seaport")
    assert rows["instance"] == rows["sample_annotation"] == []


@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        (0.0, ["pedestrian.sitting_lying_down", "cycle.with_rider", "vehicle.stopped"]),
        (2.0, ["pedestrian.moving", "cycle.with_rider", "vehicle.moving"]),
    ],
)
def test_attributes_by_hand(speed, expected):
    kinds = ("human.pedestrian.child", "vehicle.bicycle", "vehicle.bus.rigid", "vehicle.car")
    rows = tables.scene_tables(moment([[True]] * 4, speed, kinds), 0, 0, "boston-seaport")
    names = {row["token"]: row["name"] for row in tables.fixed_tables()["attribute"]}
    found = [names[a["attribute_tokens"][0]] for a in rows["sample_annotation"]]
    assert found == [*expected, "vehicle.parked"]


def test_props_have_no_attribute_and_visibility_is_a_bin():
    rows = tables.scene_tables(
        moment([[True]], 0.0, ("movable_object.barrier",)), 0, 0, "boston-seaport"
    )
    assert rows["sample_annotation"][0]["attribute_tokens"] == []
    assert rows["sample_annotation"][0]["visibility_token"] == "2"
