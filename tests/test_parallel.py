"""Work on many scenes: the same wherever it is done, whatever dies."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from forecast import ForecastError
from forecast.parallel import TRIES, Done, Failed, Workers, named

HERE, BESIDE = Workers(), Workers(2)


@pytest.fixture(params=["here", "beside", "forked", pytest.param("ray", marks=pytest.mark.slow)])
def mapped(request):
    """`Workers.map` in each place there is."""
    if request.param == "ray":
        return request.getfixturevalue("ray_workers").map
    if request.param == "forked":
        return partial(BESIDE.map, forked=True)
    return (HERE if request.param == "here" else BESIDE).map


@pytest.fixture(params=["beside", pytest.param("ray", marks=pytest.mark.slow)])
def elsewhere(request):
    """`Workers.map` where a worker may die."""
    return request.getfixturevalue("ray_workers").map if request.param == "ray" else BESIDE.map


def slowly(item: int) -> int:
    time.sleep(0.2 if item == 0 else 0)
    return item * item


def bad_at(bad: int, item: int) -> int:
    if item == bad:
        raise ValueError("pedestrian\n7")
    if item == bad + 1:
        raise ForecastError("scene 4: no map")
    if item == bad + 2:
        raise SystemExit(0)
    return item


def dying(notes: Path, dies: int, times: int, item: int) -> int:
    """Writes down every try; the worker of one item is killed in its first tries."""
    tries = len(list(notes.glob(f"{item}-*")))
    (notes / f"{item}-{tries}").touch()
    if item == dies and tries < times:
        os._exit(9)
    return item


def noted(notes: Path, item: int) -> int:
    (notes / str(item)).touch()
    return item


def test_results_come_in_the_order_of_the_scenes(mapped):
    assert list(mapped(slowly, range(6))) == [Done(item, item * item) for item in range(6)]


def test_nothing_is_done_for_no_scene():
    assert list(BESIDE.map(slowly, [])) == []


def test_a_bad_scene_is_named_and_the_others_are_done(mapped):
    found = list(mapped(partial(bad_at, 3), range(6)))
    assert [each.item for each in found] == list(range(6))
    assert [isinstance(each, Failed) for each in found] == [item >= 3 for item in range(6)]
    words = str(found[3].why)
    assert words.startswith("ValueError: pedestrian 7 (test_parallel.py:")
    assert str(found[4].why) == "scene 4: no map"
    assert str(found[5].why).startswith("SystemExit: 0 (test_parallel.py:")


def test_a_scene_whose_worker_dies_is_tried_again_and_counted_once(elsewhere, tmp_path):
    found = list(elsewhere(partial(dying, tmp_path, 2, TRIES - 1), range(6)))
    assert found == [Done(item, item) for item in range(6)]
    tries = Counter(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert tries == {str(item): TRIES if item == 2 else 1 for item in range(6)}


def test_a_scene_that_kills_every_worker_is_given_up_alone(elsewhere, tmp_path):
    found = list(elsewhere(partial(dying, tmp_path, 2, 99), range(6)))
    assert [each.item for each in found if isinstance(each, Done)] == [0, 1, 3, 4, 5]
    assert str(found[2].why).startswith(f"its worker was killed {TRIES} times")
    assert len(list(tmp_path.glob("2-*"))) == TRIES


def test_no_worker_outlives_the_work_or_who_asked_for_it():
    found = BESIDE.map(slowly, range(6))
    next(found)
    assert len(multiprocessing.active_children()) == 2
    found.close()
    assert multiprocessing.active_children() == []


def test_work_does_not_run_far_ahead_of_who_takes_its_results(tmp_path):
    found = BESIDE.map(partial(noted, tmp_path), range(60))
    next(found)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) <= 10
    assert len(list(found)) == 59


def test_every_process_is_prepared_once(tmp_path):
    list(BESIDE.map(slowly, range(6), prepare=partial(_note_process, tmp_path)))
    assert len(list(tmp_path.iterdir())) == 2


def _note_process(notes: Path) -> None:
    (notes / str(os.getpid())).touch()


OWN_CLUSTER = """
import ray
from forecast.parallel import Workers
print([each.value for each in Workers(2, "local").map(abs, range(3))], ray.is_initialized())
"""


@pytest.mark.slow
def test_a_cluster_of_its_own_is_ended_with_the_work():
    pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    # In a process of its own: this one may hold the cluster of other tests.
    done = subprocess.run([sys.executable, "-c", OWN_CLUSTER], capture_output=True, text=True)
    assert done.stdout == "[0, 1, 2] False\n", done.stderr


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ForecastError, match=r"Ray is not installed; pip install 'forecast\[ray\]'"):
        list(Workers(ray="local").map(slowly, range(3)))


def test_no_workers_are_refused():
    with pytest.raises(ForecastError, match="workers is 0; at least 1 is needed"):
        Workers(0)


def test_many_failures_are_named_in_a_few_words():
    assert named({"a": "x", "b": "y"}) == "a (x), b (y)"
    assert named({str(number): "x" for number in range(9)}).endswith("4 (x), …")
