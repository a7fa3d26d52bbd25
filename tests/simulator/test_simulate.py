import copy
import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from forecast.scene import AgentKind, Scene
from forecast.simulator import boxes, realism, simulate
from forecast.simulator.dynamics import pedestrian_motion as people
from forecast.simulator.dynamics import vehicle_motion as traffic
from forecast.simulator.export.recording import record
from forecast.simulator.map import layouts as places
from forecast.simulator.map import traffic_lights as signals
from forecast.simulator.map.district import build_district

SCENES = 8


@pytest.fixture(scope="module")
def runs():
    """Setting and worlds, at every step, of a few scenes."""
    result = []
    for scene in range(SCENES):
        location = places.LOCATIONS[scene % 4]
        setting, world = simulate.set_scene(build_district(places.layout(location, 11)), 11, scene)
        result.append((setting, simulate.run(setting, world)))
    return result


def arrays(state):
    return {
        f"{part}.{field.name}": getattr(getattr(state, part), field.name)
        for part in ("people", "traffic")
        for field in dataclasses.fields(getattr(state, part))
    }


def test_a_kept_world_continues_as_it_did_and_is_not_modified(runs):
    setting, worlds = runs[0]
    before = copy.deepcopy(arrays(worlds[3]))
    again = simulate.run(setting, worlds[3], 5)[-1]
    for name, value in arrays(again).items():
        assert np.array_equal(value, arrays(worlds[23])[name]), name
    for name, value in arrays(worlds[3]).items():
        assert np.array_equal(value, before[name]), name


def test_people_out_of_reach_of_the_ego_do_not_notice_another_plan_at_all(runs):
    """The placebo: whom the ego cannot have reached stays the same to the last bit."""
    unmoved = 0
    for setting, worlds in runs[:3]:
        world, other = worlds[0], worlds[0]
        away = np.array([-500.0, -500.0, 0.0])
        anywhere = np.ones(len(setting.crossings.marked), bool)
        far = np.hypot(*(world.people.positions_m - world.traffic.poses[0, :2]).T) > 25.0
        for _ in range(10):
            intent = people.intents(setting.crowd, setting.crossings, world.people, anywhere)
            # Who is about to cross looks out for the ego from afar.
            far &= ~people._any_of_group(setting.crowd, intent.close)
            world = simulate.step(setting, world)
            other = simulate.step(setting, other, ego_pose=away)
        assert np.array_equal(world.people.drift, other.people.drift)
        assert np.array_equal(world.people.positions_m[far], other.people.positions_m[far])
        unmoved += int(far.sum())
    assert unmoved > 10


def test_an_ego_told_to_stop_stops_and_one_in_a_hurry_goes_further(runs):
    ends = {}
    for setting, worlds in runs[:4]:
        for plan in simulate.EGO_PLANS:
            end = simulate.run(simulate.with_ego_plan(setting, plan), worlds[20], 13)[-1]
            ends.setdefault(plan, []).append(float(end.traffic.along_m[0]))
            if plan == "stop":
                assert end.traffic.speeds_mps[0] < 0.3
    assert sum(ends["stop"]) < sum(ends["slow"]) < sum(ends["hurry"])


def test_people_hardly_ever_overlap_each_other_or_cars(runs):
    total = touching = inside = 0
    for setting, worlds in runs:
        fleet = setting.fleet
        for world in worlds[:: simulate.FRAME_STEPS]:
            at, cars = world.people.positions_m, world.traffic.poses[world.traffic.active]
            apart = np.hypot(*(at[:, None] - at).transpose(2, 0, 1)) + 9 * np.eye(len(at))
            poses = np.concatenate([cars, fleet.parked_poses])
            sizes = np.concatenate([fleet.sizes_m[world.traffic.active], fleet.parked_sizes_m])
            distance = boxes.distances(at[:, None], poses, sizes[:, :2])
            total += len(at)
            touching += int((apart.min(1) < 0.35).sum())
            inside += int((distance < 0).any(1).sum())
    assert touching / total < 0.005
    assert inside / total < 0.001


def test_vehicles_do_not_drive_through_each_other(runs):
    total = hit = 0
    for setting, worlds in runs:
        for world in worlds[:: simulate.FRAME_STEPS]:
            poses = world.traffic.poses[world.traffic.active]
            sizes = setting.fleet.sizes_m[world.traffic.active, :2]
            distance = boxes.distances(poses[:, None, :2], poses, sizes) + 99 * np.eye(len(poses))
            total += len(poses)
            hit += int((distance.min(1) < 0).sum())
    assert hit / total < 0.01


def test_people_use_crosswalks_and_drivers_stop_for_them(runs):
    crossed = stopped = 0
    for setting, worlds in runs:
        over = worlds[-1].people.along_m[:, None] > setting.crowd.kerbs_m[..., 1]
        began = worlds[0].people.along_m[:, None] > setting.crowd.kerbs_m[..., 1]
        crossed += int((over & ~began).sum())
        stopped += int((np.array([w.traffic.speeds_mps for w in worlds]) < 0.3).any(0).sum())
    assert crossed > 3 * SCENES
    assert stopped > SCENES


def test_signals_turn_and_people_and_drivers_heed_them(runs):
    setting, worlds = runs[0]
    ran = 0
    for before, after in pairwise(worlds):
        time_s = simulate.DT_S * before.index
        lanes = traffic.next_lanes(setting.fleet, before.traffic)
        red = ~signals.may_drive(setting.signals, lanes, time_s - signals.AMBER_S)
        red &= ~signals.may_drive(setting.signals, lanes, time_s)
        begins = traffic._next_connector(setting.fleet, before.traffic)[1]
        half = setting.fleet.sizes_m[:, 0] / 2
        enters = (before.traffic.along_m + half < begins) & (after.traffic.along_m + half > begins)
        ran += int((enters & red & (lanes >= 0)).sum())
    assert ran == 0


def test_people_are_as_hard_to_extrapolate_as_those_of_nuscenes(runs):
    scenes = []
    for setting, worlds in runs:
        seen = record(setting, worlds)
        walk = np.char.startswith(seen.categories, "human.")
        positions = seen.poses[walk, :, :2]
        scenes.append(
            Scene.from_arrays(positions, [AgentKind.PEDESTRIAN] * len(positions), 0.5,
                              valid=seen.seen[walk], origin_m=seen.ego[0, :2])
        )  # fmt: skip
    motion = realism.measure(scenes)
    # nuScenes v1.0-mini, all scenes; six scenes of the city scatter by some 10 %.
    assert motion.samples["cv_3s"].mean() == pytest.approx(0.656, rel=0.3)
    assert motion.samples["cv_6s"].mean() == pytest.approx(1.661, rel=0.3)
    assert motion.shares["stands"] == pytest.approx(0.26, abs=0.15)
    assert motion.shares["straight"] == pytest.approx(0.33, abs=0.12)
    assert np.percentile(motion.samples["acceleration"], 99) == pytest.approx(1.78, rel=0.35)
