import pytest

from forecast import ForecastError
from forecast.visualization.viewer.edits import RemoveEdit
from forecast.visualization.viewer.state import AskRanking, PageState, Request, read_request


def test_a_request_is_read_as_its_kind():
    text = '{"ask":"ranking","id":3,"state":{"scene":"s","at":4},"plans":50}'
    assert read_request(text, Request) == AskRanking(3, PageState("s", 4), 50)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "null",
        "[" * 100_000,
        '{"ask":"futures","id":1}',
        '{"ask":"futures","id":1,"state":{"scene":"s","at":-1}}',
        '{"ask":"futures","id":1,"state":{"scene":"s","at":1.5}}',
        '{"ask":"futures","id":1,"state":{"scene":"s","at":1,"samples":201}}',
        '{"ask":"futures","id":1,"state":{"scene":"s","at":1,"samples":0}}',
        '{"ask":"futures","id":1,"state":{"scene":"s","at":1,"seed":99999999999999999999}}',
        '{"ask":"futures","id":1,"state":{"scene":"s","at":1,"edits":['
        + ",".join(['{"do":"act","acceleration_mps2":1}'] * 101)
        + "]}}",
        '{"ask":"ranking","id":1,"state":{"scene":"s","at":1},"plans":1000000}',
        '{"ask":"else","id":1,"state":{"scene":"s","at":1}}',
    ],
)
def test_what_is_no_request_is_refused_in_one_line(text):
    with pytest.raises(ForecastError, match=r"\Athe request cannot be read: [^\n]+\Z"):
        read_request(text, Request)


def test_the_python_of_a_state_without_edits_is_predict():
    assert PageState("s", 4, 1, 30).code("/stores/a", "town").splitlines()[-1] == (
        "prediction = forecaster.predict(scene, 4, samples=30, seed=1, horizon_s=6)"
    )


def test_the_python_of_edits_calls_the_world_in_their_order():
    code = PageState("s", 4, edits=[RemoveEdit("a"), RemoveEdit("b")]).code(
        "/stores/a", "town", 4.8
    )
    assert code.splitlines()[2:] == [
        "scene = forecast.open_store('/stores/a')['s']",
        "forecaster = forecast.load('town')",
        "world = forecaster.imagine(scene, 4, samples=20, seed=0)",
        "steps = round(4.8 / world.dt_s)",
        "before = world.fork().step(steps).prediction()",
        "world.remove(agent='a')",
        "world.remove(agent='b')",
        "after = world.step(steps).prediction()",
    ]
