import numpy as np
import torch

from forecast.datasets.windows import WindowSpec
from forecast.evaluation import evaluate
from forecast.evaluation.scoring.selected import OVERSAMPLING
from forecast.models.baselines import ConstantVelocity, Kalman, KMeansResiduals
from forecast.models.selection import cluster_centres

SPEC = WindowSpec(history_steps=5, horizon_steps=4)
VAL = ["street-3", "street-4"]


class TestSelected:
    def test_comes_from_ten_times_as_many_draws_of_the_same_window(self, store):
        kept = []

        class Keeping(Kalman):
            def predict(self, *arguments, **options):
                prediction = super().predict(*arguments, **options)
                kept.append((prediction, options["seed"]))
                return prediction

        windows = []
        result = evaluate(
            Keeping(), store, VAL, SPEC, 4, 0, sink=lambda case, _: windows.append(case)
        )
        first = [case.window.scene_id for case in windows].index(VAL[1])
        del kept[1 + 2 * first], kept[0]  # each scene's first prediction is made once before
        errors = []
        for case, (few, seed), (many, same) in zip(windows, kept[::2], kept[1::2], strict=True):
            assert (few.samples, many.samples, seed) == (4, 4 * OVERSAMPLING, same)
            draws = torch.as_tensor(many.positions_m[:, case.window.scored]).double()
            centres = cluster_centres(draws, 4)[0].numpy()
            errors.append(np.linalg.norm(centres - case.truth_m, axis=-1))
        ade = np.concatenate([error.mean(-1).min(0) for error in errors])
        fde = np.concatenate([error[..., -1].min(0) for error in errors])
        np.testing.assert_allclose(result.values["selected_min_ade_4_m"], ade, rtol=1e-4)
        np.testing.assert_allclose(result.values["selected_min_fde_4_m"], fde, rtol=1e-4)

    def test_is_not_defined_for_one_future_or_for_weighted_ones(self, store):
        weighted = KMeansResiduals(np.zeros((2, 4, 2)), np.array([0.7, 0.3]), 0.5)
        for predictor in (ConstantVelocity(), weighted):
            result = evaluate(predictor, store, VAL, SPEC, 4, 0)
            assert result.means()["selected_min_ade_4_m"].n == 0
            assert result.means()["top1_ade_m"].n == len(result.rows)
