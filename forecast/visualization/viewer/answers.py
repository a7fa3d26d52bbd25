"""`Answers`: computes what a page asks for, from a store and a predictor."""

from __future__ import annotations

import contextlib
import math
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.datasets.store import SceneStore
from forecast.datasets.windows import protocol_of
from forecast.errors import ForecastError
from forecast.inference import PACKAGED, Forecaster, World, observed
from forecast.models.baselines import BASELINES, NamedPredictor
from forecast.models.calibration.ood import features
from forecast.planning import EgoState, Ranking, candidates
from forecast.scene import AgentKind, LaneMap, Polygons, Prediction, Scene
from forecast.scene.agents import TYPICAL_SIZE_M
from forecast.visualization.viewer.driven import drive_along
from forecast.visualization.viewer.edited import commands, edited_scene, save_scene
from forecast.visualization.viewer.edits import AddEdit, FollowEdit, ObstacleEdit
from forecast.visualization.viewer.effects import displacement_errors, effects
from forecast.visualization.viewer.entry import ego_lane, ego_of, entries
from forecast.visualization.viewer.frames import encode_frame
from forecast.visualization.viewer.regions import regions_of
from forecast.visualization.viewer.state import AskDrive, AskFutures, AskRanking, PageState, Request

Parts: TypeAlias = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""The header and the arrays of a frame."""

_KEPT = 16
"""Unedited futures and worlds that are kept, for all pages together."""

_BASELINES = ("constant_velocity", "kalman", "stationary")
"""Those that need no training scenes."""

_PEOPLE = (AgentKind.PEDESTRIAN, AgentKind.CYCLIST)
_TABLE_PLANS = 8
_ERROR_HORIZONS_S = (3.0, 6.0)
_SAME_RAD = 1e-3


class _Imagined(NamedTuple):
    """A world before any step, and its futures without edits."""

    world: World
    before: Prediction


class Answers:
    """Answers requests; it keeps nothing of a page.

    Not for several threads at once.

    Args:
        store: The scenes.
        predictor: What predicts. Only a `Forecaster` allows edits and rankings.
        named: Its name on the command line, for the Python that is shown.
        out: Folder for saved scenes.
    """

    def __init__(
        self, store: SceneStore, predictor: NamedPredictor | Forecaster, named: str, out: Path
    ) -> None:
        self.store, self.predictor, self.named, self.out = store, predictor, named, out
        self.horizon_s = protocol_of(store.protocol).horizon_s
        self._recorded = lru_cache(_KEPT)(self._predict)
        self._worlds = lru_cache(_KEPT)(self._imagine)
        self._entries = lru_cache(_KEPT)(self._entries_before)

    def scenes(self) -> dict[str, Any]:
        """What there is to show."""
        return {
            "store": str(self.store.path),
            "source": self.store.source,
            "scenes": self.store.scene_names,
            "predictor": self.predictor.name,
            "editable": isinstance(self.predictor, Forecaster),
            "horizon_s": self.horizon_s,
        }

    def warm_up(self) -> None:
        """Computes one of each answer, so that what is compiled at its first use is there."""
        name = self.store.scene_names[0]
        middle = PageState(name, self.store[name].steps // 2)
        asked: list[Request] = [AskFutures(0, middle)]
        if isinstance(self.predictor, Forecaster):
            edit = AddEdit("forecast-warm-up", "pedestrian", (0.0, 0.0), speed_mps=1.0)
            asked += [AskFutures(0, msgspec.structs.replace(middle, edits=[edit]))]
            asked += [AskRanking(0, middle)]
        for request in asked:
            with contextlib.suppress(ForecastError):  # such as a scene without an ego
                self.answer(request)

    def scene(self, name: str) -> bytes:
        """A frame with tracks and map of a scene.

        Raises:
            ForecastError: There is no such scene.
        """
        scene = self.store[name]
        tracks = scene.tracks
        kinds = [AgentKind(kind).name.lower() for kind in tracks.kinds.tolist()]
        between = scene.interpolated
        header = {
            "scene": scene.id,
            "location": scene.location,
            "description": scene.description,
            "dt_s": scene.dt_s,
            "steps": scene.steps,
            "agents": tracks.agent_ids,
            "kinds": kinds,
            "categories": tracks.categories,
            "between": [] if between is None else np.flatnonzero(between),
        }
        seen = {"positions": scene.positions_m, "headings": tracks.headings_rad}
        return encode_frame(header, {**seen, "sizes": tracks.sizes_m, **_map(scene.lane_map)})

    def answer(self, request: Request) -> bytes:
        """The frame that answers a request.

        Raises:
            ForecastError: The state or an argument is refused.
        """
        start = time.perf_counter()
        if isinstance(request, AskFutures):
            header, arrays = self.futures(request.state)
        elif isinstance(request, AskRanking):
            header, arrays = self.ranking(request.state, request.plans)
        else:
            header, arrays = self.drive(request), {}
        took_ms = 1e3 * (time.perf_counter() - start)
        about = {"id": request.id, "answers": request.__struct_config__.tag, "took_ms": took_ms}
        return encode_frame({**about, **header}, arrays)

    def futures(self, state: PageState) -> Parts:
        """The futures of a state, with those before its edits if it has any.

        Raises:
            ForecastError: There is no such scene or step, or an edit is refused.
        """
        scene = self.store[state.scene]
        asked = state.scene, scene.prediction_step(state.at), state.samples, state.seed
        if not state.edits:
            made, wrong = self._recorded(*asked)
            now = _now(scene, asked[1], made.agent_ids)
            header: dict[str, Any] = {"source": "predict", "errors": wrong}
            return self._frame(state, scene.between(0, asked[1] + 1), made, now, header)
        _, before = self._worlds(*asked)
        world, seen = self._world(state), self._seen(state)
        now, after = _now_of(world, seen), world.step(before.steps).prediction()
        header = {"source": "World", "effects": effects(before, after)}
        header, arrays = self._frame(state, seen, after, now, header)
        if (ego := ego_of(seen, -1)) is not None:
            header["entry_before"] = self._entries(*asked, ego)
        header["before_agents"] = before.agent_ids
        return header, arrays | {
            "before": before.positions_m,
            "before_mode": before.most_probable(),
        }

    def edited(self, state: PageState) -> Scene:
        """The scene of a state with its edits, up to the current step.

        Raises:
            ForecastError: There is no such scene or step, or an edit is refused.
        """
        self._world(state)  # refuses what no agent can do
        return self._seen(state)

    def _seen(self, state: PageState) -> Scene:
        """As `edited`, for edits that a world has accepted."""
        scene, forecaster = self.store[state.scene], self._forecaster()
        every = math.ceil(forecaster.step_s(scene.id, scene.dt_s) / scene.dt_s - 1e-6)
        steps = (forecaster.training.history_steps - 1) * every + 1
        return edited_scene(scene, scene.prediction_step(state.at), state.edits, steps)

    def _world(self, state: PageState) -> World:
        """The world of a state with its edits, before any step."""
        at = self.store[state.scene].prediction_step(state.at)
        world = self._worlds(state.scene, at, state.samples, state.seed).world.fork()
        for edit in state.edits:
            edit.apply(world)
        return world

    def ranking(
        self, state: PageState, count: int
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Ranks candidate plans of the ego in the edited scene.

        Raises:
            ForecastError: As in `futures`, or there is no ego.
        """
        forecaster, scene, at = self._forecaster(), self.store[state.scene], state.at
        if state.edits:
            scene, at = self.edited(state), -1
        ego, step_s = EgoState.of(scene, at), forecaster.step_s(scene.id, scene.dt_s)
        horizon_s = round(self.horizon_s / step_s) * step_s
        plans = candidates(ego, count, scene.lane_map, horizon_s=horizon_s, dt_s=step_s)
        drawn: dict[str, Any] = {"samples": state.samples, "seed": state.seed}
        ranked = forecaster.rank_plans(scene, at, plans, **drawn)
        # Among many plans, these two may be left behind with few samples and without reactions. The
        # same samples, all of them and with reactions, make them comparable with the best.
        usual = forecaster.rank_plans(scene, at, plans[:2], **drawn)
        header = {
            "dt_s": step_s,
            "plans_compared": len(plans),
            "best": ranked.best,
            "why": _why(ranked),
            "table": [_row(ranked, int(plan)) for plan in ranked.order[:_TABLE_PLANS]],
            "conflict": _conflict(ranked),
            "keep": _priced_row(usual, ranked, 0),
            "brake": _priced_row(usual, ranked, 1),
            "left_out": commands(state.edits),
        }
        return header, {"plans": plans, "risk": ranked.risk, "cost": ranked.cost}

    def drive(self, request: AskDrive) -> dict[str, Any]:
        """The edit that lets the ego drive along a drawn path.

        Raises:
            ForecastError: As in `futures`, or the path is too short.
        """
        state = request.state
        scene, step_s = self.edited(state), self._forecaster().step_s(state.scene, self.store.dt_s)
        ego, steps = EgoState.of(scene, -1), round(self.horizon_s / step_s)
        poses = drive_along(request.path_m, ego, request.speed_mps, steps, step_s)
        rounded = [tuple(round(value, 4) for value in pose) for pose in poses.tolist()]
        return {"edit": FollowEdit(rounded)}

    def save(self, state: PageState) -> dict[str, Any]:
        """Writes the edited scene as a store.

        Raises:
            ForecastError: As in `futures`, or it cannot be written.
        """
        path = save_scene(self.edited(state), self.out, self.store)
        return {"path": str(path.absolute()), "left_out": commands(state.edits)}

    def _forecaster(self) -> Forecaster:
        known = self.predictor
        if not isinstance(known, Forecaster):
            raise ForecastError(
                f"predictor '{known.name}' cannot imagine edits; give weights, such as town"
            )
        return known

    def _predict(
        self, name: str, at: int, samples: int, seed: int
    ) -> tuple[Prediction, dict[str, list[dict[str, Any]]]]:
        """The futures of a recorded scene, and their errors beside those of the baselines."""
        scene = self.store[name]
        options: dict[str, Any] = {"horizon_s": self.horizon_s, "samples": samples, "seed": seed}
        made = self.predictor.predict(scene, at, **options)
        others = {
            name: BASELINES[name](None, samples, seed).predict(scene, at, **options)
            for name in _BASELINES
        }
        horizons = [each for each in _ERROR_HORIZONS_S if each <= self.horizon_s]
        return made, displacement_errors(scene, at, made, others, horizons)

    def _imagine(self, name: str, at: int, samples: int, seed: int) -> _Imagined:
        forecaster = self._forecaster()
        world = forecaster.imagine(self.store[name], at, samples=samples, seed=seed)
        before = world.fork().step(round(self.horizon_s / world.dt_s)).prediction()
        return _Imagined(world, before)

    def _entries_before(
        self, name: str, at: int, samples: int, seed: int, ego: EgoState
    ) -> dict[str, dict[str, Any]]:
        """Who enters the lane of an ego in the futures without edits."""
        _, before = self._worlds(name, at, samples, seed)
        tracks = self.store[name].tracks
        people = np.isin(before.agent_ids, tracks.agent_ids[np.isin(tracks.kinds, _PEOPLE)])
        return entries(before, people, ego_lane(self.store[name].lane_map, ego))

    def _frame(
        self,
        state: PageState,
        seen: Scene,
        made: Prediction,
        now: NDArray[Any],
        header: dict[str, Any],
    ) -> Parts:
        """Adds what all futures have; ``seen`` is the scene up to the present."""
        ego = ego_of(seen, -1)
        lane = None if ego is None else ego_lane(seen.lane_map, ego)
        kinds, sizes = _bodies(self.store[state.scene], state, made.agent_ids.tolist())
        regions = regions_of(made)
        header |= {
            "state": state,
            "dt_s": made.dt_s,
            "agents": made.agent_ids,
            "kinds": kinds,
            "valid": made.valid,
            "weights": made.weights,
            "fallback": [] if made.fallback is None else made.agent_ids[made.fallback],
            "ood": self._ood(seen),
            "entry": {} if lane is None else entries(made, _are_people(kinds), lane),
            "levels": [] if regions is None else regions.levels,
            "calibrated": regions is not None and regions.calibrated,
            "mode_counts": [each.count for each in made.mode_sets],
            "code": self._code(state),
        }
        arrays = {
            "positions": made.positions_m,
            "mode": made.most_probable(),
            "now": now,
            "sizes": sizes,
            "lane": np.zeros((0, 2)) if lane is None else np.array(lane.exterior.coords),
        }
        if regions is not None:
            arrays["regions"] = regions.ellipses
        for each in made.mode_sets:
            arrays[f"modes.{each.count}"] = each.positions_m
            arrays[f"mode_shares.{each.count}"] = each.probabilities
        return header, arrays

    def _code(self, state: PageState) -> str | None:
        """The Python of a state; None for a predictor that `forecast.load` does not read."""
        weights = Path(self.named)
        if not isinstance(self.predictor, Forecaster):
            return None
        if self.named not in PACKAGED and not weights.exists():  # such as module:name
            return None
        named = self.named if self.named in PACKAGED else str(weights.absolute())
        return state.code(str(self.store.path.absolute()), named, self.horizon_s)

    def _ood(self, scene: Scene) -> dict[str, dict[str, float]]:
        """OOD scores of the pedestrians at the last step by name; empty without a detector."""
        known = self.predictor
        if not isinstance(known, Forecaster) or known.training.ood is None:
            return {}
        cut = known.window(scene, -1, 1)
        seen, detector = observed(cut), known.training.ood
        scores = detector.score(features(seen))
        return {
            str(cut.agent_ids[row]): {"score": float(scores[row]), "most": detector.threshold}
            for row in np.flatnonzero(seen.pedestrians)
        }


def _now(scene: Scene, at: int, names: NDArray[np.str_]) -> NDArray[np.float64]:
    """Place, heading and speed of agents ``[A, 4]`` at a step of a scene."""
    tracks = scene.tracks
    row_of = {name: row for row, name in enumerate(tracks.agent_ids.tolist())}
    rows = np.array([row_of[name] for name in names.tolist()], np.int64)
    positions, at = scene.positions_m[rows], scene.step(at)
    back = positions[:, at] - positions[:, max(at - 1, 0)]
    speed = np.nan_to_num(np.linalg.norm(back, axis=-1)) / scene.dt_s
    return np.column_stack([positions[:, at], tracks.headings_rad[rows, at], speed])


def _now_of(world: World, seen: Scene) -> NDArray[np.float64]:
    """As `_now`, for an edited world before any step.

    A person whose heading is unknown faces another way in every sample. The heading of the edited
    scene is shown then.
    """
    shown = _now(seen, -1, np.array(world.agent_ids))
    shown[:, :2] = world.positions_m[0]
    shown[:, 3] = np.linalg.norm(world.velocities_mps[0], axis=-1)
    headings = world.headings_rad
    agree = (np.abs(geometry.wrap_angle(headings - headings[0])) < _SAME_RAD).all(axis=0)
    shown[agree, 2] = headings[0, agree]
    return shown


def _bodies(
    scene: Scene, state: PageState, names: list[str]
) -> tuple[list[str], NDArray[np.float32]]:
    """Kinds and sizes ``[A, 3]`` of agents, recorded or added."""
    tracks = scene.tracks
    kinds = [AgentKind(kind).name.lower() for kind in tracks.kinds.tolist()]
    rows: list[tuple[str, Any]] = list(zip(kinds, tracks.sizes_m, strict=True))
    known = dict(zip(tracks.agent_ids.tolist(), rows, strict=True))
    for edit in state.edits:
        if isinstance(edit, AddEdit):
            typical = TYPICAL_SIZE_M[AgentKind[edit.kind.upper()]]
            known[edit.agent] = edit.kind, edit.size_m or typical
        elif isinstance(edit, ObstacleEdit):
            known[edit.name] = "obstacle", edit.size_m
    found = [known[name] for name in names]
    sizes = np.array([size for _, size in found], np.float32).reshape(-1, 3)
    return [kind for kind, _ in found], sizes


def _are_people(kinds: list[str]) -> NDArray[np.bool_]:
    """Which agents ``[A]`` are on foot or on a cycle, by the names of their kinds."""
    return np.isin(kinds, [kind.name.lower() for kind in _PEOPLE])


def _row(ranked: Ranking, plan: int) -> dict[str, Any]:
    """Figures of a plan."""
    names = (
        "cost",
        "risk",
        "collision_probability",
        "collision_low",
        "collision_high",
        "ttc_tail_s",
        "distance_tail_m",
        "progress_m",
        "acceleration_mps2",
        "samples",
        "reactive",
    )
    return {"plan": plan, **{name: getattr(ranked, name)[plan].item() for name in names}}


def _priced_row(again: Ranking, ranked: Ranking, plan: int) -> dict[str, Any]:
    """Figures of a plan that was measured again, with the prices that it has among all plans."""
    price = float(ranked.cost[plan] - ranked.risk[plan])
    return _row(again, plan) | {"cost": price + float(again.risk[plan])}


def _conflict(ranked: Ranking) -> dict[str, Any] | None:
    """Whom the best plan touches or comes closest to, and in which share; None without an agent."""
    partners = ranked.partners(ranked.best)
    if not partners:
        return None
    first = partners[0]
    share = first.collision_probability or first.probability
    return {"agent": first.agent_id, "touches": first.collision_probability > 0, "share": share}


def _why(ranked: Ranking) -> str:
    """Why the best plan is the best, in words."""
    best, lead, cost = ranked.best, ranked.best_lead, ranked.cost
    rest = cost[best] - ranked.risk[best]
    words = (
        f"Plan {best} has the lowest cost, {cost[best]:.2f}: risk {ranked.risk[best]:.2f}, and "
        f"{rest:.2f} for speed, comfort and road. Chance of contact "
        f"{ranked.collision_probability[best]:.0%}, at most {ranked.collision_high[best]:.0%}."
    )
    if lead is None:
        return words
    sure = "does not" if lead.real else "may"
    return (
        f"{words} On the same samples, its lead over plan {lead.second} is "
        f"{lead.difference:.2f} ({lead.low:.2f} to {lead.high:.2f}), so the order {sure} "
        "depend on the samples."
    )


def _map(lane_map: LaneMap | None) -> dict[str, NDArray[Any]]:
    """Points and offsets of all parts of a map; areas have the offsets of their polygons, too."""
    parts = LaneMap() if lane_map is None else lane_map
    arrays: dict[str, NDArray[Any]] = {}
    for name in ("centerlines", "dividers"):
        lines = getattr(parts, name)
        arrays |= {f"{name}.points": lines.points_m, f"{name}.offsets": lines.offsets}
    for name in ("drivable_area", "walkways", "crosswalks"):
        areas: Polygons = getattr(parts, name)
        rings = areas.rings
        arrays |= {f"{name}.points": rings.points_m, f"{name}.offsets": rings.offsets}
        arrays[f"{name}.polygons"] = areas.offsets
    return arrays
