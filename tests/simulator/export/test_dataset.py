import json
import os
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes
from nuscenes.map_expansion.map_api import NuScenesMap

from forecast.cli import main
from forecast.datasets.nuscenes import NuScenesSource
from forecast.datasets.store import prepare
from forecast.errors import ForecastError
from forecast.geometry import backward_velocity
from forecast.parallel import Workers
from forecast.scene import AgentKind
from forecast.simulator import simulate, write_town
from forecast.simulator.export import dataset, tables
from forecast.simulator.export.recording import degrade, record
from forecast.simulator.map.places import build_place, location_of
from tests.datasets.source_contract import assert_keeps_contract
from tests.full_disk import full_disk
from tests.simulator.conftest import SCENES, SEED

PAIR_SEED = 2

TABLES = {
    "attribute", "calibrated_sensor", "category", "ego_pose", "instance", "log", "map", "sample",
    "sample_annotation", "sample_data", "scene", "sensor", "visibility", "splits",
}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_all_tables_and_maps_are_written(town):
    assert {p.stem for p in (town / "v1.0-town").iterdir()} == TABLES
    assert len(list((town / "maps" / "expansion").iterdir())) == SCENES
    assert not list(town.parent.glob(".*.forecast-part"))


def test_a_scene_does_not_depend_on_the_others(town, tmp_path):
    write_town(tmp_path / "one", scenes=1, seed=SEED)

    def annotations(folder):
        return json.loads((folder / "v1.0-town" / "sample_annotation.json").read_bytes())

    alone = annotations(tmp_path / "one")
    assert alone == annotations(town)[: len(alone)]


@pytest.mark.slow
def test_another_seed_gives_another_town(town, tmp_path):
    write_town(tmp_path / "other", scenes=1, seed=SEED + 1)
    other, this = contents(tmp_path / "other"), contents(town)
    expansion = "maps/expansion/boston-seaport.json"
    assert other[expansion] != this[expansion]


def test_an_earlier_town_is_replaced_and_a_plain_line_shows_the_progress(tmp_path, capfd):
    out = tmp_path / "town"
    (out / "v1.0-town").mkdir(parents=True)
    (out / "v1.0-town" / "old.json").write_text("[]")
    write_town(out, scenes=1)
    assert not (out / "v1.0-town" / "old.json").exists()
    assert capfd.readouterr().err == "town: 1 of 1 scenes\n"


def test_folders_with_other_content_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ForecastError, match=r"holds 'thesis\.tex', which is not part of a town"):
        write_town(tmp_path, scenes=1)
    (tmp_path / "v1.0-town").mkdir()
    with pytest.raises(ForecastError, match=r"thesis\.tex"):
        write_town(tmp_path, scenes=1)
    with pytest.raises(ForecastError, match="is a file"):
        write_town(tmp_path / "thesis.tex", scenes=1)


def test_a_folder_with_only_maps_is_refused(tmp_path):
    (tmp_path / "maps").mkdir()
    with pytest.raises(ForecastError, match="holds 'maps'"):
        write_town(tmp_path, scenes=1)


@pytest.mark.parametrize(
    "number", [{"scenes": 0}, {"seed": -1}, {"noise_m": -1.0}, {"gap_share": 1.0}]
)
def test_numbers_out_of_range_are_refused(tmp_path, number):
    with pytest.raises(ForecastError, match=rf"{next(iter(number))}.* need"):
        write_town(tmp_path / "town", **number)
    assert not (tmp_path / "town").exists()


def test_nothing_is_left_behind_when_the_work_fails(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("disk is full")

    monkeypatch.setattr(dataset, "_encoded_scene", fail)
    with pytest.raises(ForecastError, match=r"^scene 0: RuntimeError: disk is full \(test_dataset"):
        write_town(tmp_path / "town", scenes=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--encounters"]])
def test_a_town_on_a_full_disk_is_one_line(tmp_path, capsys, options):
    with full_disk():
        assert main(["town", "--out", str(tmp_path / "out"), "--scenes", "1", *options]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {tmp_path / 'out'}: File too large; check the path")
    assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(town, tmp_path):
    write_town(tmp_path / "town", scenes=SCENES, seed=SEED, workers=Workers(2))
    assert contents(tmp_path / "town") == contents(town)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The three places of shared space, twice each."""
    out = tmp_path_factory.mktemp("shared") / "pair"
    words = ["--district", "shared_space", "--counterfactual", "--scenes", "3", "--seed", "5"]
    assert main(["town", "--out", str(out), "--workers", "1", *words]) == 0
    return out


def test_shared_space_opens_in_the_devkit_and_has_no_lanes(shared):
    nusc = NuScenes("v1.0-town", str(shared / "factual"), verbose=False)
    places = {scene["description"].split(",")[0] for scene in nusc.scene}
    assert places == {"Shared campus", "Shared car park", "Shared warehouse"}
    parks = 0
    for log in nusc.log:
        city = NuScenesMap(str(shared / "factual"), log["location"])
        assert len(city.lane) == len(city.lane_connector) == len(city.ped_crossing) == 0
        assert len(city.drivable_area) == len(city.walkway) == 1
        parks += len(city.carpark_area)
        for area in city.polygon:
            assert city.extract_polygon(area["token"]).is_valid
    assert parks == 8


def test_shared_space_is_prepared_with_slow_vehicles_and_people_react_to_the_ego(shared, tmp_path):
    source = NuScenesSource(shared / "factual", "v1.0-town")
    store = prepare(source, tmp_path / "store")
    moved = 0
    for scene, other in zip(store, scenes_of(shared / "counterfactual"), strict=True):
        factual = store[scene]
        tracks = factual.tracks
        kinds = set(tracks.kinds.tolist())
        assert kinds == {AgentKind.EGO, AgentKind.PEDESTRIAN, AgentKind.VEHICLE}
        velocity, known = backward_velocity(
            tracks.positions_m.astype(float), tracks.valid, factual.dt_s
        )
        vehicles = tracks.kinds != AgentKind.PEDESTRIAN
        assert np.hypot(*velocity[vehicles].T).T[known[vehicles]].max() < 4.3
        assert len(factual.lane_map) == 0
        _, a, b = np.intersect1d(tracks.agent_ids, other.tracks.agent_ids, return_indices=True)
        people = tracks.kinds[a] == AgentKind.PEDESTRIAN
        a, b = a[people], b[people]
        apart = np.hypot(*(tracks.positions_m[a] - other.tracks.positions_m[b]).T).T
        apart *= tracks.valid[a] & other.tracks.valid[b]
        moved += int((apart.max(1) > 0.5).sum())
    assert moved > 5


def test_an_unknown_district_is_refused(tmp_path):
    with pytest.raises(ForecastError, match="district is beach; one of street, shared_space"):
        write_town(tmp_path / "town", district="beach")
    with pytest.raises(SystemExit):
        main(["town", "--out", str(tmp_path / "town"), "--district", "beach"])
    assert not (tmp_path / "town").exists()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two scenes in which people are known to react."""
    out = tmp_path_factory.mktemp("pair") / "pair"
    write_town(out, scenes=2, seed=PAIR_SEED, counterfactual=True)
    return out


def scenes_of(root):
    source = NuScenesSource(root, "v1.0-town")
    return [source.read(name)[0] for name in source.scene_names()]


def test_a_pair_is_the_same_up_to_the_fork_and_people_react_after_it(pair):
    notes = json.loads((pair / "counterfactual.json").read_bytes())["scenes"]
    reacted = 0
    both = zip(scenes_of(pair / "factual"), scenes_of(pair / "counterfactual"), notes, strict=True)
    for factual, other, note in both:
        fork = note["same_until"]
        assert factual.id == other.id == note["scene"]
        assert note["plan"] in ("stop", "slow", "hurry")
        common, a, b = np.intersect1d(
            factual.tracks.agent_ids, other.tracks.agent_ids, return_indices=True
        )
        seen = factual.tracks.valid[:, : fork + 1].any(1)
        assert set(factual.tracks.agent_ids[seen]) <= set(common)
        for name in ("positions_m", "headings_rad", "valid", "visibility"):
            first, second = getattr(factual.tracks, name)[a], getattr(other.tracks, name)[b]
            assert np.array_equal(first[:, : fork + 1], second[:, : fork + 1]), name
        ego = np.abs(factual.tracks.positions_m[0] - other.tracks.positions_m[0]).max(-1)
        assert ego[: fork + 1].max() == 0.0
        assert ego.max() > 0.5
        apart = np.hypot(*(factual.tracks.positions_m[a] - other.tracks.positions_m[b]).T).T
        apart *= factual.tracks.valid[a] & other.tracks.valid[b]
        people = factual.tracks.kinds[a] == AgentKind.PEDESTRIAN
        reacted += int((apart[people].max(1) > 0.3).sum())
    assert reacted > 0


def test_a_pair_opens_in_the_devkit_and_may_be_replaced(pair, tmp_path):
    for name in ("factual", "counterfactual"):
        assert len(NuScenes("v1.0-town", str(pair / name), verbose=False).scene) == 2
    (tmp_path / "pair").mkdir()
    (tmp_path / "pair" / "counterfactual.json").write_text("{}")
    write_town(tmp_path / "pair", scenes=1)
    assert {p.name for p in (tmp_path / "pair").iterdir()} == {"v1.0-town", "maps"}


def test_the_source_keeps_its_contract_on_a_town(town):
    assert_keeps_contract(NuScenesSource(town, "v1.0-town"), scenes=2)


def test_the_store_holds_the_simulators_states_to_a_millimetre(town, tmp_path):
    store = prepare(NuScenesSource(town, "v1.0-town"), tmp_path / "store")
    scene, recording = store["town-0002"], dataset.simulate_scene(SEED, 1)
    agents = np.flatnonzero(recording.seen.any(1))
    world = scene.tracks.positions_m + scene.origin_m
    assert len(scene.tracks) == len(agents) + 1
    assert np.abs(world[0] - recording.ego[:, :2]).max() < 1e-3
    order = {tables._scene_token("instance", SEED, 1, int(a)): a for a in agents}
    rows = [order[name] for name in scene.tracks.agent_ids[1:].tolist()]
    seen = recording.seen[rows]
    assert np.array_equal(scene.tracks.valid[1:], seen)
    assert np.abs(world[1:] - recording.poses[rows, :, :2])[seen].max() < 1e-3
    turn = scene.tracks.headings_rad[1:] - recording.poses[rows, :, 2]
    assert np.cos(turn[seen]).min() > 1 - 1e-6
    assert np.array_equal(scene.tracks.visibility[1:][seen], recording.visibility[rows][seen])
    assert list(scene.tracks.categories[1:]) == list(recording.categories[rows])


def test_later_keyframes_do_not_change_earlier_ones():
    """Leak check: annotations up to a keyframe do not depend on later keyframes."""
    district, walls = build_place(location_of(1), SEED)
    scenario, world = simulate.draw_scenario(district, SEED, 1)
    states = simulate.simulate_frames(scenario, world, 21)
    short, whole = record(scenario, states[:51], walls), record(scenario, states, walls)
    for name in ("poses", "speeds_mps", "seen", "visibility"):
        assert np.array_equal(getattr(short, name), getattr(whole, name)[:, :11]), name


@pytest.mark.slow
def test_noise_and_gaps_have_the_given_size(tmp_path):
    truth = dataset.simulate_scene(SEED, 0)
    worse = degrade(truth, 0.1, 0.2, np.random.default_rng(0))
    error = (worse.poses - truth.poses)[..., :2]
    assert error.std() == pytest.approx(0.1, rel=0.05)
    assert not (worse.seen & ~truth.seen).any()
    assert 1 - worse.seen.sum() / truth.seen.sum() == pytest.approx(0.25, abs=0.1)
    assert np.array_equal(degrade(truth, 0.0, 0.0, np.random.default_rng(0)).seen, truth.seen)
    write_town(tmp_path / "noisy", scenes=1, seed=SEED, noise_m=0.1, gap_share=0.2)
    rows = json.loads((tmp_path / "noisy/v1.0-town/sample_annotation.json").read_bytes())
    assert 0.6 < len(rows) / truth.seen.sum() < 0.9


def test_a_scene_whose_worker_is_killed_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "_encoded_scene", _dies)
    with pytest.raises(ForecastError, match=r"^scene 0: its worker was killed 3 times"):
        write_town(tmp_path / "town", scenes=2, workers=Workers(2))
    assert list(tmp_path.iterdir()) == []


def _dies(*_: object) -> None:
    os._exit(9)
