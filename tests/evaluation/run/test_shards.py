import json
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from forecast import ForecastError
from forecast.datasets.store import SceneStore, prepare
from forecast.evaluation import (
    EvaluationConfig,
    EvaluationResult,
    merge_shards,
    run_evaluation,
    run_shard,
)
from forecast.evaluation.output.folder import DOCUMENT_FILE, PREDICTIONS_FILE, SCORES_FILE
from forecast.evaluation.run.shards import Shard, ShardNumber
from forecast.evaluation.scoring.scores import SceneScores
from forecast.inference import Forecaster, Training
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster
from forecast.parallel import Workers
from forecast.report import render
from tests.streets import StreetSource

PARTS = 3


class OtherStreets(StreetSource):
    """The same streets, of another version."""

    def fingerprint(self) -> str:
        return "other streets"


def config(store: SceneStore, predictor: str = "kalman", **options) -> EvaluationConfig:
    return EvaluationConfig(
        store.path,
        **{"split": "all", "samples": 5, "horizon_s": 2.0} | options,
        predictor=predictor,
    )


def scored(want: EvaluationConfig, folder: Path, parts: int = PARTS) -> list[Path]:
    """The folders of all shards."""
    out = [folder / f"shard_{number}" for number in range(1, parts + 1)]
    for number, each in enumerate(out, start=1):
        run_shard(want, f"{number}/{parts}", each, Workers())
    return out


def weights(path: Path) -> str:
    known = Training(ForecasterConfig(), history_steps=5, horizon_steps=4, dts_s=[0.5])
    Forecaster(PedestrianForecaster(ForecasterConfig()), known, "walker").save(path)
    return str(path)


def page(_: EvaluationResult) -> dict[str, str]:
    return {"report.html": "a page"}


def merged(
    shards: list[Path], store: SceneStore, out: Path, predictor: str = "kalman", render=page
) -> None:
    merge_shards(shards, store=store.path, predictor=predictor, out=out, render=render)


@pytest.fixture(scope="module")
def shards(store, tmp_path_factory) -> list[Path]:
    return scored(config(store), tmp_path_factory.mktemp("shards"))


def measured_apart(path: Path) -> dict:
    """A report's content without what no two runs measure the same, and without its folder."""
    report = json.loads((path / DOCUMENT_FILE).read_text())
    sections = report["sections"]
    assert sections.pop("cost")["data"]["measured"]
    return json.loads(json.dumps(report).replace(str(path), "OUT"))


def whole(want: EvaluationConfig, out: Path, render=page) -> None:
    """The same in one run."""
    run_evaluation(want, out, render=render)


@pytest.mark.slow
def test_shards_in_any_order_are_one_evaluation(store, tmp_path):
    predictor = weights(tmp_path / "walker.safetensors")
    want = config(store, predictor)
    parts = scored(want, tmp_path)
    whole(want, tmp_path / "whole", render)
    merged([parts[place] for place in (2, 0, 1)], store, tmp_path / "merged", predictor, render)
    for file in ("metrics.json", "rows.parquet", PREDICTIONS_FILE):
        assert (tmp_path / "whole" / file).read_bytes() == (
            tmp_path / "merged" / file
        ).read_bytes(), file
    assert measured_apart(tmp_path / "whole") == measured_apart(tmp_path / "merged")


def test_the_baselines_of_a_shard_are_those_of_the_whole_split(store, tmp_path):
    want = config(store, split="val")  # so that there are scenes to learn from
    merged(scored(want, tmp_path, parts=2), store, tmp_path / "merged")
    whole(want, tmp_path / "whole")
    one, other = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "merged")
    )
    assert one["floors"]["kmeans_5"]["all"]["top1_fde_m"] is not None
    assert one == other


@pytest.mark.slow
def test_a_shard_is_read_as_it_was_written(shards):
    again = Shard.read(shards[0])
    assert again.scenes == ["street-0"]
    part = again.parts[0]
    assert isinstance(part, SceneScores)
    assert part.rows is not None
    assert part.rows.agent_ids.dtype.kind == "U"
    assert part.scores["kalman"].coverage.dtype == np.float32
    assert set(part.scores) == set(again.evaluation.predictors)
    windows = pq.ParquetFile(shards[0] / PREDICTIONS_FILE).num_row_groups
    assert windows == len(part.scores["kalman"].timing.seconds)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ((0, 1, 1, 2), "shard_2: street-1 is in .*shard_2 too; give it once"),
        ((0, 2), "street-1 is in no shard, nor are 1 others of 5 scenes; give all shards"),
    ],
)
def test_every_scene_must_be_there_once(store, shards, tmp_path, chosen, message):
    with pytest.raises(ForecastError, match=message):
        merged([shards[place] for place in chosen], store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "its seed is 1, but 0 here"),
        ({"samples": 6}, "its samples is 6, but 5 here"),
        ({"horizon_s": 1.0}, "its horizon_s is 1.0, but 2.0 here"),
        ({"split": "val"}, "its split is val, but all here"),
        ({"predictor": "stationary"}, "its predictors is"),
    ],
)
def test_shards_of_other_evaluations_are_refused(store, shards, tmp_path, options, message):
    parts = 2 if options.get("split") else PARTS
    run_shard(config(store, **options), f"2/{parts}", tmp_path / "other", Workers())
    with pytest.raises(ForecastError, match=f"other: {message}.*merge the shards of one"):
        merged([shards[0], tmp_path / "other", shards[2]], store, tmp_path / "out")


@pytest.mark.slow
def test_other_weights_and_another_store_are_refused(store, tmp_path):
    ours, others = (tmp_path / name / "walker.safetensors" for name in ("ours", "others"))
    for path in (ours, others):
        path.parent.mkdir()
        weights(path)
    parts = scored(config(store, str(ours)), tmp_path, parts=2)
    with pytest.raises(ForecastError, match="shard_1: its weights_sha256 is"):
        merged(parts, store, tmp_path / "out", str(others))
    other = prepare(OtherStreets(), tmp_path / "store")
    with pytest.raises(ForecastError, match="shard_1: its fingerprint is"):
        merged(parts, other, tmp_path / "out", str(ours))


def test_a_folder_without_scores_is_refused(store, tmp_path):
    with pytest.raises(ForecastError, match=r"No such file.*evaluate --shard"):
        merged([tmp_path], store, tmp_path / "out")
    for content in (b"no scores", zlib.compress(b"\x81\xa1x\x01")):
        (tmp_path / SCORES_FILE).write_bytes(content)
        with pytest.raises(ForecastError, match="no scores of a shard"):
            merged([tmp_path], store, tmp_path / "out")


def test_a_file_of_scores_that_unpacks_to_any_size_is_refused(store, tmp_path, monkeypatch):
    monkeypatch.setattr("forecast.evaluation.run.shards._MOST_BYTES", 1000)
    (tmp_path / SCORES_FILE).write_bytes(zlib.compress(bytes(10**6)))
    with pytest.raises(ForecastError, match=r"no scores of a shard .cut off, or larger than any"):
        merged([tmp_path], store, tmp_path / "out")


@pytest.mark.slow
def test_a_damaged_file_of_scores_is_refused(store, shards, tmp_path):
    content = bytearray((shards[0] / SCORES_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / SCORES_FILE).write_bytes(content)
    with pytest.raises(ForecastError, match="no scores of a shard"):
        merged([tmp_path, *shards[1:]], store, tmp_path / "out")


@pytest.mark.slow
def test_predictions_that_cannot_be_read_are_refused(store, shards, tmp_path):
    (tmp_path / SCORES_FILE).write_bytes((shards[0] / SCORES_FILE).read_bytes())
    parts = [tmp_path, *shards[1:]]
    with pytest.raises(ForecastError, match=r"predictions\.parquet: cannot be read"):
        merged(parts, store, tmp_path / "out")
    (tmp_path / PREDICTIONS_FILE).write_bytes(b"no predictions")
    with pytest.raises(ForecastError, match=r"predictions\.parquet: cannot be read"):
        merged(parts, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", ["", "1", "0/2", "3/2", "-1/2", "1/2/3", "a/b", "1.5/2"])
def test_what_is_no_part(words):
    with pytest.raises(ForecastError, match=r"shard is .*K/N"):
        ShardNumber.read(words)


@pytest.mark.parametrize("parts", range(1, 8))
def test_parts_hold_every_scene_once(parts):
    names = [f"{number}" for number in range(7)]
    found = [ShardNumber(number, parts).scenes(names) for number in range(1, parts + 1)]
    assert [name for part in found for name in part] == names
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1


def test_more_parts_than_scenes_are_refused():
    with pytest.raises(ForecastError, match="shard is 3/8; at most 7 parts"):
        ShardNumber(3, 8).scenes(["a"] * 7)
