"""Scores any `Predictor` on the windows of a store.

`evaluate` scores one predictor. `run_evaluation` scores a predictor and all baselines and writes
the files. `run_shard` does this for a part of the scenes; `merge_shards` makes one evaluation of
all parts.
"""

from forecast.evaluation.result import EvaluationResult, Mean, Picture, Setting
from forecast.evaluation.run.job import EvaluationConfig, run_evaluation
from forecast.evaluation.run.merging import evaluate, merge
from forecast.evaluation.run.shards import merge_shards, run_shard
from forecast.evaluation.scoring.rows import Rows

__all__ = [
    "EvaluationConfig",
    "EvaluationResult",
    "Mean",
    "Picture",
    "Rows",
    "Setting",
    "evaluate",
    "merge",
    "merge_shards",
    "run_evaluation",
    "run_shard",
]
