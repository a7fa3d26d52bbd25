"""Scores any `Predictor` on the windows of a store: `evaluate`, and `run` with floors and files.

`run_shard` does a part of what `run` does, and `merge_shards` makes one of the parts.
"""

from forecast.evaluation.job import Asked, run
from forecast.evaluation.merging import evaluate, merge
from forecast.evaluation.result import EvaluationResult, Mean, Picture, Rows, Setting
from forecast.evaluation.shards import merge_shards, run_shard

__all__ = [
    "Asked",
    "EvaluationResult",
    "Mean",
    "Picture",
    "Rows",
    "Setting",
    "evaluate",
    "merge",
    "merge_shards",
    "run",
    "run_shard",
]
