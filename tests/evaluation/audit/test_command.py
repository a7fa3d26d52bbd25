from dataclasses import replace

import numpy as np
import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.datasets.store import prepare
from forecast.evaluation.audit.command import run_audit, table
from forecast.evaluation.audit.guarantees import audit
from forecast.models.baselines import Kalman
from forecast.scene import AgentKind
from tests.evaluation.audit.test_guarantees import SPEC, VAL, Compass, Demands, Leaks
from tests.evaluation.prediction_file.test_reader import written
from tests.streets import StreetSource


def test_the_table_says_by_how_much_and_where(store):
    findings = audit(Demands(), store, VAL, SPEC, windows=4)
    (line,) = (line for line in table(findings).splitlines() if "BROKEN" in line)
    assert "no answer, street-3 step" in line
    assert line.endswith("two frames are needed")
    leak = table(audit(Leaks(), store, VAL, SPEC, windows=2)).splitlines()[0]
    assert leak.startswith("BROKEN     required  future")
    assert " m off, street-3 step " in leak


def make() -> Kalman:
    """A third party's predictor, by the name of a function."""
    return Kalman()


def test_the_command_takes_any_predictor(store, capsys):
    words = {"store": store.path, "split": "val", "windows": 2, "seed": 0}
    run_audit(predictor="tests.evaluation.audit.test_command:make", **words)
    said = capsys.readouterr().out
    assert said.startswith(f"kalman on {store.path}, val\nholds      required  future")
    with pytest.raises(ForecastError, match="leaks: required guarantees do not hold: future, cut"):
        run_audit(predictor="tests.evaluation.audit.test_command:Leaky", **words)


def test_a_broken_wish_fails_where_it_is_required(store, capsys):
    words = ["audit", "--store", str(store.path), "--split", "val", "--windows", "2"]
    words += ["--predictor", "tests.evaluation.audit.test_command:Turned"]
    assert main(words) == 0
    assert main([*words, "--require", "placebo,order"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "\nBROKEN     wished    frame" in said.out
    for more in (["--require"], ["--require", "frame, placebo"]):
        assert main([*words, *more]) == 1
        said = capsys.readouterr()
        assert said.err == "error: turned: required guarantees do not hold: frame\n"
        assert "\nBROKEN     wished    frame" in said.out
    assert main([*words, "--require", ""]) == 1  # such as an unset variable of a script
    assert "error: require is ''; every or one or more of" in capsys.readouterr().err
    assert main([*words, "--require", "frames"]) == 1
    assert "error: require is 'frames'; every or one or more of future, " in capsys.readouterr().err


def test_what_was_required_but_not_tried_is_said(capsys, tmp_path):
    store = prepare(Walkers(), tmp_path / "store")  # nobody drives
    words = {"predictor": "kalman", "store": store.path, "split": "all", "windows": 2, "seed": 0}
    run_audit(**words)
    assert "required but not tried" not in capsys.readouterr().out
    run_audit(**words, also_required="every")
    assert "\nrequired but not tried: plan" in capsys.readouterr().out


class Walkers(StreetSource):
    """Streets without vehicles."""

    def read(self, name):
        scene, dropped = super().read(name)
        people = scene.tracks.kinds == AgentKind.PEDESTRIAN
        return replace(scene, tracks=scene.tracks.select(np.flatnonzero(people))), dropped


class Turned(Compass):
    name = "turned"


class Leaky(Leaks):
    name = "leaks"


@pytest.mark.parametrize(
    ("predictor", "message"),
    [
        ("tests.nowhere:Model", "cannot be imported: ModuleNotFoundError: No module named"),
        ("tests.scenes:Model", "cannot be imported: module 'tests.scenes' has no 'Model'"),
        ("tests.scenes:street_scene", "has no method predict"),
        ("lstm", "predictor 'lstm' is unknown"),
    ],
)
def test_what_is_no_predictor_is_one_line(store, predictor, message):
    with pytest.raises(ForecastError, match=message):
        run_audit(predictor=predictor, store=store.path, split="val", windows=2, seed=0)


def test_a_file_cannot_be_audited(store, tmp_path):
    path = str(written(store, tmp_path))
    with pytest.raises(ForecastError, match="a file cannot be repeated with changed scenes"):
        run_audit(predictor=path, store=store.path, split="val", windows=2, seed=0)
