import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from forecast import ForecastError
from forecast.cli import main
from forecast.evaluation.comparison.changes import LESS, MORE
from forecast.evaluation.comparison.comparison import Comparison
from forecast.evaluation.output.saved import read_evaluation
from forecast.evaluation.run.own_metrics import own_metric, own_metrics
from forecast.models.metrics import Scored

ROOT = Path(__file__).parents[3]
METRICS = '''
import numpy as np
import torch
from forecast.models.metrics import MetricSpec

def last_error_m(scored):
    """error of the best guess at the last step."""
    return (scored.mode_m - scored.truth_m)[:, -1].norm(dim=-1)

def plain(scored):
    return [1] * len(scored.truth_m)

near = MetricSpec(
    lambda s: (s.mode_m - s.truth_m)[:, -1].norm(dim=-1) < 0.5,
    "1", "share within 0.5 m", higher_is_better=True,
)

def spoils(scored):
    scored.mode_m.add_(100)
    return np.zeros(len(scored.truth_m))

one = 1
def two(scored, k): ...
class Kind: ...
def wide(scored): return scored.mode_m
def late(scored): return scored.mode_m[:, 99, 0]
def far(scored): return torch.full((len(scored.truth_m),), torch.inf)
def turned(scored): return torch.full((len(scored.truth_m),), 1j)
def stops(scored): raise SystemExit(0)
def top1_fde_m(scored): return plain(scored)
'''
CRITERIA = """minimum_rows: 1
minimum_scenes: 1
criteria:
  - {id: late, condition: any, metric: last_error_m, at_most: 2.0}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder with ``their_metrics.py``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "their_metrics", raising=False)
    (tmp_path / "their_metrics.py").write_text(METRICS)
    return tmp_path


def words(store, out, *more: str, predictor: str = "kalman") -> list[str]:
    return [
        *("evaluate", "--store", str(store.path), "--split", "val", "--predictor", predictor),
        *("--horizon-s", "2", "--samples", "4", "--out", str(out), *more),
    ]


def test_a_plain_function_says_what_it_is(folder):
    error, near, plain = (
        own_metric(f"their_metrics:{name}") for name in ("last_error_m", "near", "plain")
    )
    assert (error.spec.unit, error.spec.definition) == (
        "m",
        "error of the best guess at the last step",
    )
    assert error.spec.lower_is_better
    assert (near.spec.unit, near.spec.higher_is_better) == ("1", True)
    assert (plain.spec.unit, plain.spec.definition) == ("1", "their_metrics:plain")


def test_it_is_sent_by_its_name(folder):
    near = own_metric("their_metrics:near")  # a lambda, which pickle refuses
    again = pickle.loads(pickle.dumps(near))
    assert again.code == near.code


def test_a_function_cannot_change_what_other_metrics_get(folder):
    truth = torch.zeros(2, 3, 2)
    scored = Scored(torch.zeros(1, 2, 3, 2), torch.ones(1), truth.clone(), truth, 0.5)
    assert own_metric("their_metrics:spoils")(scored).tolist() == [0, 0]
    assert scored.mode_m.abs().max() == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one", "is of type int; def one"),
        ("Kind", "is of type type; def Kind"),
        ("two", "cannot be called with a Scored alone (missing a required argument: 'k')"),
        ("wide", "gives shape [3, 4, 2] for 3 agents; def wide(scored) that returns a value for"),
        (
            "late",
            "fails: IndexError: index 99 is out of bounds for dimension 1 with size 4 (their_",
        ),
        ("far", "gives an infinite value; NaN means that it is not defined"),
        ("turned", "gives complex numbers; def turned(scored)"),
        ("stops", "fails: SystemExit: 0 (their_metrics.py:"),
        ("nothing", "cannot be imported: module 'their_metrics' has no 'nothing'"),
        ("top1_fde_m", "is 'top1_fde_m'; one that is not taken is needed"),
    ],
)
def test_what_is_no_metric_is_one_line_before_anything_runs(store, folder, capsys, name, message):
    assert main(words(store, folder / "out", "--metric", f"their_metrics:{name}")) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"metric 'their_metrics:{name}' " in said.err
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize("source", ["plain", "their_metrics.py:plain", "./their_metrics:plain"])
def test_what_is_no_module_and_name_is_refused(folder, source):
    with pytest.raises(ForecastError, match=r"metric is '.*'; module:name, such as my_metrics:la"):
        own_metric(source)


def test_exit_is_no_metric(store, folder, capsys):
    assert main(words(store, folder / "out", "--metric", "sys:exit")) == 1
    assert "is of type builtin_function_or_method" in capsys.readouterr().err


def test_it_is_in_every_file_and_in_the_criteria(store, folder, capsys):
    (folder / "ours.yaml").write_text(CRITERIA)
    metrics = ["--metric", "their_metrics:last_error_m", "--metric", "their_metrics:near"]
    assert main(words(store, "out", *metrics, "--acceptance", "ours.yaml")) == 0
    capsys.readouterr()
    found = json.loads((folder / "out" / "metrics.json").read_text())
    assert found["all"]["last_error_m"] == pytest.approx(found["all"]["top1_fde_m"])
    assert 0 < found["movers"]["near"] <= 1
    for baseline in found["floors"].values():
        assert baseline["all"]["last_error_m"] == pytest.approx(baseline["all"]["top1_fde_m"])
    assert found["definitions"]["near"] == "share within 0.5 m"
    about = found["own_metrics"]["last_error_m"]
    assert (about["source"], about["file"]) == ("their_metrics:last_error_m", "their_metrics.py")
    rows = pq.read_table(folder / "out" / "rows.parquet").to_pydict()
    np.testing.assert_allclose(rows["last_error_m"], rows["top1_fde_m"], rtol=1e-6)
    report = json.loads((folder / "out" / "report.json").read_text())["sections"]
    assert "last_error_m" in report["scores"]["data"]["kalman"]["all"]
    table = report["scores"]["blocks"][0]
    assert "last_error_m" in [row[0] for row in table["rows"]]
    facts = report["provenance"]["blocks"][0]["facts"]
    assert facts["Command"].endswith(" ".join(["--acceptance", "ours.yaml", *metrics]))
    assert "their_metrics.py, SHA-256 " in facts["Metric of one's own"]
    (criterion,) = report["triggering"]["data"]["criteria"]
    assert criterion["metric"] == "last_error_m"
    saved = read_evaluation(folder / "out")
    aims = {each.metric: each.aim for each in Comparison.of(saved, saved).changes}
    assert (aims["last_error_m"], aims["near"]) == (LESS, MORE)
    # every column of the rows is a name that a metric must not have
    for name in pq.read_schema(folder / "out" / "rows.parquet").names:
        if name.isidentifier() and name not in ("last_error_m", "near"):
            (folder / "their_columns.py").write_text(f"def {name}(scored): ...")
            sys.modules.pop("their_columns", None)
            with pytest.raises(ForecastError, match="one that is not taken is needed"):
                own_metrics([f"their_columns:{name}"], report["scores"]["data"]["definitions"])


def test_the_same_name_twice_is_refused(folder):
    (folder / "their_others.py").write_text("def plain(scored): ...")
    with pytest.raises(ForecastError, match="'their_others:plain' is 'plain'; one that is not"):
        own_metrics(["their_metrics:plain", "their_others:plain"], [])


@pytest.mark.slow
def test_shards_have_it_and_are_merged_with_the_same_file_only(store, folder, capsys):
    given = ["--metric", "their_metrics:last_error_m"]
    for number in (1, 2):
        assert main(words(store, f"part_{number}", *given, "--shard", f"{number}/2")) == 0
    merge = ["merge", "part_1", "part_2", "--store", str(store.path), "--predictor", "kalman"]
    assert main([*merge, "--out", "merged", *given]) == 0
    assert main(words(store, "whole", *given)) == 0
    one, two = (folder / name / "metrics.json" for name in ("merged", "whole"))
    assert one.read_bytes() == two.read_bytes()
    capsys.readouterr()
    assert main([*merge, "--out", "without"]) == 1
    assert "part_1: its own_code is ('their_metrics:last_error_m, their_metrics.py, SHA-256" in (
        capsys.readouterr().err
    )
    (folder / "their_metrics.py").write_text(METRICS + "\n")
    assert main([*merge, "--out", "changed", *given]) == 1
    assert "part_1: its own_code is " in capsys.readouterr().err


@pytest.mark.slow
def test_workers_find_the_modules_of_the_current_folder(store, folder):
    (folder / "their_model.py").write_text(
        "from forecast.models.baselines import ConstantVelocity\n"
        "class Straight:\n"
        "    def predict(self, *given, **options):\n"
        "        return ConstantVelocity().predict(*given, **options)\n"
    )
    given = words(
        store, "out", "--workers", "2", "--metric", "their_metrics:near",
        predictor="their_model:Straight",
    )  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-P", "-m", "forecast", *given],  # -P: without the current folder
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    found = json.loads((folder / "out" / "metrics.json").read_text())
    assert found["predictor"] == "Straight"
    assert found["own_predictor"]["file"] == "their_model.py"
    assert found["all"]["near"] is not None
    assert found["all"]["top1_fde_m"] == found["floors"]["constant_velocity"]["all"]["top1_fde_m"]
