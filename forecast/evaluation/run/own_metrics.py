"""Metrics of one's own, beside those of the registry.

A metric is a function of a `Scored` that returns one value for each scored agent ``[N]``, NaN where
it is not defined::

    def late_error_m(scored):
        '''error of the best guess at the last step'''
        return (scored.mode_m - scored.truth_m)[:, -1].norm(dim=-1)

The function's name is the metric's, the first line of its documentation the definition, and the end
of the name the unit: ``_m``, ``_m2``, ``_s``, ``_mps``, ``_rad``; any other is a share or a count.
Lower is better. A `MetricSpec` of that name in place of the function says all this itself, and
whether higher or a target is better.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forecast.errors import ForecastError, require
from forecast.evaluation.run.own_code import OwnCode, imported, in_words, is_importable
from forecast.evaluation.scoring.rows import QUANTITIES
from forecast.models.metrics.registry import MetricSpec, unit_of
from forecast.models.metrics.scored import Scored

_COLUMNS = frozenset(
    {
        "predictor",
        "scene_id",
        "sample_token",
        "agent_id",
        "category",
        "at",
        "at_us",
        "mover",
        "fallback",
    }
)
_PREFIXES = ("error_top1_", "modes_", "selected_", "weighted_")
"""Columns of ``rows.parquet`` and names in ``forecast compare`` that a metric must not have."""

_AGENTS = 3
"""Agents of the made-up window on which a metric is tried."""


@dataclass(frozen=True, eq=False)
class OwnMetric:
    """A metric of one's own. Another process that it is sent to imports it anew.

    Attributes:
        code: Where it was imported from.
        spec: What it is.
    """

    code: OwnCode
    spec: MetricSpec

    def __call__(self, scored: Scored) -> Tensor:
        """Values ``[N]``, float64; raises `ForecastError` if the function fails or gives others."""
        agents = len(scored.truth_m)
        # A copy, so that a function that changes its input does not change the other metrics.
        parts = {each.name: getattr(scored, each.name) for each in fields(Scored)}
        copies: dict[str, Any] = {
            n: part.clone() for n, part in parts.items() if torch.is_tensor(part)
        }
        try:
            found = self.spec.function(replace(scored, **copies))
            values = torch.as_tensor(found)
        except (Exception, SystemExit) as error:  # a third party's code may raise anything
            raise self._refused(f"fails: {in_words(error)}{self._place(error)}") from error
        if values.is_complex():
            raise self._refused("gives complex numbers")
        if values.shape != (agents,):
            raise self._refused(f"gives shape {list(values.shape)} for {agents} agents")
        if values.isinf().any():
            raise self._refused("gives an infinite value; NaN means that it is not defined")
        return values.double()

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """It is sent by its name, so that the function may be of any kind."""
        return own_metric, (self.code.source,)

    def try_out(self, samples: int, steps: int, dt_s: float) -> None:
        """Computes it once on a made-up window of K samples and T steps, with an ego but no map.

        Raises:
            ForecastError: It fails or gives other values than one for each agent.
        """
        time_s = dt_s * torch.arange(1, steps + 1, dtype=torch.float64)
        truth = torch.zeros(_AGENTS, steps, 2, dtype=torch.float64)
        truth[..., 0] = time_s * torch.arange(_AGENTS)[:, None]
        ego = torch.stack([5 * time_s - 10, torch.zeros(steps), torch.zeros(steps)], dim=-1)
        shift = 0.1 * torch.arange(1, samples + 1, dtype=torch.float64)
        self(
            Scored(
                samples_m=truth + shift[:, None, None, None],
                weights=torch.full((samples,), 1 / samples, dtype=torch.float64),
                mode_m=truth + 0.1,
                truth_m=truth,
                dt_s=dt_s,
                ego=ego.double(),
                ego_size_m=(4.0, 1.8),
                headings_rad=torch.zeros(_AGENTS, steps, dtype=torch.float64),
                speed_mps=torch.arange(_AGENTS, dtype=torch.float64),
            )
        )

    def facts(self) -> dict[str, Any]:
        """What it is and where it is from, in plain JSON values."""
        spec = self.spec
        return {
            "source": self.code.source,
            "file": self.code.file,
            "sha256": self.code.sha256,
            "unit": spec.unit,
            "definition": spec.definition,
            "target": spec.target,
            "higher_is_better": spec.higher_is_better,
        }

    def _place(self, error: BaseException) -> str:
        """The last line of the metric's own file that the error passed."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [each.lineno for each in frames if Path(each.filename).name == self.code.file]
        return f" ({self.code.file}:{lines[-1]})" if lines else ""

    def _refused(self, what: str) -> ForecastError:
        return _refused(self.code.source, what)


def own_metrics(sources: Iterable[str], known: Collection[str]) -> dict[str, OwnMetric]:
    """Imports metrics, by name.

    Args:
        sources: ``module:name`` of each.
        known: Names of the package's metrics.

    Raises:
        ForecastError: One cannot be imported, is no metric, or has a name that is already taken.
    """
    found: dict[str, OwnMetric] = {}
    for source in sources:
        made = own_metric(source)
        name = made.code.name
        taken = {*known, *QUANTITIES, *_COLUMNS, *found}
        free = name not in taken and not name.startswith(_PREFIXES)
        require(free, f"the name of metric '{source}'", f"'{name}'", "one that is not taken")
        found[name] = made
    return found


def own_metric(source: str) -> OwnMetric:
    """Imports one metric.

    Args:
        source: ``module:name`` of a function or a `MetricSpec`.

    Raises:
        ForecastError: It cannot be imported or is neither.
    """
    form = "module:name, such as my_metrics:late_error_m,"
    require(is_importable(source), "metric", f"'{source}'", form)
    found, code = imported("metric", source)
    spec = found if isinstance(found, MetricSpec) else _spec(source, code.name, found)
    try:
        inspect.signature(spec.function).bind(None)
    except (TypeError, ValueError) as error:
        raise _refused(source, f"cannot be called with a Scored alone ({error})") from error
    return OwnMetric(code, spec)


def _spec(source: str, name: str, found: Any) -> MetricSpec:
    """The metric of a plain function."""
    if not callable(found) or isinstance(found, type) or inspect.isbuiltin(found):
        raise _refused(source, f"is of type {type(found).__name__}")
    words = (inspect.getdoc(found) or "").strip().splitlines()
    return MetricSpec(found, unit_of(name), words[0].rstrip(".") if words else source)


def _refused(source: str, what: str) -> ForecastError:
    name = source.partition(":")[2]
    return ForecastError(
        f"metric '{source}' {what}; def {name}(scored) that returns a value for each agent [N] is "
        "needed, or a MetricSpec of one"
    )
