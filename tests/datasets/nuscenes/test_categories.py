from pathlib import Path

import numpy as np
import pytest

from forecast.datasets.nuscenes.categories import IGNORED, Categories
from forecast.errors import ForecastError
from forecast.scene import AgentKind

PEDESTRIAN, CYCLIST = AgentKind.PEDESTRIAN, AgentKind.CYCLIST
VEHICLE, STATIC = AgentKind.VEHICLE, AgentKind.STATIC

NAMES = {
    "nuScenes": {
        "human.pedestrian.adult": PEDESTRIAN,
        "human.pedestrian.personal_mobility": PEDESTRIAN,
        "human.pedestrian.stroller": PEDESTRIAN,
        "vehicle.bicycle": CYCLIST,
        "vehicle.motorcycle": CYCLIST,
        "vehicle.car": VEHICLE,
        "vehicle.bus.bendy": VEHICLE,
        "vehicle.emergency.police": VEHICLE,
        "movable_object.trafficcone": STATIC,
        "static_object.bicycle_rack": STATIC,
        "animal": STATIC,
    },
    "T4": {
        "car": VEHICLE,
        "police_car": VEHICLE,
        "fire_truck": VEHICLE,
        "ambulance": VEHICLE,
        "motorcycle": CYCLIST,
        "trailer": VEHICLE,
        "truck": VEHICLE,
        "bicycle": CYCLIST,
        "bus": VEHICLE,
        "forklift": VEHICLE,
        "pedestrian": PEDESTRIAN,
        "pedestrian.adult": PEDESTRIAN,
        "construction_worker": PEDESTRIAN,
        "personal_mobility": PEDESTRIAN,
        "police_officer": PEDESTRIAN,
        "stroller": PEDESTRIAN,
        "wheelchair": PEDESTRIAN,
        "unknown": STATIC,
    },
    "TruckScenes": {
        "vehicle.ego_trailer": VEHICLE,
        "vehicle.train": VEHICLE,
        "vehicle.other": VEHICLE,
        "static_object.traffic_sign": STATIC,
        "movable_object.pushable_pullable": STATIC,
    },
    "Lyft": {"other_vehicle": VEHICLE, "emergency_vehicle": VEHICLE},
    "KITTI": {
        "Car": VEHICLE,
        "Van": VEHICLE,
        "Pedestrian": PEDESTRIAN,
        "Person_sitting": PEDESTRIAN,
        "Cyclist": CYCLIST,
        "Tram": VEHICLE,
        "Misc": STATIC,
        "DontCare": IGNORED,
    },
    "Argoverse 2": {
        "REGULAR_VEHICLE": VEHICLE,
        "VEHICULAR_TRAILER": VEHICLE,
        "RAILED_VEHICLE": VEHICLE,
        "BOX_TRUCK": VEHICLE,
        "TRUCK_CAB": VEHICLE,
        "SCHOOL_BUS": VEHICLE,
        "ARTICULATED_BUS": VEHICLE,
        "PEDESTRIAN": PEDESTRIAN,
        "OFFICIAL_SIGNALER": PEDESTRIAN,
        "WHEELCHAIR": PEDESTRIAN,
        "BICYCLIST": CYCLIST,
        "MOTORCYCLIST": CYCLIST,
        "WHEELED_RIDER": CYCLIST,
        "WHEELED_DEVICE": STATIC,
        "BOLLARD": STATIC,
        "CONSTRUCTION_CONE": STATIC,
        "STOP_SIGN": STATIC,
        "MOBILE_PEDESTRIAN_SIGN": STATIC,
        "MESSAGE_BOARD_TRAILER": STATIC,
        "TRAFFIC_LIGHT_TRAILER": STATIC,
        "DOG": STATIC,
    },
    "Waymo": {"TYPE_PEDESTRIAN": PEDESTRIAN, "TYPE_VEHICLE": VEHICLE, "TYPE_CYCLIST": CYCLIST},
    "others": {
        "walker.pedestrian.0001": PEDESTRIAN,
        "Pedestrian with Object": PEDESTRIAN,
        "Other Vehicle - Construction Vehicle": VEHICLE,
        "Medium-sized Truck": VEHICLE,
        "vehicle.ego": IGNORED,
        "traffic_cone": STATIC,
        "barrier": STATIC,
    },
}


def kinds_of(categories: Categories, *names: str) -> list[int]:
    return categories.kinds_of(np.array(names), np.arange(len(names), dtype=np.int32)).tolist()


@pytest.mark.parametrize(
    ("name", "kind"), [pair for names in NAMES.values() for pair in names.items()]
)
def test_names_of_public_datasets(name, kind):
    assert kinds_of(Categories(), name, "animal") == [kind, STATIC]


@pytest.mark.parametrize("name", ["robot.delivery", "", "cargo", "bus_stop", "trolley"])
def test_an_unknown_category_is_refused_with_the_option(name):
    with pytest.raises(ForecastError) as caught:
        kinds_of(Categories(), "vehicle.car", name)
    assert str(caught.value) == (
        f"category '{name}' is unknown; a line for --categories FILE.yaml is needed: "
        f"'{name}: static' (or pedestrian, cyclist, vehicle, ignore)"
    )


def test_all_unknown_categories_are_named():
    with pytest.raises(ForecastError, match="categories 'robot', 'zeppelin' are unknown; a line"):
        kinds_of(Categories(), "zeppelin", "car", "robot", "robot")


def test_an_unknown_category_that_is_not_annotated_does_not_matter():
    used = np.array([0], np.int32)
    kinds = Categories().kinds_of(np.array(["car", "red_pedestrian"]), used)
    assert kinds.dtype == np.int8
    assert kinds[0] == VEHICLE


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "categories.yaml"


def read(file: Path, text: str) -> Categories:
    file.write_text(text)
    return Categories.read(file)


def test_a_file_overrides_and_adds(file):
    categories = read(file, "robot: Static\nanimal: pedestrian\nvehicle.ego_trailer: ignore\n")
    names = ("robot", "robot.delivery", "ANIMAL", "vehicle.ego_trailer", "vehicle.car")
    assert kinds_of(categories, *names) == [STATIC, STATIC, PEDESTRIAN, IGNORED, VEHICLE]


def test_of_several_rules_the_longest_counts(file):
    categories = read(
        file, "vehicle: static\n'vehicle.c*': vehicle\nvehicle.car: cyclist\nvehicle.: ignore\n"
    )
    names = ("vehicle.car", "vehicle.car.police", "vehicle.cab", "vehicle.bus", "vehicle")
    assert kinds_of(categories, *names) == [CYCLIST, CYCLIST, VEHICLE, IGNORED, STATIC]


def test_a_name_with_special_characters_is_a_name(file):
    assert kinds_of(read(file, "'car [parked]': static"), "Car [parked]") == [STATIC]


def test_rules_without_effect_are_found(file):
    categories = read(file, "robot: static\n'ped*': pedestrian\nvehicle: vehicle\n")
    assert categories.without_effect(["pedestrian", "vehicle.car"]) == ["robot"]


BOMB = "z:\n- &a0 [1, 1]\n"
BOMB += "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
"""Written out, it has 9 to the power of 30 entries."""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("robot: walker", "'robot' is 'walker'; one of pedestrian, cyclist, vehicle, static, ign"),
        ("robot: ego", "'robot' is 'ego'; one of pedestrian"),
        ("robot:", "'robot' is 'NoneType'; one of pedestrian"),
        ("robot: [static]", "'robot' is 'list'; one of pedestrian"),
        (BOMB, "'z' is 'list'; one of pedestrian"),
        ("[" * 100_000, "maximum recursion depth exceeded"),
        ("- robot", "not a mapping; lines such as 'robot.delivery: static' are needed"),
        ("", "not a mapping; lines such as"),
        ("a: b: c", "mapping values are not allowed here"),
    ],
)
def test_a_wrong_file_is_refused(file, text, words):
    with pytest.raises(ForecastError) as caught:
        read(file, text)
    assert str(caught.value).startswith(f"{file}: {words}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_refused(file):
    file.write_bytes(b"robot: \xff")
    with pytest.raises(ForecastError, match="'utf-8' codec can't decode byte 0xff"):
        Categories.read(file)


def test_a_missing_file_is_refused(file):
    with pytest.raises(ForecastError, match=r"categories\.yaml: No such file or directory; --cat"):
        Categories.read(file)
