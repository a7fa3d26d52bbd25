"""The one place where evaluation asks what a predictor can do beyond `Predictor.predict`.

`Subject.of` looks at a predictor once. Everything else in evaluation uses a `Subject` and treats
all predictors alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from forecast.models.baselines import NamedPredictor


@runtime_checkable
class Traceable(Protocol):
    """Optional: the predictor knows what it was made from."""

    def provenance(self) -> dict[str, Any]:
        """What the predictor is, in plain JSON values.

        Returns:
            ``weights_sha256``; ``config``, a nested dict; ``version`` of the package that trained
            it; ``learnt_from``, ``{"fingerprint": …, "scenes": [name, …]}`` by the store's path;
            ``calibrated_on``, the same of what its tubes were fitted on, if they were.
        """
        ...


@runtime_checkable
class RecordedAnswers(Protocol):
    """Optional: the predictor only returns stored predictions, as one that reads a file does.

    Attributes:
        is_marginal: Whether the agents of some window have samples or weights of their own, so
            that sample k is no joint future.
        counts: Numbers of predictions by what was done with them when they were read.
    """

    is_marginal: bool
    counts: Mapping[str, int]

    def alone(self, agent: str) -> NamedPredictor:
        """The same predictor with the samples and weights of one agent."""
        ...


@dataclass(frozen=True, eq=False)
class Subject:
    """A predictor under evaluation, with its optional abilities resolved.

    Attributes:
        predictor: The predictor.
        stored: The predictor where it only returns stored predictions, else None. Such a predictor
            must cover every window, and cannot be audited with changed scenes.
        source: The predictor where it knows what it was made from, else None.
    """

    predictor: NamedPredictor
    stored: RecordedAnswers | None
    source: Traceable | None

    @classmethod
    def of(cls, predictor: NamedPredictor) -> Subject:
        """Resolves the optional abilities of any predictor."""
        return cls(
            predictor,
            stored=predictor if isinstance(predictor, RecordedAnswers) else None,
            source=predictor if isinstance(predictor, Traceable) else None,
        )

    @property
    def name(self) -> str:
        """The predictor's name."""
        return self.predictor.name

    @property
    def is_joint(self) -> bool:
        """Whether sample k is one joint future of all agents."""
        return self.stored is None or not self.stored.is_marginal

    def alone(self, agent: str) -> Subject:
        """The subject with the samples and weights of one agent; itself where they are joint."""
        return self if self.stored is None else Subject.of(self.stored.alone(agent))

    def provenance(self) -> dict[str, Any] | None:
        """See `Traceable.provenance`; None where the predictor does not know."""
        return None if self.source is None else self.source.provenance()
