import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.datasets.store import prepare
from forecast.evaluation import run
from forecast.evaluation.compare import BETTER, WORSE, compare, paired, read_evaluation
from forecast.models.baselines import ConstantVelocity
from forecast.report import render
from tests.scenes import street_scene
from tests.streets import StreetSource

CRITERIA = """minimum_rows: 10
minimum_scenes: 5
criteria:
  - {id: reach, condition: any, metric: top1_fde_m, at_most: 1.0}
  - {id: never, condition: any, metric: top1_fde_m, at_most: 0.0001}
"""


@dataclass(frozen=True)
class Off:
    """The truth's constant velocity, off by some metres for some people."""

    off_m: float = 0.0
    name: str = "off"

    def predict(self, scene, at, **arguments):
        prediction = ConstantVelocity().predict(scene, at, **arguments)
        return replace(prediction, positions_m=prediction.positions_m + np.float32(self.off_m))


good = Off()
bad = Off(3.0, "bad")


class Many(StreetSource):
    """Six short streets to score."""

    def scene_names(self):
        return [f"street-{number}" for number in range(7)]

    def splits(self):
        return {"train": self.scene_names()[:1], "val": self.scene_names()[1:]}

    def read(self, name):
        return replace(street_scene(seed=int(name[-1]), steps=12), id=name), {}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("compare")
    store = prepare(Many(), base / "store")
    (base / "ours.yaml").write_text(CRITERIA)
    for name in ("good", "bad"):
        run(
            store=store.path,
            split="val",
            predictor=f"tests.evaluation.test_compare:{name}",
            out=base / name,
            render=render,
            samples=2,
            horizon_s=2.0,
            acceptance=base / "ours.yaml",
        )
    return base


def test_a_regression_comes_first_and_fails(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "bad")]) == 1
    said = capsys.readouterr()
    assert said.err == (f"error: {folders}/bad: fails criteria that {folders}/good meets: reach\n")
    lines = said.out.splitlines()
    assert lines[0].startswith(f"B bad ({folders}/bad) less A off ({folders}/good): ")
    assert lines[2].startswith("worse (")
    assert any("all" in line and "top1_fde_m" in line for line in lines)
    assert "  reach: pass -> fail (top1_fde_m at most 1; " in said.out


def test_an_improvement_passes(folders, capsys):
    assert main(["compare", str(folders / "bad"), str(folders / "good")]) == 0
    assert "\nworse (0)\n" in capsys.readouterr().out


def test_the_same_is_undecided(folders, capsys):
    assert main(["compare", str(folders / "good"), str(folders / "good")]) == 0
    said = capsys.readouterr().out
    assert "\nworse (0)\n\nbetter (0)\n" in said
    assert "2, 0 changed" in said


def test_a_smaller_tube_is_not_taken_for_a_better_one(folders):
    old = read_evaluation(folders / "good")
    assert "tube_area_90_m2" in old.columns
    assert "tube_area_90_m2" not in old.metrics


def test_changes_are_paired_means(folders):
    old, new = (read_evaluation(folders / name) for name in ("good", "bad"))
    changes = compare(old, new, paired(old, new))
    (found,) = (c for c in changes if (c.where, c.metric) == ("all", "top1_fde_m"))
    means = [each.columns["top1_fde_m"].mean() for each in (old, new)]
    assert (found.before, found.after) == pytest.approx(tuple(means))
    assert found.difference.value == pytest.approx(means[1] - means[0])
    assert found.verdict == WORSE
    back = compare(new, old, paired(new, old))
    (found,) = (c for c in back if (c.where, c.metric) == ("all", "top1_fde_m"))
    assert found.verdict == BETTER
    assert any(change.where.startswith("speed: ") for change in changes)
    verdicts = [change.verdict for change in changes]
    assert verdicts == sorted(verdicts, key=["worse", "undecided", "better"].index)


def test_the_order_of_rows_does_not_matter(folders, tmp_path):
    shutil.copytree(folders / "bad", tmp_path / "shuffled")
    rows = pq.read_table(tmp_path / "shuffled" / "rows.parquet")
    order = np.random.default_rng(0).permutation(len(rows))
    pq.write_table(rows.take(order), tmp_path / "shuffled" / "rows.parquet")
    old = read_evaluation(folders / "good")
    one, two = (
        compare(old, each, paired(old, each))
        for each in map(read_evaluation, (folders / "bad", tmp_path / "shuffled"))
    )
    assert [(c.where, c.metric) for c in one] == [(c.where, c.metric) for c in two]
    assert one[0].difference == pytest.approx(two[0].difference)


class TestRefuses:
    def changed(self, folders, tmp_path, change):
        shutil.copytree(folders / "bad", tmp_path / "other")
        path = tmp_path / "other" / "report.json"
        document = json.loads(path.read_text())
        change(document["sections"]["protocol"]["data"]["setting"])
        path.write_text(json.dumps(document))
        return read_evaluation(tmp_path / "other")

    @pytest.mark.parametrize("name", ["fingerprint", "horizon_s", "history_s"])
    def test_other_settings(self, folders, tmp_path, name):
        other = self.changed(folders, tmp_path, lambda setting: setting.update({name: 9}))
        with pytest.raises(ForecastError, match=f"{name} is 9, that of"):
            paired(read_evaluation(folders / "good"), other)

    def test_other_windows(self, folders):
        old, new = (read_evaluation(folders / name) for name in ("good", "bad"))
        fewer = replace(new, columns={name: c[1:] for name, c in new.columns.items()})
        with pytest.raises(ForecastError, match="scored on other windows than"):
            paired(old, fewer)

    def test_what_is_no_evaluation(self, folders, tmp_path, capsys):
        assert main(["compare", str(folders / "good"), str(tmp_path)]) == 1
        assert "not a whole evaluation (FileNotFoundError)" in capsys.readouterr().err
