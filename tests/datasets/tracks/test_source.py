import json

import numpy as np
import pytest

from forecast import AgentKind, ForecastError
from forecast.datasets.store import prepare
from forecast.datasets.tracks.source import TracksSource
from tests.datasets.source_contract import assert_keeps_contract

COLUMNS = ["scene", "agent_id", "kind", "t_s", "x_m", "y_m"]


def walk(scene="a", agent="p", kind="pedestrian", hz=2.0, start_s=0.0, seconds=4.0, y=0.0):
    """Rows of an agent that moves along x by 1.2 m/s, at x = 1.2 t."""
    times = start_s + np.arange(0, seconds + 1e-9, 1 / hz)
    return [[scene, agent, kind, round(float(t), 6), round(1.2 * float(t), 6), y] for t in times]


def source(tmp_path, rows, columns=(), **options):
    lines = [",".join([*COLUMNS, *columns]), *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "tracks.csv").write_text("\n".join(lines) + "\n")
    return TracksSource(tmp_path / "tracks.csv", **options)


def read(tmp_path, rows, columns=()):
    return source(tmp_path, rows, columns).read("a")


def with_columns(rows, *values):
    return [[*row, *values] for row in rows]


def test_keeps_the_contract(tmp_path):
    rows = with_columns(walk() + walk(agent="car", kind="vehicle", hz=10), 0.3, 4.5, 0, "train")
    rows += with_columns(walk(scene="b", hz=3) + walk("b", "ego", "ego", y=3), "", "", 1, "val")
    tracks = source(tmp_path, rows, ["heading_rad", "length_m", "height_m", "split"])
    assert tracks.splits() == {"train": ["a"], "val": ["b"]}
    assert_keeps_contract(tracks)


@pytest.mark.parametrize("hz", [2, 2.5, 3, 4, 5, 10, 20, 30])
def test_a_walker_walks_as_fast_at_any_rate(tmp_path, hz):
    scene, dropped = read(tmp_path, walk(hz=hz) + walk(agent="q", hz=hz, y=3))
    assert dropped == {}
    velocity = np.diff(scene.tracks.positions_m, axis=1) / 0.5
    np.testing.assert_allclose(velocity, np.broadcast_to([1.2, 0], (2, 8, 2)), atol=2e-4)
    np.testing.assert_allclose(np.diff(scene.timestamps_us), 500_000, atol=2)


@pytest.mark.parametrize(("people", "ego"), [(2, 10), (10, 2), (4, 30)])
def test_agents_may_have_rates_and_phases_of_their_own(tmp_path, people, ego):
    rows = walk(agent="ego", kind="ego", hz=ego, seconds=6)
    for number in range(4):
        rows += walk(agent=f"p{number}", hz=people, start_s=0.07 * number, seconds=6, y=2 + number)
    scene, _ = read(tmp_path, rows)
    valid = scene.tracks.valid
    assert valid[:, 2:-2].all()
    expected = np.broadcast_to(1.2 * scene.timestamps_us / 1e6, valid.shape)
    np.testing.assert_allclose(scene.tracks.positions_m[..., 0][valid], expected[valid], atol=1e-4)


def test_agents_with_times_of_their_own_depend_on_no_later_row(tmp_path):
    rows = [row for n in range(5) for row in walk(agent=n, hz=2, start_s=0.09 * n, seconds=6, y=n)]
    scene, _ = read(tmp_path, rows)
    cut_us = scene.timestamps_us[6]
    changed = [[*row[:5], row[5] + 9] if row[3] * 1e6 > cut_us + 1000 else row for row in rows]
    later, _ = read(tmp_path, changed)
    assert scene.interpolated is None
    np.testing.assert_array_equal(later.tracks.positions_m[:, :7], scene.tracks.positions_m[:, :7])


def test_what_a_row_says(tmp_path):
    columns = ["heading", "length", "width_m", "height_m", "ego"]
    rows = with_columns(walk(kind="Pedestrian "), "", "", "", "", 0)
    rows += with_columns(walk(agent="c", kind="2", y=5), 6.5, 4.5, 1.8, -1, "false")
    rows += with_columns(walk(agent="me", kind="", y=9), -0.3, 4.1, 1.7, 1.5, "True")
    scene, dropped = read(tmp_path, rows, columns)
    kinds = [AgentKind.PEDESTRIAN, AgentKind.VEHICLE, AgentKind.EGO]
    assert scene.tracks.kinds.tolist() == kinds
    assert scene.tracks.agent_ids.tolist() == ["p", "c", "me"]
    expected = [[0.7, 0.7, 1.75], [4.5, 1.8, 1.7], [4.1, 1.7, 1.5]]
    np.testing.assert_allclose(scene.tracks.sizes_m, expected)
    assert dropped == {"typical_size": 2}
    np.testing.assert_allclose(scene.tracks.headings_rad[1], 6.5 - 2 * np.pi, rtol=1e-5)
    np.testing.assert_allclose(scene.tracks.headings_rad[2], -0.3)


def test_the_size_of_an_agent_is_its_first_known_one(tmp_path):
    rows = with_columns(walk(seconds=1.5), 0)
    rows[1][-1], rows[3][-1] = 0.8, 0.5
    scene, dropped = read(tmp_path, rows, ["width_m"])
    np.testing.assert_allclose(scene.tracks.sizes_m, [[0.7, 0.8, 1.75]])
    assert dropped == {}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (["vehicle", "pedestrian", "pedestrian"], AgentKind.PEDESTRIAN),
        (["pedestrian", "pedestrian", "vehicle"], AgentKind.PEDESTRIAN),
        (["pedestrian", "vehicle"], AgentKind.VEHICLE),  # equally often: the last one
    ],
)
def test_the_most_frequent_kind_of_an_agent_counts(tmp_path, said, kind):
    rows = [["a", "p", word, 0.5 * t, 0, 0] for t, word in enumerate(said)]
    scene, dropped = read(tmp_path, rows[::-1])
    assert scene.tracks.kinds.tolist() == [kind]
    assert dropped == {"agent_of_several_kinds": 1}


def test_world_coordinates_keep_their_millimetres(tmp_path):
    rows = [["a", "p", "pedestrian", t / 2, f"{690000.123 + 0.6 * t:.3f}", 5.3e6] for t in range(5)]
    scene, _ = read(tmp_path, rows)
    world = scene.tracks.positions_m[0].astype(np.float64) + scene.origin_m
    np.testing.assert_allclose(world[:, 0], 690000.123 + 0.6 * np.arange(5), atol=1e-4)


def test_scenes_of_several_files_are_joined(tmp_path):
    rows = walk(seconds=4)
    for number, part in enumerate((rows[4:], rows[:4])):
        source(tmp_path, part)
        (tmp_path / "tracks.csv").rename(tmp_path / f"part{number}.csv")
    scene, _ = TracksSource(tmp_path).read("a")
    np.testing.assert_allclose(scene.tracks.positions_m[0, :, 0], 0.6 * np.arange(9), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({3: "soon"}, [], "t_s is soon; a finite number is needed"),
        ({4: "nan"}, [], "x_m is nan; a finite number is needed"),
        ({5: ""}, [], "y_m is nan; a finite number is needed"),
        ({4: "inf"}, [], "x_m is inf; a finite number is needed"),
        ({1: ""}, [], "agent_id is empty; a name is needed"),
        ({2: ""}, [], "kind is empty; one of pedestrian, cyclist, vehicle, ego, static is needed"),
        ({2: "dog"}, [], "kinds holds 'dog'; values of AgentKind"),
        ({6: 90}, ["heading_rad"], r"heading_rad is 90; an angle in radians \(not in degrees\)"),
        ({6: "north"}, ["heading_rad"], "heading_rad is north; a finite number is needed"),
        ({6: 2}, ["ego"], "ego is 2; 0 or 1 is needed"),
        ({6: "tall"}, ["height_m"], "height_m is tall; a finite number is needed"),
        ({3: 0.5}, [], r"agent 'p' has a row at t_s 0.5 already, elsewhere \(.*row 2\); keep one"),
    ],
)
def test_a_wrong_row_is_named_and_costs_its_scene_alone(tmp_path, change, columns, message):
    rows = with_columns(walk(seconds=1.5) + walk(scene="b", seconds=1.5), *[0] * len(columns))
    for column, value in change.items():
        rows[2][column] = value
    tracks = source(tmp_path, rows, columns)
    match = rf"^{tmp_path}/tracks\.csv: row 3: {message}"
    with pytest.raises(ForecastError, match=match) as error:
        tracks.read("a")
    assert "\n" not in str(error.value)
    assert tracks.read("b")[0].steps == 4


def test_copies_of_a_row_are_counted(tmp_path):
    rows = walk(seconds=2)
    scene, dropped = read(tmp_path, [*rows, rows[2], rows[2]])
    assert (scene.steps, dropped) == (5, {"repeated_row": 2})


@pytest.mark.parametrize(
    ("unit", "guess"), [(1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")]
)
def test_times_in_another_unit_are_refused_with_a_guess(tmp_path, unit, guess):
    rows = [["a", "p", "pedestrian", (1.7e9 + 0.1 * t) * unit, t, 0] for t in range(9)]
    message = rf"scene 'a': .* s between records: {guess}\? seconds are needed"
    with pytest.raises(ForecastError, match=message):
        read(tmp_path, rows)


def test_one_record_a_second_is_refused(tmp_path):
    with pytest.raises(ForecastError, match=r"a record every 1 s was measured; 0\.5 s or less"):
        read(tmp_path, walk(hz=1))


def test_pixels_are_refused(tmp_path):
    rows = [[*row[:4], 40 * row[4], row[5]] for row in walk()]
    with pytest.raises(ForecastError, match=r"scene 'a': people move at 48 units per second: pix"):
        read(tmp_path, rows)


def test_two_egos_are_refused(tmp_path):
    rows = walk(agent="one", kind="ego") + walk(agent="two", kind="ego", y=3)
    with pytest.raises(ForecastError, match="scene 'a': agents 'one' and 'two' are both the ego"):
        read(tmp_path, rows)


def test_scenes_need_a_name_and_one_split(tmp_path):
    with pytest.raises(ForecastError, match=r"row 2: scene is empty; a name is needed"):
        source(tmp_path, [walk()[0], ["", *walk()[1][1:]]])
    rows = with_columns(walk(seconds=0.5), "train") + with_columns(walk(agent="q"), "val")
    with pytest.raises(ForecastError, match=r"row 3: scene 'a' is in the splits 'train' and 'val'"):
        source(tmp_path, rows, ["split"])
    assert source(tmp_path, with_columns(walk(), ""), ["split"]).splits() == {"all": ["a"]}


def test_a_map_is_cropped_around_the_tracks(tmp_path):
    square = [[0, 0], [9, 0], [9, 9], [0, 9]]
    crossing = {
        "type": "Feature",
        "properties": {"layer": "crosswalk"},
        "geometry": {"type": "Polygon", "coordinates": [square]},
    }
    file = tmp_path / "map.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [crossing]}))
    tracks = source(tmp_path, walk(), map_file=file)
    assert len(tracks.read("a")[0].lane_map.crosswalks) == 1
    assert_keeps_contract(tracks)
    assert tracks.fingerprint() != source(tmp_path, walk()).fingerprint()


def test_the_store_has_scenes_and_splits(tmp_path):
    rows = with_columns(walk(), "train") + with_columns(walk(scene="b"), "val")
    store = prepare(source(tmp_path, rows, ["split"]), tmp_path / "store")
    assert (store.protocol, store.dt_s) == ("nuscenes-ped-v1", 0.5)
    assert store.splits == {"train": ["a"], "val": ["b"]}
    assert store["b"].steps == 9


def test_nuscenes_as_a_table_gives_the_same_scene(nuscenes_root, tmp_path):
    from forecast.datasets.nuscenes import NuScenesSource

    scene, _ = NuScenesSource(nuscenes_root, "v1.0-mini", with_map=False).read("scene-0103")
    tracks = scene.tracks
    world = tracks.positions_m.astype(np.float64) + scene.origin_m
    rows = [
        ["a", tracks.agent_ids[a], AgentKind(tracks.kinds[a]).name, scene.timestamps_us[t] / 1e6,
         *world[a, t].tolist(), tracks.headings_rad[a, t]]
        for a, t in np.argwhere(tracks.valid)
    ]  # fmt: skip
    again, dropped = read(tmp_path, rows, ["heading_rad"])
    assert dropped == {}
    order = [again.tracks.agent_ids.tolist().index(name) for name in tracks.agent_ids.tolist()]
    ours = again.tracks.select(np.array(order))
    np.testing.assert_array_equal(ours.valid, tracks.valid)
    np.testing.assert_array_equal(again.timestamps_us, scene.timestamps_us)
    shift = again.origin_m - scene.origin_m
    moved = np.where(tracks.valid[..., None], ours.positions_m + shift, 0)
    np.testing.assert_allclose(moved, tracks.positions_m, atol=1e-4)
    np.testing.assert_allclose(ours.headings_rad, tracks.headings_rad, atol=1e-6)
