import json
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.datasets.nuscenes import rows
from forecast.datasets.nuscenes.rows import read_json, read_rows, read_table
from forecast.errors import ForecastError


class Point(msgspec.Struct):
    token: str
    x: float


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "point.json"


@given(
    points=st.lists(
        st.fixed_dictionaries(
            {
                "token": st.text(st.characters(exclude_categories=["Cs"])),
                "x": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
                "ignored": st.sampled_from([None, {"a": [1, "}, {"]}, "[]"]),
            }
        )
    ),
    batch_rows=st.integers(1, 5),
)
def test_any_batch_size_reads_what_was_written(tmp_path_factory, points, batch_rows):
    path = tmp_path_factory.mktemp("rows") / "point.json"
    path.write_text(json.dumps(points))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BATCH_ROWS", batch_rows)
        batches = list(read_rows(path, Point))
    assert all(len(batch) <= batch_rows for batch in batches)
    assert [(p.token, p.x) for batch in batches for p in batch] == [
        (p["token"], p["x"]) for p in points
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the JSON ends early, at byte 0; the file is truncated: copy or download it again"),
        (b'[{"token": "a", "x"', "the JSON ends early, at byte 19; the file is truncated"),
        (b'[{"token": "a", "x": 1} ?', "expected ',' or ']' (byte 24); valid JSON is needed"),
        (
            b'[{"token": "a", "x": NaN}]',
            "Expected `float`, got null, NaN or Infinity in record 0 x;",
        ),
        (
            b'[{"token": "a", "x": -inf}]',
            "Expected `float`, got null, NaN or Infinity in record 0 x;",
        ),
        (b'[{"token": "a", "x": nan}, {"token"', "the JSON ends early, at byte 35; the file is"),
        (b'[{"y": NaN, "token": "a", "x": 1} ?', "expected ',' or ']'; valid JSON is needed: copy"),
        (b'[{"token": "NaN", "x": ?}]', "invalid character (byte 23); valid JSON is needed"),
        (b'[{"token": "a", "x": 1e999}]', "Number out of range in record 0 x; the file is not in"),
        (b'[{"token": "a", "x": 1}, {"x": 1}]', "missing required field `token` in record 1;"),
        (b'[{"token": "a", "x": null}]', "Expected `float`, got `null` in record 0 x;"),
        (b'{"token": "a", "x": 1}', "Expected `array`, got `object`; the file is not in nuScenes"),
        (b'[{"token": "\xff", "x": 1}]', "a text is not UTF-8; valid JSON is needed"),
        ('[{"token": "a", "x": 1}]'.encode("utf-16"), "the text is UTF-16; UTF-8 is needed: save"),
        ('[{"token": "a", "x": 1}]'.encode("utf-16-le"), "the text is UTF-16; UTF-8 is needed"),
    ],
)
def test_a_broken_file_is_refused(table, content, complaint):
    table.write_bytes(content)
    with pytest.raises(ForecastError) as caught:
        read_table(table, Point)
    assert str(caught.value).startswith(f"{table}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "-NaN", "Infinity", "-Infinity", "nan", "inf", "-inf"])
def test_numbers_that_json_does_not_have_do_not_matter_in_columns_nobody_reads(table, number):
    table.write_text(
        f'[{{"token": "a, NaN", "v": [{number},{number}], "x": 1}},'
        f' {{"v": {number}, "note": "\\\\\\"NaN\\", inf", "token": "\\"-NaN", "x": 2}}]'
    )
    assert read_table(table, Point) == [Point("a, NaN", 1.0), Point('"-NaN', 2.0)]


@given(
    texts=st.lists(st.text(st.sampled_from('\\"NaN inf-,[]'), max_size=12), min_size=1, max_size=4)
)
def test_texts_stay_as_they_are_beside_nan(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("rows") / "point.json"
    path.write_text(
        json.dumps([{"a": [math.nan, -math.inf], "token": t, "x": 1, t: math.inf} for t in texts])
    )
    assert [point.token for point in read_table(path, Point)] == texts


def test_a_byte_order_mark_and_windows_line_ends_are_skipped(table):
    table.write_bytes(b'\xef\xbb\xbf[\r\n{"token": "a",\r\n "x": 1}\r\n]\r\n')
    assert read_table(table, Point) == [Point("a", 1.0)]
    assert read_json(table, list[Point]) == [Point("a", 1.0)]
    table.write_bytes(b'\xef\xbb\xbf[{"token": "a", "y": NaN, "x": 1}]')
    assert read_table(table, Point) == [Point("a", 1.0)]


def test_a_bad_record_is_named_by_its_place_in_the_file(table, monkeypatch):
    monkeypatch.setattr(rows, "_BATCH_ROWS", 2)
    points = [{"token": "a", "x": 0.0}] * 4 + [{"token": "b", "x": "far"}]
    table.write_text(json.dumps(points))
    with pytest.raises(ForecastError, match=r"got `str` in record 4 x;"):
        list(read_rows(table, Point))


def test_a_missing_file_is_refused(table):
    with pytest.raises(ForecastError, match=r"point\.json: No such file or directory; the file is"):
        read_json(table, Point)
