from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import CircleCollection, LineCollection, PatchCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from forecast.datasets.windows import Window, WindowSpec, window
from forecast.models.baselines import ConstantVelocity, Kalman
from forecast.scene import AgentKind, LaneMap, Polygons, Scene
from forecast.visualization.birds_eye import LIGHT, View, draw_window
from tests.scenes import street_scene

SPEC = WindowSpec(history_steps=5, horizon_steps=4)


def drawn(scene: Scene, predictor=None, **options):
    """The axes, the window and the prediction of a scene drawn at step 10."""
    axes = Figure().subplots()
    cut = window(scene, 10, SPEC)
    prediction = (predictor or Kalman()).predict(scene, 10, horizon_s=2.0, samples=6)
    draw_window(axes, cut, prediction, **options)
    axes.figure.canvas.draw()
    return axes, cut, prediction


def lines_of(axes, colour: str) -> list[np.ndarray]:
    return [
        line
        for lines in axes.collections
        if isinstance(lines, LineCollection) and to_hex(lines.get_color()[0]) == colour
        for line in lines.get_segments()
    ]


def inside(axes, points: np.ndarray) -> bool:
    (left, right), (lower, upper) = axes.get_xlim(), axes.get_ylim()
    x, y = points.reshape(-1, 2).T
    return bool(((x > left) & (x < right) & (y > lower) & (y < upper)).all())


def colour_at(axes, x_m: float, y_m: float) -> str:
    """Colour of the picture at a place on the ground."""
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    column, row = axes.transData.transform((x_m, y_m)).round().astype(int)
    return to_hex(pixels[len(pixels) - 1 - row, column] / 255)


class TestView:
    def test_shows_all_points_in_a_square(self):
        view = View.around(np.array([[0.0, 0.0], [40.0, 10.0]]))
        left, lower, right, upper = view.bounds
        assert (view.x_m, view.y_m) == (20.0, 5.0)
        assert right - left == upper - lower == 46.0

    def test_does_not_come_too_close(self):
        assert View.around(np.zeros((1, 2))).reach_m == 8.0


class TestDrawWindow:
    def test_truth_and_mode_start_at_the_pedestrian_and_are_in_view(self):
        axes, cut, prediction = drawn(street_scene())
        agents = np.flatnonzero(cut.scored)
        now = cut.positions_m[agents, 4]
        truth, mode = lines_of(axes, LIGHT.truth), lines_of(axes, LIGHT.mode)
        assert len(truth) == len(mode) == len(agents) == 3
        for i, agent in enumerate(agents):
            np.testing.assert_allclose(truth[i], [now[i], *cut.future_m[agent]])
            np.testing.assert_allclose(mode[i], [now[i], *prediction.mode_m[agent]])
            assert inside(axes, truth[i])
            assert inside(axes, mode[i])

    def test_draws_every_sample_of_a_focused_agent_alone(self):
        axes, cut, _ = drawn(street_scene(), focus=2)
        assert len(lines_of(axes, LIGHT.sample)) == 6
        assert len(lines_of(axes, LIGHT.truth)) == 1
        np.testing.assert_allclose(lines_of(axes, LIGHT.truth)[0][0], cut.positions_m[2, 4])

    def test_a_single_future_is_drawn_once_as_the_mode(self):
        axes, *_ = drawn(street_scene(), ConstantVelocity())
        assert lines_of(axes, LIGHT.sample) == []
        assert len(lines_of(axes, LIGHT.mode)) == 3

    def test_equal_samples_of_a_fallback_are_seen_around_the_best_guess(self):
        class Fallback(Kalman):
            def predict(self, scene, at, **options):
                made = super().predict(scene, at, **options)
                futures = made.positions_m.copy()
                futures[:, 1] = made.mode_m[1]  # as weights without calibrated tubes do
                return replace(made, positions_m=futures, fallback=np.arange(len(made.valid)) == 1)

        axes, _, prediction = drawn(street_scene(), Fallback())
        assert len(lines_of(axes, LIGHT.fallback)) == 6
        assert len(lines_of(axes, LIGHT.sample)) == 12
        (rings,) = (
            dots
            for dots in axes.collections
            if isinstance(dots, PathCollection) and not len(dots.get_facecolors())
        )
        ends = rings.get_offsets()
        np.testing.assert_allclose(ends, prediction.positions_m[:, 1, -1])
        end_of_mode = max(
            4 / np.pi * dots.get_sizes().max()
            for dots in axes.collections
            if isinstance(dots, CircleCollection)
            if to_hex(dots.get_facecolors()[0]) == LIGHT.mode
        )
        assert rings.get_sizes().min() > end_of_mode
        dashed = [
            lines
            for lines in axes.collections
            if isinstance(lines, LineCollection) and lines.get_linestyle()[0][1] is not None
        ]
        colours = {to_hex(lines.get_color()[0]) for lines in dashed}
        assert colours - {LIGHT.lane} == {LIGHT.fallback, LIGHT.mode}

    def test_vehicles_in_the_picture_are_boxes_of_their_size(self):
        places = np.full((4, 20, 2), 2.0)
        places[1:, :, 0] = [[5.0], [12.0], [40.0]]  # the last is out of the picture
        kinds = [AgentKind.PEDESTRIAN, AgentKind.EGO, AgentKind.VEHICLE, AgentKind.VEHICLE]
        headings = np.full((4, 20), 0.3)
        axes, cut, _ = drawn(Scene.from_arrays(places, kinds, 0.5, headings_rad=headings))
        assert axes.get_xlim()[1] == pytest.approx(10.0)  # within half a length of the third
        assert [to_hex(box.get_facecolor()) for box in axes.patches] == [LIGHT.ego, LIGHT.body]
        for agent, box in enumerate(axes.patches, start=1):
            size = box.get_width(), box.get_height()
            assert size == pytest.approx(tuple(cut.sizes_m[agent, :2]))
            assert box.get_center() == pytest.approx(tuple(cut.positions_m[agent, 4]))
            assert box.get_angle() == pytest.approx(np.degrees(0.3))

    def test_the_map_is_clipped_to_the_view_and_keeps_its_holes(self):
        big, hole = (
            np.array([[-s, -s], [s, -s], [s, s], [-s, s]], np.float32) for s in (1000.0, 0.5)
        )
        far = big / 100 + 5000
        area = Polygons.of([[big, hole], [far]])
        walk = np.full((1, 20, 2), 2.0)
        kinds = [AgentKind.PEDESTRIAN]
        scene = Scene.from_arrays(walk, kinds, 0.5, lane_map=LaneMap(drivable_area=area))
        axes, *_ = drawn(scene)
        patches = [c for c in axes.collections if isinstance(c, PatchCollection)]
        (path,) = [path for patch in patches for path in patch.get_paths()]
        assert np.abs(path.vertices).max() <= 10.0
        assert colour_at(axes, 0.0, 0.0) == "#ffffff"
        assert colour_at(axes, 5.0, 5.0) == LIGHT.road

    def test_needs_neither_a_map_nor_anybody_scored(self):
        parked = np.zeros((1, 20, 2))
        axes, *_ = drawn(Scene.from_arrays(parked, [AgentKind.VEHICLE], 0.5))
        assert lines_of(axes, LIGHT.truth) == []
        assert len(axes.patches) == 1

    def test_unknown_steps_are_not_drawn(self):
        positions = np.arange(20.0)[None, :, None] * [0.5, 0.0]
        positions[0, [8, 13, 14]] = np.nan
        axes, cut, _ = drawn(Scene.from_arrays(positions, [AgentKind.PEDESTRIAN], 0.5), focus=0)
        assert isinstance(cut, Window)
        (history,) = lines_of(axes, LIGHT.history)
        (truth,) = lines_of(axes, LIGHT.truth)
        assert history[:, 0].tolist() == [3.0, 3.5, 4.5, 5.0]
        assert truth[:, 0].tolist() == [5.0, 5.5, 6.0]
