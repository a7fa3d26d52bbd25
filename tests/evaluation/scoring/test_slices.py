from dataclasses import replace

import numpy as np
import pytest

from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.errors import ForecastError
from forecast.evaluation.scoring.sample import EvaluationSample
from forecast.evaluation.scoring.situation import Situation
from forecast.evaluation.scoring.slices import (
    SLICINGS,
    UNKNOWN,
    combinations,
    label,
    read_slices,
)
from forecast.models.metrics.map_compliance import LAYERS
from forecast.scene import AgentKind, LaneMap, Polygons, Polylines, Scene
from tests.scenes import moved, street_scene

DT = 0.5
SPEC = WindowSpec(history_steps=5, horizon_steps=4)
AT = 4


def box(x0, y0, x1, y1):
    return [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)]


def street() -> LaneMap:
    """A road along x, |y| < 4, a crosswalk at 20 < x < 24, pavements on both sides."""
    return LaneMap(
        lane_ids=np.array(["east"]),
        centerlines=Polylines.of([np.array([[-50.0, -2.0], [80.0, -2.0]])]),
        drivable_area=Polygons.of([box(-50, -4, 80, 4)]),
        crosswalks=Polygons.of([box(20, -4, 24, 4)]),
        walkways=Polygons.of([box(-50, 4, 80, 7), box(-50, -7, 80, -4)]),
    )


def line(x, y, vx, vy, steps=9):
    time = DT * (np.arange(steps) - AT)
    return np.stack([x + vx * time, y + vy * time], -1)


def scene(*people: np.ndarray, ego=None, **changes) -> Scene:
    """People, and an ego that drives along y = -2 from x = 0 at 8 m/s unless said otherwise."""
    ego = line(0, -2, 8, 0) if ego is None else ego
    kinds = [AgentKind.PEDESTRIAN] * len(people) + [AgentKind.EGO]
    options = {"lane_map": street(), "location": "boston-seaport"} | changes
    return Scene.from_arrays(np.stack([*people, ego]), kinds, DT, **options)


def labels_of(scene: Scene, name: str, spec: WindowSpec = SPEC) -> list[str]:
    return SLICINGS[name].function(surroundings(scene, spec)).tolist()


def surroundings(scene: Scene, spec: WindowSpec = SPEC, at: int = AT) -> Situation:
    return Situation(
        EvaluationSample.at(scene, at, spec, prediction_times(scene, spec).scored[:, at])
    )


def then(before, speed_after):
    """Walks along x at 1.4 m/s and changes its velocity at the prediction time."""
    track = before.copy()
    track[AT + 1 :] = track[AT] + DT * np.arange(1, 5)[:, None] * np.array(speed_after)
    return track


def test_distance_to_the_ego():
    people = [line(x, -2, 0, 0) for x in (5, 15, 30, 60)]
    expected = ["< 10 m", "10-20 m", "20-40 m", ">= 40 m"]
    assert labels_of(scene(*people), "ego_distance") == expected


def test_the_egos_path_is_what_it_really_drives_over():
    enters, in_it, beside, beyond = (
        line(12, -6, 0, 1.5),
        line(10, -2, 0, 0),
        line(12, 1, 0, 0),
        line(40, -2, 0, 0),  # the ego gets to 16 m
    )
    found = labels_of(scene(enters, in_it, beside, beyond), "ego_path")
    assert found == ["enters", "in the path", "stays out", "stays out"]


@pytest.mark.parametrize(
    ("ego", "expected"),
    [
        (line(0, -2, 8, 0), "driving on"),
        (line(0, -2, 0.4, 0), "standing"),
        (np.concatenate([line(0, -2, 8, 0)[:6], [[4, -1], [4, 3], [4, 7]]]), "turning"),
    ],
)
def test_the_egos_motion(ego, expected):
    assert labels_of(scene(line(12, 1, 0, 0), ego=ego), "ego_motion") == [expected]


def test_time_to_collision():
    people = [line(10, -2, 0, 0), line(25, -2, 0, 0), line(45, -2, 0, 0), line(10, 6, 0, 0)]
    expected = ["< 2 s", "2-4 s", ">= 4 s", "no collision course"]
    assert labels_of(scene(*people), "time_to_collision") == expected


def test_crossing():
    people = [
        line(40, -6, 0, 1.4),
        line(40, -2, 1.4, 0),
        line(40, -2, -1.4, 0),
        line(40, 5, 1.4, 0),
        line(40, -2, 0.1, 0),
    ]
    expected = ["crossing", "along the road", "along the road", "off the road", "standing"]
    assert labels_of(scene(*people), "crossing") == expected


def test_ground():
    people = [line(x, y, 0, 0) for x, y in ((22, 0), (40, 0), (40, 5), (40, 20))]
    expected = ["crosswalk", "carriageway", "walkway", "elsewhere"]
    assert labels_of(scene(*people), "ground") == expected


@pytest.mark.parametrize("name", ["ground", "jaywalking"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_that_is_missing_makes_the_ground_unknown(name, layer):
    people = [line(x, y, 0, 1.4) for x, y in ((22, 0), (40, 0), (40, 5), (40, 20))]
    bare = replace(street(), **{layer: Polygons.of([])})
    assert labels_of(scene(*people, lane_map=bare), name) == [UNKNOWN] * 4


def test_jaywalking_is_crossing_off_the_crosswalk():
    people = [line(22, -3, 0, 1.4), line(40, -3, 0, 1.4), line(40, 0, 1.4, 0)]
    assert labels_of(scene(*people), "jaywalking") == ["no", "yes", "no"]


def test_change_of_motion():
    walks, stands = line(40, 0, 1.4, 0), line(40, 0, 0, 0)
    people = [
        walks,
        then(walks, (0, 0)),
        then(stands, (1.0, 0)),
        then(walks, (0, 1.4)),
        stands,
    ]
    expected = ["walking on", "stopping", "starting", "turning", "standing on"]
    assert labels_of(scene(*people), "change") == expected


def test_speed():
    people = [line(40, 0, v, 0) for v in (0.1, 0.5, 1.4, 2.5)]
    assert labels_of(scene(*people), "speed") == [
        "< 0.3 m/s",
        "0.3-1 m/s",
        "1-1.7 m/s",
        ">= 1.7 m/s",
    ]


def test_category_and_city_are_the_datasets_own():
    names = ["human.pedestrian.child", "pedestrian", "vehicle.ego"]
    made = scene(line(9, 9, 0, 0), line(8, 8, 0, 0), categories=names)
    assert labels_of(made, "category") == ["child", "pedestrian"]
    assert labels_of(made, "city") == ["boston-seaport"] * 2


@pytest.mark.parametrize(
    ("location", "side"),
    [("boston-seaport", "right"), ("singapore-onenorth", "left"), ("zurich", UNKNOWN)],
)
def test_driving_side(location, side):
    assert labels_of(scene(line(9, 9, 0, 0), location=location), "driving_side") == [side]


@pytest.mark.parametrize(
    ("text", "light", "weather", "jaywalker"),
    [
        ("Night, after rain, jaywalker", "night", "rain", "with a jaywalker"),
        ("Parked cars", "day", "dry", "without"),
        ("Train station, rough terrain", "day", "dry", "without"),
        ("", UNKNOWN, UNKNOWN, UNKNOWN),
    ],
)
def test_weak_labels_are_words_of_the_description(text, light, weather, jaywalker):
    made = scene(line(9, 9, 0, 0), description=text)
    found = [labels_of(made, name)[0] for name in ("light", "weather", "jaywalker")]
    assert found == [light, weather, jaywalker]
    assert {name for name, slicing in SLICINGS.items() if slicing.weak} == {
        "light",
        "weather",
        "jaywalker",
    }


def test_history_and_gaps():
    tracks = [line(40, y, 1.4, 0) for y in (0.0, 1, 2, 3)]
    tracks[1][:2] = np.nan
    tracks[2][:3] = np.nan
    tracks[3][1] = np.nan
    made = scene(*tracks)
    assert labels_of(made, "history") == ["whole", "1 s or more", "under 1 s", "1 s or more"]
    assert labels_of(made, "gaps") == ["without gaps"] * 3 + ["with a gap"]


def test_visibility():
    made = scene(*[line(40, y, 1.4, 0) for y in range(5)])
    assert labels_of(made, "visibility") == [UNKNOWN] * 5
    bins = np.repeat(np.array([0, 1, 2, 3, 4, 0], np.int8)[:, None], 9, axis=1)
    seen = replace(made, tracks=replace(made.tracks, visibility=bins))
    expected = [UNKNOWN, "0-40 %", "40-60 %", "60-80 %", "80-100 %"]
    assert labels_of(seen, "visibility") == expected


def test_crowding_counts_the_others():
    crowd = [line(40 + 0.1 * i, 0, 0, 0) for i in range(7)]
    loner, pair = line(0, 30, 0, 0), [line(60, 0, 0, 0), line(62, 0, 0, 0)]
    found = labels_of(scene(*crowd, loner, *pair), "crowding")
    assert found == ["6 or more"] * 7 + ["alone", "1-2 others", "1-2 others"]


def test_without_ego_and_map_nothing_is_made_up():
    made = scene(line(9, 9, 0, 0), lane_map=None)
    alone = replace(made, tracks=made.tracks.select(np.array([0])))
    found = label(surroundings(alone))
    unknown = {name for name, labels in found.items() if labels.tolist() == [UNKNOWN]}
    assert unknown == {
        *("ego_distance", "ego_path", "ego_motion", "time_to_collision"),
        *("crossing", "ground", "jaywalking"),
        *("visibility", "light", "weather", "jaywalker"),
    }
    assert all(SLICINGS[name].unknown for name in unknown)


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
def test_labels_do_not_depend_on_the_frame(angle):
    whole = street_scene()
    tracks = replace(whole.tracks, positions_m=whole.tracks.positions_m * np.float32(0.97))
    whole = replace(whole, tracks=tracks)  # nobody's speed is on the edge of a bin
    turned = moved(whole, angle, (30.0, -12.0))
    for at in (6, 12, 18):
        one, two = (label(surroundings(each, at=at)) for each in (whole, turned))
        for name in SLICINGS:
            assert one[name].tolist() == two[name].tolist(), name


def test_every_label_is_one_that_is_listed():
    for at in range(4, 20):
        for name, labels in label(surroundings(street_scene(), at=at)).items():
            if not SLICINGS[name].more:
                assert {*labels.tolist()} <= {*SLICINGS[name].labels, UNKNOWN}, name


def test_slicings_are_read_from_a_text():
    assert read_slices("crossing,light") == ("crossing", "light")
    assert read_slices(" light , light") == ("light",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("crossing,lihgt", "slices: 'lihgt' is unknown; one or more of ego_distance, ego_path, "),
        ("", "slices: '' is unknown; one or more of "),
        ("crossing,light,city,speed", "slices is 'crossing,light,city,speed'; at most 3 names"),
    ],
)
def test_unknown_slicings_are_one_line_with_the_list(words, message):
    with pytest.raises(ForecastError) as error:
        read_slices(words)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_combinations_hold_every_row_whose_labels_are_known_once():
    labels = {
        "light": np.array(["night", "day", "day", UNKNOWN]),
        "city": np.array(["b", "a", "b", "b"]),
    }
    found = combinations(labels, ["light", "city"])
    assert {labels: mask.nonzero()[0].tolist() for labels, mask in found.items()} == {
        ("night", "a"): [],
        ("night", "b"): [0],
        ("day", "a"): [1],
        ("day", "b"): [2],
    }
