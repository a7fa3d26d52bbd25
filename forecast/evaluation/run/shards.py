"""An evaluation in shards: each is scored on its own, on any machine, then all are merged.

Every shard fits the baselines for the whole split, so that they are the same in all shards.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forecast import __version__
from forecast.errors import ForecastError, require
from forecast.evaluation.output.folder import PREDICTIONS_FILE, SCORES_FILE, SHARD, whole_folder
from forecast.evaluation.prediction_file.writer import PredictionsWriter
from forecast.evaluation.result import EvaluationResult, Setting
from forecast.evaluation.run.job import EvaluationConfig, Job, RenderReport, ScoredScenes, evaluated
from forecast.evaluation.run.provenance import provenance_of
from forecast.evaluation.scoring.scores import SceneScores
from forecast.parallel import Workers, named


@dataclass(frozen=True)
class ShardNumber:
    """Which of how many shards, ``K/N``.

    Attributes:
        number: K, from 1.
        of: N.
    """

    number: int
    of: int

    @classmethod
    def read(cls, words: str) -> ShardNumber:
        """Reads ``2/8``; raises `ForecastError`."""
        number, slash, of = words.partition("/")
        good = bool(slash) and number.isdecimal() and of.isdecimal()
        good = good and 1 <= int(number) <= int(of)
        require(good, "shard", f"'{words}'", "K/N with K from 1 to N, such as 2/8")
        return cls(int(number), int(of))

    def scenes(self, names: Sequence[str]) -> Sequence[str]:
        """The consecutive scenes of this shard; raises `ForecastError` if there are none."""
        if self.of > len(names):
            raise ForecastError(f"shard is {self}; at most {len(names)} parts: one for each scene")
        first, last = ((part * len(names)) // self.of for part in (self.number - 1, self.number))
        return names[first:last]

    def __str__(self) -> str:
        """``K/N``, as on the command line."""
        return f"{self.number}/{self.of}"


_MOST_BYTES = 2**30
"""Bytes of the largest shard when it is unpacked; a few hundred thousand windows have as many."""


@dataclass(frozen=True)
class ShardedEvaluation:
    """What all shards of an evaluation have in common.

    Attributes:
        setting: What is evaluated on what, with all scenes of the split.
        predictors: Names of the scored predictors.
        weights_sha256: Hash of the predictor's weights, "" if it has none.
        version: Version of this package.
        own_code: Source and hash of the predictor and of each metric of one's own.
    """

    setting: Setting
    predictors: tuple[str, ...]
    weights_sha256: str
    version: str
    own_code: tuple[str, ...]

    @classmethod
    def of(cls, job: Job) -> ShardedEvaluation:
        """The evaluation that a job on this machine is a part of."""
        model = provenance_of(job.subject.predictor) or {}
        weights = str(model.get("weights_sha256", ""))
        files = [job.own_predictor, *(each.code for each in job.task.own_metrics.values())]
        return cls(
            setting=job.setting(job.scenes),
            predictors=tuple(job.task.predictors),
            weights_sha256=weights,
            version=__version__,
            own_code=tuple(str(each) for each in files if each is not None),
        )

    def facts(self) -> dict[str, str]:
        """Every value by name, as short text."""
        values = {each.name: getattr(self.setting, each.name) for each in fields(Setting)}
        values |= {each.name: getattr(self, each.name) for each in fields(ShardedEvaluation)[1:]}
        names = hashlib.sha256("\n".join(self.setting.scenes).encode()).hexdigest()
        values["scenes"] = f"{len(self.setting.scenes)} with hash {names[:12]}"
        return {name: str(value) for name, value in values.items()}


@dataclass(frozen=True, eq=False)
class Shard:
    """The content of a shard's file of scores.

    Attributes:
        evaluation: The evaluation it is a part of.
        parts: The scores of its scenes, in their order.
        failed: Its scenes that could not be scored, with the reason.
    """

    evaluation: ShardedEvaluation
    parts: list[SceneScores]
    failed: dict[str, str]

    @property
    def scenes(self) -> list[str]:
        """Names of its scenes."""
        return [part.scene_id for part in self.parts] + list(self.failed)

    def write(self, path: Path) -> None:
        """Writes the shard, compressed and with a checksum."""
        path.write_bytes(zlib.compress(msgspec.msgpack.encode(self, enc_hook=_plain), level=1))

    @classmethod
    def read(cls, folder: Path) -> Shard:
        """Reads the shard in a folder; raises `ForecastError`."""
        path = folder / SCORES_FILE
        try:
            content = _unpacked(path.read_bytes())
            return msgspec.msgpack.decode(content, type=cls, dec_hook=_array)
        except OSError as error:
            raise ForecastError(
                f"{path}: {error.strerror}; give a folder of forecast evaluate --shard"
            ) from error
        except (zlib.error, msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
            line = " ".join(str(error).split())
            raise ForecastError(f"{path}: no scores of a shard ({line}); score it anew") from error


def _unpacked(packed: bytes) -> bytes:
    """The content of a file of scores; raises `zlib.error` also where it is impossibly large."""
    reader = zlib.decompressobj()
    content = reader.decompress(packed, _MOST_BYTES)
    if not reader.eof:
        raise zlib.error("cut off, or larger than any shard")
    return content


def _plain(array: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Type, shape and bytes of an array, for msgpack."""
    return array.dtype.str, array.shape, array.tobytes()


def _array(_: type, plain: Any) -> Any:
    """The inverse of `_plain`."""
    kind, shape, data = plain
    return np.frombuffer(data, np.dtype(kind)).reshape(shape)


def run_shard(config: EvaluationConfig, shard: str, out: Path, workers: Workers) -> None:
    """Scores a part of a split, for `merge_shards`; ``forecast evaluate --shard``.

    Args:
        config: What is evaluated on what, with the whole split.
        shard: Which part, as ``2/8``.
        out: New or empty folder, or a shard to replace.
        workers: Where scenes are scored.

    Raises:
        ForecastError: The user can correct something; nothing is written then. Also after writing
            the shard, if a scene could not be scored.
    """
    part, job = ShardNumber.read(shard), Job.of(config)
    scenes = part.scenes(job.scenes)
    with whole_folder(out, SHARD) as folder:
        with PredictionsWriter(folder / PREDICTIONS_FILE) as writer:
            scored = job.score(scenes, workers, writer)
        Shard(ShardedEvaluation.of(job), scored.parts, scored.failed).write(folder / SCORES_FILE)
    print(f"{out}: shard {part}, {len(scored.parts)} of {len(job.scenes)} scenes")
    if scored.failed:
        raise ForecastError(f"could not be scored: {named(scored.failed)}; {out} is without them")


def merge_shards(
    folders: Sequence[Path],
    *,
    store: Path,
    predictor: str,
    out: Path,
    render: RenderReport,
    acceptance: Path | None = None,
    metrics: Sequence[str] = (),
    slices: str | None = None,
) -> EvaluationResult:
    """Merges all shards into one evaluation, the same as of one run; ``forecast merge``.

    Args:
        folders: What `run_shard` wrote, in any order.
        store: The store they were scored on, or a copy.
        predictor: The scored predictor, which is audited here. Without weights only its name is
            compared with the shards'.
        out: As `run_evaluation`.
        render: As `run_evaluation`.
        acceptance: As `run_evaluation`.
        metrics: The metrics of one's own that were computed, in the same order.
        slices: As `run_evaluation`.

    Raises:
        ForecastError: The shards are of different evaluations or incomplete; or as
            `run_evaluation`.
    """
    shards = [Shard.read(folder) for folder in folders]
    known = shards[0].evaluation.setting
    config = EvaluationConfig(
        store=store,
        split=known.split,
        predictor=predictor,
        samples=known.samples,
        horizon_s=known.horizon_s,
        history_s=known.history_s,
        seed=known.seed,
        metrics=tuple(metrics),
    )

    def score(job: Job, writer: PredictionsWriter) -> ScoredScenes:
        here = ShardedEvaluation.of(job)
        for folder, shard in zip(folders, shards, strict=True):
            _refuse_other(folder, shard.evaluation, here)
        order = _in_order([shard.scenes for shard in shards], folders, job.scenes)
        return _joined([(folders[place], shards[place]) for place in order], writer)

    return evaluated(config, score, render=render, out=out, acceptance=acceptance, slices=slices)


def _refuse_other(folder: Path, evaluation: ShardedEvaluation, here: ShardedEvaluation) -> None:
    """Raises `ForecastError` if a shard belongs to another evaluation."""
    expected = here.facts()
    for name, value in evaluation.facts().items():
        if value != expected[name]:
            raise ForecastError(
                f"{folder}: its {name} is {value}, but {expected[name]} here; merge the shards of "
                "one evaluation, with its store, predictor and metrics"
            )


def _in_order(
    held: Sequence[Sequence[str]], folders: Sequence[Path], scenes: Sequence[str]
) -> list[int]:
    """Indices of the shards in the order of the scenes; every scene must be in exactly one."""
    holder: dict[str, int] = {}
    for place, names in enumerate(held):
        for name in names:
            if name in holder:
                other = folders[holder[name]]
                raise ForecastError(f"{folders[place]}: {name} is in {other} too; give it once")
            holder[name] = place
    missing = [scene for scene in scenes if scene not in holder]
    if missing:
        raise ForecastError(
            f"{missing[0]} is in no shard, nor are {len(missing) - 1} others of {len(scenes)} "
            "scenes; give all shards"
        )
    return list(dict.fromkeys(holder[scene] for scene in scenes))


def _joined(shards: Sequence[tuple[Path, Shard]], writer: PredictionsWriter) -> ScoredScenes:
    """The scores of all shards; writes their predictions too."""
    found = ScoredScenes([], {})
    for folder, shard in shards:
        found.parts.extend(shard.parts)
        found.failed.update(shard.failed)
        path = folder / PREDICTIONS_FILE
        try:
            with pq.ParquetFile(path) as file:
                writer.write_tables(map(file.read_row_group, range(file.num_row_groups)))
        except (pa.ArrowException, FileNotFoundError) as error:
            line = str(error).splitlines()[0]
            raise ForecastError(f"{path}: cannot be read ({line}); score it anew") from error
    return found
