import numpy as np
import pytest

from forecast import ForecastError
from forecast.visualization.viewer.edits import (
    ActEdit,
    AddEdit,
    ChangeEdit,
    Edit,
    FollowEdit,
    GoToEdit,
    ObstacleEdit,
    RemoveEdit,
)
from forecast.visualization.viewer.state import PageState, read_request
from tests.scenes import drive, street_scene

AT, STEPS = 8, 12
EDITS: list[Edit] = [
    ChangeEdit("0", (3.0, -1.25), speed_mps=2.0),
    GoToEdit("2", (1.0, 8.0), 1.1),
    AddEdit("person 1", "pedestrian", (5.0, 0.1), 0.25, 1.3),
    ObstacleEdit("obstacle 1", (12.0, 0.0), (2.5, 1.2, 1.1)),
    RemoveEdit("4"),
    ActEdit(-4.0),
]


def test_a_call_is_written_with_the_arguments_that_are_given():
    assert (
        ChangeEdit("a'b", (0.1, 2.0)).code() == 'world.change(agent="a\'b", position_m=(0.1, 2.0))'
    )
    assert ActEdit(-4.0).code() == "world.act(acceleration_mps2=-4.0, yaw_rate_radps=0.0)"
    assert FollowEdit([(1.0, 2.0, 0.5)]).code() == "world.follow(poses=[(1.0, 2.0, 0.5)])"


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.method)
def test_an_edit_is_what_its_python_does(forecaster, edit):
    world = forecaster.imagine(street_scene(), AT, samples=3)
    written = world.fork()
    edit.apply(world)
    exec(edit.code(), {"world": written})
    expected, found = (each.step(STEPS).prediction() for each in (written, world))
    np.testing.assert_array_equal(found.positions_m, expected.positions_m)
    assert found.agent_ids.tolist() == expected.agent_ids.tolist()


def test_a_followed_plan_is_that_of_predict(forecaster):
    plan = drive(street_scene(), AT, STEPS, 0.3)
    world = forecaster.imagine(street_scene(), AT, samples=3, seed=1)
    FollowEdit([tuple(pose) for pose in plan.tolist()]).apply(world)
    expected = forecaster.predict(street_scene(), AT, samples=3, seed=1, ego_plan=plan)
    found = world.step(STEPS).prediction()
    np.testing.assert_allclose(found.positions_m, expected.positions_m, atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ('{"do":"change","agent":"0","position_m":[NaN,1]}', "malformed"),
        ('{"do":"change","agent":"0","position_m":[1e999,1]}', "out of range"),
        ('{"do":"change","agent":"0","position_m":[1]}', "length 2"),
        ('{"do":"__class__"}', "Invalid value '__class__'"),
        ('{"do":"step","steps":100000}', "Invalid value 'step'"),
        ('{"do":"remove","agent":"0","also":1}', "unknown field `also`"),
        ('{"do":"add","agent":"x","kind":"static","position_m":[0,0]}', "Invalid enum value"),
        ('{"do":"remove","agent":""}', "length >= 1"),
    ],
)
def test_what_is_no_edit_is_refused_in_one_line(edit, why):
    with pytest.raises(ForecastError, match="the request cannot be read: ") as error:
        read_request(f'{{"scene":"s","at":1,"edits":[{edit}]}}', PageState)
    assert why in str(error.value)
    assert "\n" not in str(error.value)
