import pytest

from forecast.errors import ForecastError
from forecast.simulator.map.places import build_place, location_of


def test_scenes_are_in_the_places_of_their_district_in_turn():
    assert [location_of(scene) for scene in (0, 5)] == ["boston-seaport", "singapore-onenorth"]
    places = ["shared-campus", "shared-car-park", "shared-warehouse", "shared-campus"]
    assert [location_of(scene, "shared_space") for scene in range(4)] == places
    assert build_place("shared-campus", 1)[0].shared.name == "shared-campus"
    assert build_place("boston-seaport", 1)[0].shared is None


def test_an_unknown_district_is_refused():
    with pytest.raises(ForecastError, match="district is beach; one of street, shared_space is"):
        location_of(0, "beach")
