"""`PageState`: what one page shows, as every request carries it."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec

from forecast.errors import ForecastError
from forecast.visualization.viewer.edits import Edit, Point

MOST_SAMPLES, MOST_EDITS, MOST_PLANS = 200, 100, 2000
MOST_BYTES = 1 << 16
"""Longest message of a page."""

Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


class PageState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page shows.

    Attributes:
        scene: Name of the scene.
        at: Index of the current step.
        seed: Seed of the futures.
        samples: Number of joint futures K.
        edits: The edits, in the order in which they are made.
    """

    scene: Annotated[str, msgspec.Meta(max_length=200)]
    at: Whole
    seed: Whole = 0
    samples: Annotated[int, msgspec.Meta(ge=1, le=MOST_SAMPLES)] = 20
    edits: Annotated[list[Edit], msgspec.Meta(max_length=MOST_EDITS)] = []

    def code(self, store: str, predictor: str, horizon_s: float = 6.0) -> str:
        """The Python that gives the futures of this state.

        Args:
            store: Path of the store.
            predictor: Name or path of the weights.
            horizon_s: Length of the futures.
        """
        asked = f"scene, {self.at}, samples={self.samples}, seed={self.seed}"
        lines = [
            "import forecast",
            "",
            f"scene = forecast.open_store({store!r})[{self.scene!r}]",
            f"forecaster = forecast.load({predictor!r})",
        ]
        if self.edits:
            lines += [
                f"world = forecaster.imagine({asked})",
                f"steps = round({horizon_s:g} / world.dt_s)",
                "before = world.fork().step(steps).prediction()",
                *(edit.code() for edit in self.edits),
                "after = world.step(steps).prediction()",
            ]
        else:
            lines += [f"prediction = forecaster.predict({asked}, horizon_s={horizon_s:g})"]
        return "\n".join([*lines, ""])


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask"):
    """A message of a page.

    Attributes:
        id: Number that the answer repeats.
        state: The state of the page.
    """

    id: Whole
    state: PageState


class AskFutures(_Request, frozen=True, tag="futures"):
    """Asks for the futures of a state, see `Answers.futures`."""


class AskRanking(_Request, frozen=True, tag="ranking"):
    """Asks for a ranking of plans, see `Answers.ranking`."""

    plans: Annotated[int, msgspec.Meta(ge=2, le=MOST_PLANS)] = 1000


class AskDrive(_Request, frozen=True, tag="drive"):
    """Asks for poses along a drawn path, see `Answers.drive`."""

    path_m: Annotated[list[Point], msgspec.Meta(min_length=1, max_length=400)]
    speed_mps: Annotated[float, msgspec.Meta(ge=0, le=40)]


Request: TypeAlias = AskFutures | AskRanking | AskDrive


def read_request(text: str | bytes, kind: Any) -> Any:
    """Reads a message.

    Args:
        text: The message, in JSON.
        kind: `PageState` or `Request`.

    Raises:
        ForecastError: It is no JSON, or not of that kind.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ForecastError(f"the request cannot be read: {error}") from None
