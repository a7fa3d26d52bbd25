import numpy as np
import pytest

from forecast.simulator import routes
from forecast.simulator.population.pedestrians import draw_crowd
from forecast.simulator.population.vehicles import draw_fleet
from forecast.simulator.random_numbers import agent_keys


@pytest.fixture(scope="module")
def crowds(district):
    """Crowds of several scenes and the crossings in them."""
    result = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        fleet = draw_fleet(district, 10, 12, rng)
        result.append(draw_crowd(district, fleet, 40, agent_keys(0, seed, 40), rng))
    return result


def test_there_are_pedestrians_of_every_kind(crowds):
    kinds = {str(c).rsplit(".", 1)[-1] for crowd, _ in crowds for c in crowd.categories}
    assert {"adult", "child"} <= kinds
    assert len(kinds) >= 4
    assert sum(np.isinf(crowd.stands_s).sum() for crowd, _ in crowds) > 10
    assert any(crowd.sits.any() for crowd, _ in crowds)


def test_members_of_a_group_share_route_habits_and_speed(crowds):
    for crowd, _ in crowds:
        for name in ("routes", "begins_m", "stands_s", "obeys", "speeds_mps", "crossings"):
            values = getattr(crowd, name)
            assert np.array_equal(values, values[crowd.leaders]), name


def test_kerbs_lie_on_the_route_where_the_crossing_is(crowds):
    for crowd, crossings in crowds:
        person, nth = np.nonzero(crowd.crossings >= 0)
        line = crossings.lines_m[crowd.crossings[person, nth]]
        backwards = ~crowd.forward[person, nth]
        line[backwards] = line[backwards, ::-1]
        for end in (0, 1):
            at = routes.at(crowd.routes[person], crowd.kerbs_m[person, nth, end])[:, :2]
            assert np.hypot(*(at - line[:, end]).T).max() < 3.5
        assert (crowd.kerbs_m[person, nth, 1] > crowd.kerbs_m[person, nth, 0]).all()
