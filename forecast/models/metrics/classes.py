"""Metrics with state: sums and counts that add up over batches and processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from forecast.models.metrics.registry import METRICS, spec
from forecast.models.metrics.scored import Scored


class PerAgentMean(Metric):
    """Mean of per-agent values; NaN values (which could not be computed) are not counted.

    Attributes:
        total: Sum of the values so far.
        count: Their number.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Adds values of any shape."""
        self.total += values.detach().double().nansum()
        self.count += (~values.isnan()).sum()

    def compute(self) -> Tensor:
        """The mean; NaN if nothing was counted."""
        return self.total / self.count


class ScoredMean(PerAgentMean):
    """Mean over the scored agents of one metric of the registry."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        spec(name)
        self.name = name  # not the function: metrics are pickled to other processes

    def update(self, scored: Scored) -> None:  # type: ignore[override]
        """Adds the agents of one window."""
        super().update(spec(self.name).function(scored))


def collection(names: Iterable[str] = METRICS, prefix: str | None = None) -> MetricCollection:
    """The named metrics, to be updated together with a `Scored`.

    Compute groups are off: they would merge metrics that agree on the first batch by chance, such
    as ``min_ade_5_m`` and ``min_ade_10_m``.
    """
    metrics: dict[str, Any] = {name: ScoredMean(name) for name in names}
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)
