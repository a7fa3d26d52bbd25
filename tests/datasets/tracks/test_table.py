import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError
from forecast.datasets.tracks.table import read_track_table, track_files

HEADER = "scene,agent_id,kind,t_s,x_m,y_m\n"
PLAIN = HEADER + "1,7,pedestrian,0.5,2.25,-3\n1,8,vehicle,1.0,4,0\n"


def read(tmp_path, content, name="tracks.csv"):
    (tmp_path / name).write_text(content, encoding="utf-8")
    return read_track_table([tmp_path / name])


def texts(table, column):
    words = table.words[column]
    return [words.words[code] if code >= 0 else None for code in words.codes.tolist()]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", ";").replace(".", ","),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", " , ").replace("\n", "\n\n"),
        "\n\n" + PLAIN,
        PLAIN.replace("scene,agent_id", 'Scene, "Agent_ID" '),
        PLAIN.replace("pedestrian", '"pedestrian"').rstrip("\n"),
        "y_m,note,x_m,t_s,kind,agent_id,scene\n"
        '-3,"a, b",2.25,5e-1,pedestrian,7,1\n0,,4.0,1,vehicle,8,1\n',
    ],
)
def test_every_notation_gives_the_same_columns(tmp_path, content):
    table = read(tmp_path, content)
    assert texts(table, "scene") == ["1", "1"]
    assert texts(table, "agent_id") == ["7", "8"]
    assert texts(table, "kind") == ["pedestrian", "vehicle"]
    assert set(table.words) == {"scene", "agent_id", "kind"}
    numbers = {name: values.tolist() for name, values in table.numbers.items()}
    assert numbers == {"t_s": [0.5, 1], "x_m": [2.25, 4], "y_m": [-3, 0]}
    assert table.wrong == {}


@pytest.mark.parametrize("agents", [[7, 8], [7.0, 8.0], ["7", "8"]])
def test_parquet_gives_the_same_columns(tmp_path, agents):
    columns = {
        "scene": pa.array(["1", "1"]).dictionary_encode(),
        "agent_id": agents,
        "kind": ["pedestrian", "vehicle"],
        "t_s": pa.array([0.5, 1], pa.float32()),
        "x_m": [2.25, 4.0],
        "y_m": pa.array([-3, 0], pa.int32()),
        "Heading": [None, 1.5],
        "ego": [False, True],
        "other": [[1], [2]],
    }
    pq.write_table(pa.table(columns), tmp_path / "tracks.parquet")
    table = read_track_table([tmp_path / "tracks.parquet"])
    assert texts(table, "scene") == ["1", "1"]
    assert texts(table, "agent_id") == ["7", "8"]
    assert table.numbers["t_s"].tolist() == [0.5, 1]
    assert table.numbers["y_m"].tolist() == [-3, 0]
    np.testing.assert_array_equal(table.numbers["heading_rad"], [np.nan, 1.5])
    assert table.numbers["ego"].tolist() == [0, 1]


def test_empty_and_wrong_values_are_kept_apart(tmp_path):
    table = read(
        tmp_path,
        "scene,agent_id,kind,t_s,x_m,y_m,heading,ego\n"
        "a,,vehicle,0,,?,north,true\na,p,,0,nan,1,,no\n",
    )
    assert texts(table, "agent_id") == [None, "p"]
    assert texts(table, "kind") == ["vehicle", None]
    np.testing.assert_array_equal(table.numbers["x_m"], [np.nan, np.nan])
    assert table.wrong == {("y_m", 0): "?", ("heading_rad", 0): "north"}
    assert table.numbers["ego"].tolist() == [1, 0]


def test_files_follow_each_other_and_may_have_other_columns(tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text(PLAIN)
    second.write_text(
        "split,length_m,scene,agent_id,kind,t_s,x_m,y_m\ntrain,0.6,2,7,pedestrian,0,1,x\n"
    )
    table = read_track_table([first, second])
    assert texts(table, "scene") == ["1", "1", "2"]
    assert texts(table, "split") == [None, None, "train"]
    np.testing.assert_array_equal(table.numbers["length_m"], [np.nan, np.nan, 0.6])
    assert table.wrong == {("y_m", 2): "x"}
    assert [table.item(row) for row in range(3)] == [
        f"{first}: row 1",
        f"{first}: row 2",
        f"{second}: row 1",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PLAIN.replace("kind", "type"), r"column 'kind' is missing; .* here are scene, agent_id, "),
        ("", "column 'scene' is missing; .* known ones here are none"),
        ("a,b\n1,2\n", "column 'scene' is missing; .* known ones here are none"),
        (HEADER, "the table has no row; at least one is needed"),
        (PLAIN + "1,9,pedestrian,0\n", "row 3 has 4 columns; 6, as in the header, are needed"),
        ("\n\n" + PLAIN + "1,9,pedestrian,0\n", "row 3 has 4 columns"),
        (HEADER.replace("y_m", "x_m") + "1,7,vehicle,0,1,2\n", "column 'x_m' is there twice"),
        (b"PAR1 is no text \xff\xfe", "in CSV or Parquet is needed"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, content, message):
    path = tmp_path / "tracks.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ForecastError, match=f"^{path}: .*{message}") as error:
        read_track_table([path])
    assert "\n" not in str(error.value)


def test_a_broken_parquet_file_is_refused(tmp_path):
    (tmp_path / "tracks.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(ForecastError, match=r"tracks\.parquet: .*; a table in CSV or Parquet is"):
        read_track_table([tmp_path / "tracks.parquet"])


def test_times_of_a_clock_are_no_numbers(tmp_path):
    times = pa.array([0, 1], pa.timestamp("ns"))
    rest = {name: ["1", "1"] for name in ("scene", "agent_id", "kind", "x_m", "y_m")}
    pq.write_table(pa.table(rest | {"t_s": times}), tmp_path / "tracks.parquet")
    with pytest.raises(
        ForecastError, match=r"tracks\.parquet: column t_s is of type timestamp\[ns\]; numbers are"
    ):
        read_track_table([tmp_path / "tracks.parquet"])


def test_a_folder_gives_its_tables(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/x.csv", "a.parquet", "notes.md"):
        (tmp_path / name).touch()
    assert track_files(tmp_path) == [tmp_path / "a.parquet", tmp_path / "b" / "x.csv"]
    assert track_files(tmp_path / "b" / "x.csv") == [tmp_path / "b" / "x.csv"]
    with pytest.raises(ForecastError, match=r"none: no table of tracks; a \.csv or \.parquet file"):
        track_files(tmp_path / "none")


def test_world_coordinates_in_float32_are_refused(tmp_path):
    """Between 2^22 and 2^23 float32 has steps of half a metre."""
    columns = {"scene": ["s"], "agent_id": ["a"], "kind": ["pedestrian"], "t_s": [0.0]}
    columns |= {"x_m": [3.0], "y_m": pa.array([5_334_000], pa.float32())}
    pq.write_table(pa.table(columns), tmp_path / "tracks.parquet")
    with pytest.raises(ForecastError, match=r"y_m are float32, in steps of 0\.5 m at 5334000 m; "):
        read_track_table([tmp_path / "tracks.parquet"])
