"""Runs an evaluation: opens the predictors, scores all scenes or a shard, merges the scores."""
