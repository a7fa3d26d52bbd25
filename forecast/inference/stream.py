"""`Stream`: collects live traffic frame by frame, and predicts after any frame."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.datasets.time_grid import require_microseconds
from forecast.datasets.windows import WindowSpec, window
from forecast.errors import ForecastError, require
from forecast.inference.live_tubes import LiveTubes
from forecast.inference.recording import Frame, Recording
from forecast.inference.weights import Training
from forecast.inference.windows import forecast_window, horizon_steps, observed
from forecast.models.forecaster import PedestrianForecaster
from forecast.scene import AgentKind, LaneMap, Prediction, Scene, Tracks
from forecast.scene.arguments import real_number
from forecast.scene.flicker import flicker
from forecast.scene.parsing import require_map_near, require_radians, within_reach
from forecast.scene.resampling import JITTER, Resampling, history_resampling

_FAR_ORIGIN_M = 200.0
"""No sensor sees as far. Agents seen first that lie this close to the origin's numbers, and much
closer than to the frames' origin, are in world coordinates."""


class Stream:
    """Collects frames at any rate, regular or not, and predicts after any frame.

    A prediction starts from the history at the model's steps back from the last frame. Positions
    between two frames are interpolated. So it equals, bit for bit, what `Forecaster.predict` makes
    of a scene with the frames at these times, if there are frames at these times, and if no agent
    without a heading has stood for longer than the history: it faces as before. Frames may be
    missed or late. A frame older than the last one is put at its place in time.

    A tracker misses agents now and then, and sensors may send frames of their own. So an agent that
    the frames of the last ``hold_s`` lack still takes part: it goes straight on.

    The last label of an agent counts. A jump that no agent of its kind can make is a new track
    (`forecast.scene.continuity`).

    Args:
        model: The network.
        training: Training data and settings of the weights.
        lane_map: The map or None.
        step_s: The model's step.
        dt_s: Step of the predictions.
        origin_m: World position ``[2]`` of the frames' origin.
        forget_s: Agents not observed for this time are dropped.
        hold_s: Agents not observed for up to this time go straight on; the others are not
            predicted until they are seen again.
        adapt: Whether the tubes adapt to this recording; see `Forecaster.stream`.

    Raises:
        ForecastError: ``forget_s`` is shorter than a step or longer than the history, ``hold_s`` is
            below 0 or longer than a step, or the weights that are to adapt have no tubes.
    """

    def __init__(
        self,
        model: PedestrianForecaster,
        training: Training,
        lane_map: LaneMap | None,
        step_s: float,
        dt_s: float,
        origin_m: NDArray[np.float64],
        forget_s: float,
        hold_s: float,
        adapt: bool,
    ) -> None:
        if adapt and training.calibration is None:
            raise ForecastError(
                "adapt: the weights have no tubes that could adapt; calibrate them "
                "('forecast calibrate'), or leave adapt out"
            )
        forget_s = real_number("forget_s", forget_s, "a time in seconds")
        hold_s = real_number("hold_s", hold_s, "a time in seconds")
        require(forget_s >= step_s, "forget_s", forget_s, f"at least one step ({step_s} s)")
        require(0 <= hold_s <= step_s, "hold_s", hold_s, f"0 to one step ({step_s} s)")
        self.dt_s, self.origin_m = dt_s, origin_m
        self.mended: Counter[str] = Counter()
        self._model, self._training, self._lane_map = model, training, lane_map
        self._step_s, self._forget_us = step_s, round(forget_s * 1e6)
        self._hold_us, self._frames = round(hold_s * 1e6), 0
        # One frame before the history may be needed to interpolate its first step.
        self._kept_us = round((training.history_steps + JITTER) * step_s * 1e6)
        longest = f"at most {self._kept_us / 1e6:g} s, which the model looks back"
        require(self._forget_us <= self._kept_us, "forget_s", forget_s, longest)
        self._recording = Recording.empty()
        self._predictions: list[Prediction] = []
        self._live = LiveTubes(step_s) if adapt else None

    def __repr__(self) -> str:
        known = self._recording
        last = (
            f"the last at {known.times_us[-1] / 1e6:.3f} s" if len(known.times_us) else "none yet"
        )
        frames = f"{len(known.times_us)} frames kept, {last}"
        return f"Stream({len(known.names)} agents, {frames}, steps of {self.dt_s:g} s)"

    @property
    def agent_ids(self) -> list[str]:
        """Names of the tracked agents ``[A]``."""
        return list(self._recording.names.tolist())

    @property
    def held_ids(self) -> list[str]:
        """Names of the agents that the last frame lacks and that still take part."""
        known = self._recording
        held = known.missing() & ~known.held(self._hold_us, self._step_us).missing()
        return list(known.names[held].tolist())

    @property
    def _step_us(self) -> int:
        return round(self._step_s * 1e6)

    def reset(self) -> None:
        """Forgets all frames and predictions: the next frame may be of any time and place."""
        self._recording, self._predictions, self._frames = Recording.empty(), [], 0
        self._live = None if self._live is None else LiveTubes(self._step_s)

    @property
    def tube_factors(self) -> dict[str, float]:
        """What the radii of the tubes are multiplied by, for each group of pedestrians.

        The groups are those of the calibration. Empty if the stream does not adapt.
        """
        return {} if self._live is None else self._live.factors

    def observe(self, frame: Frame) -> None:
        """Takes a frame.

        Args:
            frame: A frame at another time than the earlier ones.

        Raises:
            ForecastError: A frame of that time was observed already, the frame is older than the
                history, the times are in another unit, an agent is too far from the origin, or the
                first frame is in world coordinates.
        """
        require(isinstance(frame, Frame), "frame", repr(frame)[:60], "a forecast.Frame")
        self._check_time(frame.at_us)
        words = "positions relative to the stream's origin_m"
        within_reach("frame", frame.positions_m, frame.agent_ids, words)
        self._check_first(frame)
        if not len(self._recording.times_us):
            require_map_near("frame", self._lane_map, frame.positions_m)
        self.mended["typical_size"] += frame.mended
        known_us = self._recording.times_us
        # A late frame is of a time for which others have checked the predictions.
        if self._live is not None and (not len(known_us) or frame.at_us > known_us[-1]):
            self._live.check(frame.at_us, frame.agent_ids, frame.kinds, frame.positions_m)
        recording = self._recording.with_frame(frame.moving())
        now_us = recording.times_us[-1]
        if frame.at_us == now_us:
            recording = recording.without(frame.agent_ids[frame.kinds == AgentKind.STATIC])
        frames = recording.times_us >= now_us - self._kept_us
        never_us = np.iinfo(np.int64).min
        seen_us = np.where(recording.valid, recording.times_us, never_us)
        last_us = seen_us.max(axis=1, initial=never_us)
        agents = last_us >= now_us - self._forget_us
        self._recording = recording.select(agents, frames)
        self._frames += 1

    def scene(self) -> Scene:
        """The history at the model's steps, up to the last frame.

        It can be given to `Forecaster.imagine` or `Forecaster.rank_plans`, with its last step.

        Raises:
            ForecastError: No frame was observed yet, or headings are in degrees.
        """
        known = self._recording.held(self._hold_us, self._step_us)
        if not len(known.times_us):
            raise ForecastError("the stream has observed no frame; call observe() first")
        steps = self._training.history_steps
        observed = known.positions_m, known.valid, known.times_us, known.kinds
        wanted_us, way = history_resampling(*observed, dt_s=self._step_s, steps=steps)
        places = way.values(known.positions_m)
        headings, recorded = self._headings(known, way, places)
        tracks = Tracks(
            agent_ids=known.names,
            kinds=known.kinds,
            categories=np.array([AgentKind(kind).name.lower() for kind in known.kinds], np.str_),
            positions_m=places.astype(np.float32),
            headings_rad=headings,
            sizes_m=known.sizes_m,
            valid=way.valid,
        )
        return Scene(
            id="stream",
            location="",
            description="",
            dt_s=self._step_s,
            timestamps_us=wanted_us,
            tracks=tracks,
            lane_map=self._lane_map,
            origin_m=self.origin_m,
            frame_ids=np.full(steps, "", np.str_),
            headings_recorded=recorded,
        )

    def _headings(
        self, seen: Recording, way: Resampling, places: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], bool]:
        """Headings ``[A, T]``, and whether they say more than the positions ``[A, T, 2]`` do.

        Where none is given, it follows from the movement. An agent that has not moved in the
        history faces as before: a car that stands, where it came from. Without any given heading
        that holds only if it makes the headings of all vehicles known.
        """
        given, others = way.angles(seen.headings_rad), seen.kinds != AgentKind.PEDESTRIAN
        moved, moves = geometry.motion_headings(places, way.valid)
        checked = moves & way.valid & others[:, None]
        require_radians("stream", given, moved, places, checked, seen.names)
        before = ~moves[:, -1] & np.isfinite(seen.facings_rad)
        any_given = not np.isnan(given[way.valid]).all()
        if not any_given:  # as the window derives them
            moved, _ = geometry.motion_headings(places, way.valid, observed=places.shape[1])
        present = others & way.valid[:, -1]
        known = before | moves[:, -1]
        recorded = any_given or bool((before & present).any() and known[present].all())
        if not recorded:
            before[:] = False
        derived = np.where(before[:, None], seen.facings_rad[:, None], moved)
        headings = np.where(way.valid, np.where(np.isnan(given), derived, given), 0)
        return headings.astype(np.float32), recorded

    def predict(
        self,
        *,
        horizon_s: float = 6.0,
        samples: int = 20,
        seed: int = 0,
        ego_plan: NDArray[Any] | None = None,
        plan_dt_s: float | None = None,
        dt_s: float | None = None,
    ) -> Prediction:
        """Imagines joint futures of the agents in the last frame, and of `held_ids`.

        Args:
            horizon_s: As in `Forecaster.predict`.
            samples: As in `Forecaster.predict`.
            seed: As in `Forecaster.predict`.
            ego_plan: Poses ``[T', 3]`` of the ego in the stream's frame up to the horizon, or None.
            plan_dt_s: As in `Forecaster.predict`.
            dt_s: Step of the prediction; default: the stream's.

        Raises:
            ForecastError: No frame was observed yet, or an argument is wrong.
        """
        scene, dt_s = self.scene(), self.dt_s if dt_s is None else dt_s
        steps = horizon_steps(horizon_s, self._step_s, dt_s)
        history = self._training.history_steps
        spec = WindowSpec(history, steps, min_history_steps=1)
        nobody = np.zeros(len(scene.tracks), bool)
        cut = window(scene, history - 1, spec, scored=nobody)
        options: dict[str, Any] = {"seed": seed, "ego_plan": ego_plan, "plan_dt_s": plan_dt_s}
        options |= {"horizon_s": horizon_s, "dt_s": dt_s, "samples": samples}
        prediction = forecast_window(self._model, self._training, cut, self.origin_m, **options)
        if self._live is not None:
            seen = observed(cut)
            prediction = self._live.adapted(prediction, seen)
            # What the ego was only asked about may not have happened.
            if ego_plan is None:
                self._live.remember(prediction, seen)
        self._predictions = [*self._predictions[-1:], prediction]
        return prediction

    def flicker(self) -> dict[str, float]:
        """Distance between the last two predictions, in metres, by agent name.

        See the function `flicker`.

        Raises:
            ForecastError: There were fewer than two predictions, or they have no time in common.
        """
        require(len(self._predictions) == 2, "predictions", len(self._predictions), "at least 2")
        return flicker(*self._predictions)

    def _check_first(self, frame: Frame) -> None:
        """Refuses a first frame in world coordinates, also where the world is a few km large."""
        far_m = float(np.hypot(*self.origin_m))
        if len(self._recording.times_us) or not len(frame.agent_ids) or far_m < _FAR_ORIGIN_M:
            return
        middle = np.median(frame.positions_m, axis=0)
        off_m = float(np.hypot(*(middle - self.origin_m)))
        if off_m < min(_FAR_ORIGIN_M, float(np.hypot(*middle)) / 2):
            raise ForecastError(
                f"frame: positions_m lie {off_m:.0f} m from origin_m as numbers: world "
                "coordinates? positions relative to origin_m are needed"
            )

    def _check_time(self, at_us: int) -> None:
        """Checks the time of a new frame; raises `ForecastError`."""
        known = self._recording.times_us
        if not len(known):
            return
        new = at_us not in known
        require(new, "frame: at_us", at_us, "a time of which no frame was observed yet")
        if self._frames == 1:
            self._check_unit(abs(at_us - int(known[-1])) / 1e6)
        late_s = (int(known[-1]) - at_us) / 1e6
        late = f"{late_s:.2f} s before the last frame"
        held_s = self._kept_us / 1e6
        need = f"a time at most {held_s:g} s before it (call reset() if the clock was changed)"
        require(late_s <= held_s, "frame: at_us", late, need)

    def _check_unit(self, interval_s: float) -> None:
        """Checks the unit of the first interval; raises `ForecastError`.

        It may also have been a pause. So the stream begins anew after the error.
        """
        try:
            require_microseconds("frame: at_us", interval_s)
        except ForecastError:
            self.reset()
            raise
