import pytest

from forecast import ForecastError
from forecast.evaluation.audit.command import run_audit, table
from forecast.evaluation.audit.guarantees import audit
from forecast.models.baselines import Kalman
from tests.evaluation.audit.test_guarantees import SPEC, VAL, Demands, Leaks
from tests.evaluation.prediction_file.test_reader import written


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
