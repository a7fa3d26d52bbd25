import numpy as np
import pytest

from forecast import ForecastError
from forecast.datasets.crowds.row_files import read_rows_file

PLAIN = "0 1 2.5 -3\n10 1 3 -3\n10 2 0 1\n"


def read(tmp_path, content, name="plaza.txt"):
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_rows_file(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(" ", "\t"),
        PLAIN.replace(" ", "   "),
        PLAIN.replace(" ", ","),
        PLAIN.replace(" ", ", "),
        PLAIN.replace(" ", ";").replace(".", ","),
        PLAIN.replace(" ", "\t").replace(".", ","),
        "0.0 1.0 2.5e0 -3.0\n10.0 1.0 3E0 -3.00\n1e1 2.0 0 1\n",
        "frame,id,x,y\n" + PLAIN.replace(" ", ","),
        "Frame_ID Ped_ID pos_x pos_y\n" + PLAIN,
        "spalte a b c d\n" + "\n".join(line + " 7" for line in PLAIN.splitlines()),
        "# frame id x y\n" + PLAIN,
        "# a plaza, 2.5 Hz\n\n// metres\n" + PLAIN.replace("\n", "  # seen\n", 1),
        "x\ty\tid\tframe\n2.5\t-3\t1\t0\n3\t-3\t1\t10\n0\t1\t2\t10\n",
        ",id,frame,x,y\n0,1,0,2.5,-3\n1,1,10,3,-3\n2,2,10,0,1\n",  # with an index, as by pandas
        "\tframe\tid\tx\ty\n0\t0\t1\t2.5\t-3\n1\t10\t1\t3\t-3\n2\t10\t2\t0\t1\n",
        "% frame id x y\n" + PLAIN.replace("\n", " % seen\n", 1),
        "# y, x of each id and frame\n" + PLAIN,
        "# id frame x y\n1 0 2.5 -3\n1 10 3 -3\n2 10 0 1\n",
        'id,frame,x,y,label\n1,0,2.5,-3,"adult"\n1,10,3,-3,adult\n2,10,0,1,\n',
        "0 1 2.5 -3 0.1 0.2\n10 1 3 -3 0 0\n10 2 0 1 ? nan\n",
        "0 1 2.5 0 -3 0.1 0 0.2\n10 1 3 0 -3 0 0 0\n10 2 0 0 1 0 0 0\n",
        '{"scene": {"id": 0, "p": 1, "s": 0, "e": 10, "fps": 2.5, "tag": [1, []]}}\n'
        '{"track": {"f": 0, "p": 1, "x": 2.5, "y": -3}}\n'
        '{"track": {"f": 10, "p": 1, "x": 3, "y": -3}}\n'
        '{"track": {"f": 10, "p": 2, "x": 0, "y": 1}}\n'
        '{"track": {"f": 20, "p": 2, "x": 9, "y": 9, "prediction_number": 0, "scene_id": 0}}\n',
    ],
)
def test_every_notation_gives_the_same_rows(tmp_path, content):
    rows = read(tmp_path, content)
    assert rows.frames.tolist() == [0, 10, 10]
    assert rows.persons.tolist() == ["1", "1", "2"]
    assert rows.xy_m.tolist() == [[2.5, -3], [3, -3], [0, 1]]
    assert rows.dropped == {}
    assert rows.spacing() == 10


@pytest.mark.parametrize(
    ("content", "dropped"),
    [
        ("0 1 2 3\n10 1 NaN nan\n20 1 ? ?\n30 1 4 NA\n", {"not_seen": 3}),
        ("0,1,2,3\n10,1,,\n", {"not_seen": 1}),
        ("0\t1\t2\t3\n10\t1\t\t\n", {"not_seen": 1}),
        ('{"track": {"f": 0, "p": 1, "x": 2, "y": 3}}\n{"track": {"f": 9, "p": 1, "x": NaN}}\n',
         {"not_seen": 1}),
        ("0 1 2 3\n0 1 2 3\n", {"repeated_row": 1}),
    ],
)  # fmt: skip
def test_rows_without_a_position_and_copies_are_counted(tmp_path, content, dropped):
    rows = read(tmp_path, content)
    assert rows.frames.tolist() == [0]
    assert rows.dropped == dropped


@pytest.mark.parametrize(
    ("frames", "spacing"),
    [
        ([780, 786, 792], 6),
        ([1, 11, 21], 10),
        ([0, 12, 24, 48, 60], 12),  # one is missing
        ([0.0, 0.4, 0.8, 1.2000000001], 0.4),
        ([5], 1),
    ],
)
def test_the_spacing_is_the_most_frequent_one_of_a_person(tmp_path, frames, spacing):
    rows = read(tmp_path, "".join(f"{frame} 1 0 0\n" for frame in frames))
    assert rows.spacing() == pytest.approx(spacing)


def test_the_spacing_is_not_that_of_different_people(tmp_path):
    rows = "".join(f"{10 * t + 3 * p} {p} 0 0\n" for t in range(5) for p in range(3))
    assert read(tmp_path, rows).spacing() == 10


def test_one_row_a_person_gives_the_spacing_of_the_frames(tmp_path):
    assert read(tmp_path, "0 1 0 0\n6 2 0 0\n12 3 0 0\n").spacing() == 6


@pytest.mark.parametrize(
    ("person", "name"),
    [("7.0", "7"), ("007", "7"), ("ped_07", "ped_07"), ("1_2", "1_2"), ("-1", "-1"),
     ("9007199254740993", "9007199254740993")],
)  # fmt: skip
def test_persons_are_numbers_or_names(tmp_path, person, name):
    assert read(tmp_path, f"0 {person} 0 0\n").persons.tolist() == [name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0 1 2 3\n10 1 2\n", "line 2 is '10 1 2'; 4 columns 'frame person x_m y_m …' are needed"),
        ("0 1 2 3\n10 1 2 3 4\n", "line 2 is '10 1 2 3 4'; 4 columns"),
        ("0 1 2 3\n\n10 1 2 x\n", "line 3 is '10 1 2 x'; 4 columns"),
        ("0 1 2 inf\n", "line 1 is '0 1 2 inf'; .* finite numbers"),
        ("nan 1 2 3\n", "line 1 is 'nan 1 2 3'; .* frame, x and y finite numbers"),
        ("0 1.5 2 3\n", "line 1 is '0 1.5 2 3'; .* person a whole number or a name"),
        ("0 nan 2 3\n", "line 1 is '0 nan 2 3'"),
        ("0 1 2 3 walks\n", "line 1 is '0 1 2 3 walks'"),
        ("frame id x y\n0 1 2\n", "line 1: the header has 4 columns and the rows have 3"),
        ("frame id x y\n0 1 2 3\n1 1 2\n", "line 3 is '1 1 2'; 4 columns"),
        ("time,id,x,y\n0,1,2,3\n", r"line 1 is 'time,id,x,y'; a header .* \(frame is missing\)"),
        ("frame id x y\n1 0 1 2 3\n", "line 1: the header has 4 columns and the rows have 5"),
        ("0 1 2 3\n0 2 2 3\n0 1 4 5\n", r"line 3: person 1 is in frame 0 already, .* \(line 1\)"),
        ("\n# nothing\n", "the file has no row; at least one is needed"),
        ("frame id x y\n", "the file has no row"),
        ("0 1 ? ?\n", "no row has a position"),
        ('{"track": {"f": 0, "p": 1}}\n{"track": {"f": "a"}}\n', "line 2: Expected `float`"),
        ('{"scene": {"fps": 2.5}}\n{"scene": {"fps": 5}}\n', r"the scenes state 2\.5, 5\.0 fps"),
        (b"\xff\xfe\x00", "line 1 is '.*'; 4 columns"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(tmp_path, content, message):
    with pytest.raises(ForecastError, match=f"^{tmp_path}/plaza.txt: {message}") as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


def test_a_trajnet_file_states_its_rate(tmp_path):
    rows = read(tmp_path, '{"scene": {"fps": 5}}\n{"track": {"f": 3, "p": 1, "x": 0, "y": 0}}\n')
    assert (rows.fps, rows.frames.dtype) == (5, np.float64)
