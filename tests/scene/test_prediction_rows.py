import io
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import forecast
from forecast import ForecastError, Prediction
from forecast.scene import Tubes
from forecast.scene.prediction_rows import PREDICTION_ROWS

FAR_M = np.array([3_000_000.5, -4_000.25])


def made(seed: int = 0, **changes) -> Prediction:
    """3 samples of 4 agents over 5 steps, with all that a prediction may hold."""
    rng = np.random.default_rng(seed)
    tubes = Tubes(
        centre_m=rng.normal(0, 5, (4, 5, 2)),
        shape_m2=np.tile(np.diag([2.0, 0.5]), (4, 5, 1, 1)),
        scale=np.tile([1.0, 2.0], (4, 5, 1)),
        levels=(0.5, 0.9),
        valid=np.array([True, False, True, True]),
    )
    whole = Prediction(
        positions_m=rng.normal(0, 30, (3, 4, 5, 2)).astype(np.float32),
        weights=np.array([0.5, 0.3, 0.2]),
        agent_ids=np.array(["b", "a", "d", "c"]),
        valid=np.ones(4, bool),
        at_us=1_500_000,
        dt_s=0.4,
        origin_m=FAR_M,
        mode_m=rng.normal(0, 30, (4, 5, 2)).astype(np.float32),
        spread_m=rng.random((4, 5)).astype(np.float32),
        tubes=tubes,
        fallback=np.array([False, True, False, True]),
        scene_id="street",
        now_m=rng.normal(0, 30, (4, 2)).astype(np.float32),
    )
    return replace(whole, **changes)


def assert_same(one: Prediction, other: Prediction) -> None:
    for name, value in vars(one).items():
        found = getattr(other, name)
        if name in ("positions_m", "mode_m") and value is not None:
            np.testing.assert_allclose(found, value, atol=1e-6)
            assert found.dtype == value.dtype
        elif name == "tubes" and value is not None:
            for each, own in vars(value).items():
                np.testing.assert_array_equal(getattr(found, each), own)
        else:
            np.testing.assert_array_equal(found, value)


def test_a_saved_prediction_is_loaded_as_it_was(tmp_path):
    made().save(tmp_path / "one.parquet")
    assert_same(made(), Prediction.load(str(tmp_path / "one.parquet")))
    bare = made(mode_m=None, spread_m=None, tubes=None, fallback=None, now_m=None)
    bare = replace(bare, origin_m=np.zeros(2))
    bare.save(tmp_path / "bare.parquet")
    again = Prediction.load(tmp_path / "bare.parquet", dt_s=0.4)
    assert_same(bare, again)
    np.testing.assert_array_equal(again.positions_m, bare.positions_m)


def test_agents_that_are_not_predicted_are_left_out(tmp_path):
    made(valid=np.array([True, False, True, False])).save(tmp_path / "two.parquet")
    found = Prediction.load(tmp_path / "two.parquet")
    assert found.agent_ids.tolist() == ["b", "d"]
    np.testing.assert_allclose(found.positions_m, made().positions_m[:, [0, 2]], atol=1e-6)
    assert found.fallback.tolist() == [False, False]
    assert found.tubes.valid.tolist() == [True, True]


def test_many_predictions_are_one_file_in_their_order(tmp_path):
    several = [made(1, scene_id="z"), made(2), made(3, at_us=0), made(4, scene_id="a", tubes=None)]
    forecast.save_predictions(tmp_path / "many.parquet", iter(several))
    found = forecast.load_predictions(tmp_path / "many.parquet")
    assert len(found) == 4
    for one, other in zip(several, found, strict=True):
        assert_same(one, other)
    with pytest.raises(
        ForecastError, match=r"number of predictions is 4; exactly 1 .load_predictions"
    ):
        Prediction.load(tmp_path / "many.parquet")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda path: made(valid=np.zeros(4, bool)).save(path),
            "predicted agents is 0; at least 1",
        ),
        (
            lambda path: made(agent_ids=np.array(["a", "b", "c", "b"])).save(path),
            r"street at 1500000 us: agents named twice is \['b'\]; unique agent_ids",
        ),
        (
            lambda path: forecast.save_predictions(path, made()),
            "predictions is a single Prediction",
        ),
        (lambda path: forecast.load_predictions(path), "theirs.parquet is no file; a .parquet"),
        (lambda path: forecast.load_predictions(path.parent), " is no file; a .parquet file is"),
    ],
)
def test_what_cannot_be_read_again_is_not_written(tmp_path, write, message):
    with pytest.raises(ForecastError, match=message):
        write(tmp_path / "theirs.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dt_s", ["0.4", -0.4, 0, np.nan, True])
def test_a_step_of_loaded_predictions_is_a_time(tmp_path, dt_s):
    made().save(tmp_path / "one.parquet")
    bare = pq.read_table(tmp_path / "one.parquet").drop_columns(["dt_s"])
    pq.write_table(bare, tmp_path / "bare.parquet")
    for name in ("one", "bare"):
        with pytest.raises(ForecastError, match=r"dt_s is .*; a step in seconds"):
            Prediction.load(tmp_path / f"{name}.parquet", dt_s=dt_s)


def test_rows_of_another_program_may_be_in_any_order(tmp_path):
    table = pa.table(_rows(made(tubes=None, spread_m=None, fallback=None), tmp_path)).select(
        PREDICTION_ROWS.names
    )
    order = np.random.default_rng(0).permutation(len(table))
    pq.write_table(table.take(order), tmp_path / "theirs.parquet")
    with pytest.raises(ForecastError, match="has no column dt_s; give dt_s, the step in seconds"):
        forecast.load_predictions(tmp_path / "theirs.parquet")
    found = Prediction.load(tmp_path / "theirs.parquet", dt_s=0.4)
    rows = [found.agent_ids.tolist().index(name) for name in made().agent_ids]
    world = made().world_positions_m()
    np.testing.assert_allclose(found.world_positions_m()[:, rows], world, atol=1e-5)
    assert np.abs(found.positions_m).max() < 200


def _rows(prediction: Prediction, folder) -> dict:
    prediction.save(folder / "rows.parquet")
    return pq.read_table(folder / "rows.parquet").to_pydict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows["step"].__setitem__(3, 9), "street at 1500000 us: every agent needs"),
        (lambda rows: rows["sample"].__setitem__(9, 2), "every agent needs the same samples"),
        (lambda rows: rows["step"].__setitem__(3, 10**9), "every agent needs the same samples"),
        (lambda rows: rows["weight"].__setitem__(25, 0.9), "agents have sample weights of their"),
        (lambda rows: rows["x_m"].__setitem__(3, None), "column 'x_m' is missing or not full"),
        (lambda rows: rows.pop("agent_id"), "column 'agent_id' is missing or not full; scene_id"),
        (
            lambda rows: rows["dt_s"].__setitem__(3, 0.5),
            r"dt_s is \[0.4, 0.5\]; the same",
        ),
        (lambda rows: rows["origin_x_m"].__setitem__(3, 0.0), "origin_x_m is .* the same value"),
        (
            lambda rows: rows.update(dt_s=[0.0] * len(rows["step"])),
            "dt_s is 0.0; a step in seconds above 0",
        ),
        (lambda rows: rows["arrays"].__setitem__(0, b"x"), "column arrays does not fit the rows"),
        (lambda rows: rows.pop("origin_y_m"), "column 'origin_y_m' is missing or not full"),
        (lambda rows: rows["arrays"].__setitem__(0, _encrypted(rows)), "column arrays does not"),
        (
            lambda rows: rows["arrays"].__setitem__(0, _packed_as({"tubes.levels": np.ones(2)})),
            "not",
        ),
        (lambda rows: rows["arrays"].__setitem__(0, _packed_as({"modes.x": np.ones(2)})), "not"),
        (lambda rows: rows.update(at_us=["x"] * len(rows["step"])), "column at_us is string"),
    ],
)
def test_rows_that_are_no_predictions_are_refused(tmp_path, change, message):
    rows = _rows(made(), tmp_path)
    change(rows)
    pq.write_table(pa.table(rows), tmp_path / "wrong.parquet")
    with pytest.raises(ForecastError, match=message):
        forecast.load_predictions(tmp_path / "wrong.parquet")


def _encrypted(rows: dict[str, Any]) -> bytes:
    """Arrays whose ZIP directory says that they are encrypted."""
    content = bytearray(rows["arrays"][0])
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 0x20 | 0x01
    return bytes(content)


def _packed_as(fields: dict[str, Any]) -> bytes:
    """The agents as they are, with other arrays."""
    file = io.BytesIO()
    np.savez(file, agent_ids=made().agent_ids, **fields)
    return file.getvalue()


@pytest.mark.parametrize("as_categories", [False, True])
def test_names_that_are_no_text_are_refused(tmp_path, as_categories):
    rows = _rows(made(), tmp_path)
    wrong = pa.array([name.encode() for name in rows["scene_id"]]).cast(pa.string())
    broken = pa.StringArray.from_buffers(
        len(wrong), wrong.buffers()[1], pa.py_buffer(b"\xa9" * wrong.buffers()[2].size)
    )
    column = broken.dictionary_encode() if as_categories else broken
    pq.write_table(pa.table({**rows, "scene_id": column}), tmp_path / "wrong.parquet")
    with pytest.raises(ForecastError, match="string in UTF-8 is needed"):
        forecast.load_predictions(tmp_path / "wrong.parquet")


def test_tubes_of_rows_in_another_order_are_refused(tmp_path):
    made().save(tmp_path / "one.parquet")
    table = pq.read_table(tmp_path / "one.parquet")
    pq.write_table(table.take(np.arange(len(table))[::-1]), tmp_path / "other.parquet")
    with pytest.raises(ForecastError, match="column arrays does not fit the rows"):
        Prediction.load(tmp_path / "other.parquet")


def test_what_cannot_be_written_or_read_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    for ask, message in (
        (lambda: made().save(tmp_path / "p.csv"), "a name that ends in .parquet, in a folder"),
        (lambda: made().save(tmp_path / "no" / "p.parquet"), "in a folder that is there, is need"),
        (lambda: made(scene_id="").save(path), "scene_id is ''; the name of the predicted scene"),
        (
            lambda: forecast.save_predictions(path, [made(), made(1)]),
            "street at 1500000 us: there are two predictions; one is needed",
        ),
        (lambda: Prediction.load(__file__), "not a Parquet file that can be read"),
        (lambda: forecast.save_predictions(path, made()), "predictions is a single Prediction"),
        (lambda: Prediction.load(path), "p.parquet is no file; a .parquet file"),
        (lambda: Prediction.load(path, dt_s="0.4"), "dt_s is '0.4'; a step in seconds"),
    ):
        with pytest.raises(ForecastError, match=message):
            ask()
    assert list(tmp_path.iterdir()) == []
    made().save(path)
    with pytest.raises(ForecastError, match=r"dt_s is 0\.4; 0\.5 as asked"):
        Prediction.load(path, dt_s=0.5)
