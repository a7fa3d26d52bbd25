import hashlib

import numpy as np
import pytest

from forecast import ForecastError
from forecast.cli import main
from forecast.datasets.windows import WindowSpec, prediction_times
from forecast.evaluation.run import predictors
from forecast.evaluation.run.predictors import build, build_baselines, training_examples
from forecast.inference import Forecaster, Training
from forecast.models.baselines import ConstantVelocity, Kalman
from forecast.models.forecaster import ForecasterConfig, PedestrianForecaster

SPEC = WindowSpec(history_steps=5, horizon_steps=4)


class TestTrainingExamples:
    def test_are_the_scored_windows_of_the_train_split(self, store):
        known = training_examples(store, "val", SPEC)
        count = sum(
            int(prediction_times(store[name], SPEC).scored.sum()) for name in store.splits["train"]
        )
        assert known.positions_m.shape == (count, 9, 2)
        assert known.valid[:, 3:].all()
        assert (known.history_steps, known.dt_s) == (5, 0.5)

    def test_are_none_where_everything_is_scored(self, store):
        assert training_examples(store, "all", SPEC) is None

    def test_are_evenly_picked_where_there_are_many(self, store, monkeypatch):
        every = training_examples(store, "val", SPEC)
        monkeypatch.setattr(predictors, "_MOST_EXAMPLES", 20)
        few = training_examples(store, "val", SPEC)
        assert 10 <= len(few.valid) <= 20
        step = -(-len(every.valid) // 20)
        kept = every.moment % step == 0
        np.testing.assert_array_equal(few.positions_m, every.positions_m[kept])
        np.testing.assert_array_equal(few.moment, every.moment[kept] // step)


class TestBuild:
    def test_a_baseline_by_its_name(self, store):
        known = training_examples(store, "val", SPEC)
        fitted = Kalman.fit(known.positions_m, known.valid, known.dt_s)
        assert build("kalman", store, "val", SPEC, 20, 0) == fitted
        assert build("kalman", store, "all", SPEC, 20, 0) == Kalman()

    def test_ones_own_by_module_and_name(self, store):
        name = "forecast.models.baselines:ConstantVelocity"
        assert build(name, store, "val", SPEC, 20, 0) == ConstantVelocity()

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("P = 3", "is of type int; an object with def predict(self, scene, at, *, horizon_s=6"),
            ("from sys import exit as P", "is of type builtin_function_or_method; an object with"),
            (
                "def P(): raise SystemExit(0)",
                "cannot be made: SystemExit: 0; a class or function",
            ),
            ("class P: ...", "has no method predict; an object with def predict(self, scene, at"),
            ("class P: predict = 'x'", "has no method predict; an object with def predict("),
            ("class P:\n def __init__(self, path): ...", "required positional argument: 'path'; a"),
            (
                "class P:\n def predict(self, scene, at): ...",
                "takes no horizon_s, samples, seed, ego_plan; an object with def predict(self, sc",
            ),
            (
                "class P:\n def predict(self, scene, at, *, horizon_s, samples, seed): ...",
                "takes no ego_plan; an object with def predict(self, scene, at, *, horizon_s=6.0, "
                "samples=20, seed=0, ego_plan=None) -> Prediction is needed",
            ),
            ("class P:\n def predict(self, a, b, c, **o): ...", "missing a required argument: 'c'"),
            (
                "class P:\n name = 3\n def predict(self, *a, **o): ...",
                "is 3; a text for the tables",
            ),
            (
                "class P:\n __slots__ = ()\n def predict(self, *a, **o): ...",
                "has no name and takes none; give it an attribute name",
            ),
        ],
    )
    def test_what_is_no_predictor_is_one_line(self, store, tmp_path, monkeypatch, code, message):
        name = f"own_{hashlib.sha256(code.encode()).hexdigest()[:8]}"
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / f"{name}.py").write_text(code)
        with pytest.raises(ForecastError) as error:
            build(f"{name}:P", store, "val", SPEC, 20, 0)
        assert f"predictor '{name}:P'" in str(error.value)
        assert message in str(error.value)
        assert "\n" not in str(error.value)

    def test_exit_is_no_predictor(self, store, tmp_path, capsys):
        words = ["evaluate", "--store", str(store.path), "--split", "val", "--out", str(tmp_path)]
        assert main([*words, "--predictor", "sys:exit"]) == 1
        assert "predictor 'sys:exit' is of type builtin_" in capsys.readouterr().err

    def test_what_cannot_be_sent_to_workers_is_one_line(self, store, tmp_path, monkeypatch, capsys):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "own_lambda.py").write_text(
            "class Walker:\n"
            "    def __init__(self): self.step = lambda: 1\n"
            "    def predict(self, scene, at, **options): ...\n"
        )
        words = ["evaluate", "--store", str(store.path), "--split", "val", "--workers", "2"]
        words += ["--predictor", "own_lambda:Walker", "--out", str(tmp_path / "out")]
        assert main(words) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: Walker cannot be sent to workers: ")
        assert "do without --workers" in said
        assert not (tmp_path / "out").exists()

    def test_what_predict_returns_is_checked(self, store, tmp_path, monkeypatch, capsys):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "own_none.py").write_text(
            "class Walker:\n    def predict(self, scene, at, **options): ...\n"
        )
        words = ["evaluate", "--store", str(store.path), "--split", "val", "--horizon-s", "2"]
        words += ["--predictor", "own_none:Walker", "--out", str(tmp_path / "out")]
        assert main(words) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert "predict returns a NoneType; a Prediction is needed" in said

    def test_without_a_name_it_has_that_of_its_class(self, store, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "own_walkers.py").write_text(
            "from dataclasses import dataclass\n"
            "@dataclass(frozen=True)\n"
            "class Walker:\n"
            "    def predict(self, scene, at, **options): ...\n"
            "made = Walker()\n"
            "def make(): return Walker()\n"
        )
        for attribute in ("Walker", "made", "make"):
            assert build(f"own_walkers:{attribute}", store, "val", SPEC, 20, 0).name == "Walker"

    def test_weights_by_their_file(self, store, tmp_path):
        config = ForecasterConfig()
        training = Training(config, history_steps=5, horizon_steps=4, dts_s=[0.5])
        path = tmp_path / "walker.safetensors"
        Forecaster(PedestrianForecaster(config), training, "walker").save(path)
        assert build(str(path), store, "val", SPEC, 20, 0).name == "walker"

    def test_refuses_an_unknown_name(self, store):
        with pytest.raises(ForecastError) as error:
            build("social_force", store, "val", SPEC, 20, 0)
        assert str(error.value) == (
            "predictor 'social_force' is unknown; a file of weights or predictions, module:name or "
            "one of town, constant_velocity, smoothed_velocity, companions, kalman, kmeans, "
            "stationary is needed"
        )

    def test_what_cannot_be_made_is_one_line(self, store):
        with pytest.raises(ForecastError, match="'json:loads' cannot be made: TypeError: loads"):
            build("json:loads", store, "val", SPEC, 20, 0)

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("Kalman", "kalman"),
            ("kalmann", "kalman"),
            ("constant-velocity", "constant_velocity"),
            ("Town", "town"),
            ("kmeans_20", "kmeans"),
        ],
    )
    def test_a_misspelt_name_is_called_that(self, store, name, meant):
        with pytest.raises(ForecastError) as error:
            build(name, store, "val", SPEC, 20, 0)
        assert str(error.value) == f"predictor '{name}' is unknown; did you mean '{meant}'?"

    def test_other_files_and_folders_are_called_what_they_are(self, store, tmp_path):
        last = tmp_path / "run" / "checkpoints" / "last.ckpt"
        last.parent.mkdir(parents=True)
        last.write_bytes(b"weights")
        files = ("results/metrics.json", "exported/interface.json", "theirs.csv", "mine.py")
        for file in files:
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text("{}")
        (tmp_path / "walkers.parquet").write_bytes(b"")
        for given, words in [
            ("run", f": is the folder of a training run; give a file in it: {last}"),
            ("run/last.ckpt", f": no such file; did you mean {last}?"),
            ("results", ": is the results of an evaluation; give the weights that were evalua"),
            ("exported", ": is an exported model; give the weights in it, "),
            ("theirs.csv", ": predictions are read from .parquet and .json files, not from .csv "),
            ("wakers.parquet", f": no such file; did you mean {tmp_path / 'walkers.parquet'}?"),
            ("mine.py", f"give module:name, such as mine:MyPredictor with PYTHONPATH={tmp_path}"),
            ("mine.py:Walker", f"give module:name, such as mine:Walker with PYTHONPATH={tmp_path}"),
        ]:
            with pytest.raises(ForecastError) as error:
                build(str(tmp_path / given), store, "val", SPEC, 20, 0)
            assert f"{tmp_path / given}" in str(error.value)
            assert words in str(error.value)
        with pytest.raises(ForecastError, match="is a store of scenes; give a weights file"):
            build(str(store.path), store, "val", SPEC, 20, 0)

    @pytest.mark.parametrize(
        ("name", "code", "words"),
        [
            ("no_such_module:Walker", None, "named 'no_such_module'; run in the folder that"),
            ("own_a:Walker", "import not_there", "No module named 'not_there'; repair the module"),
            ("own_b:Walker", "def f(:", "SyntaxError: invalid syntax"),
            ("own_c:Walker", "1 / 0", "ZeroDivisionError: division by zero; repair the module"),
            ("own_d:Walkr", "class Walker: pass", "has no 'Walkr'; did you mean 'own_d:Walker'?"),
            ("own_e:Walker", "", "module 'own_e' has no 'Walker'; give a name that it defines"),
        ],
    )
    def test_what_cannot_be_imported_is_one_line(
        self, store, tmp_path, monkeypatch, name, code, words
    ):
        monkeypatch.syspath_prepend(tmp_path)
        if code is not None:
            (tmp_path / f"{name.partition(':')[0]}.py").write_text(code)
        with pytest.raises(ForecastError) as error:
            build(name, store, "val", SPEC, 20, 0)
        assert str(error.value).startswith(f"predictor '{name}' cannot be imported: ")
        assert words in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("name", ["runs/last", "last.ckpt", "theirs.parquet"])
    def test_a_file_that_is_not_there_is_called_that(self, store, name):
        with pytest.raises(ForecastError, match=f"{name}: no such file; give weights"):
            build(name, store, "val", SPEC, 20, 0)

    def test_refuses_an_unreadable_file_in_one_line(self, store, tmp_path):
        path = tmp_path / "broken.ckpt"
        path.write_bytes(b"not weights")
        with pytest.raises(ForecastError, match=r"broken\.ckpt: not a checkpoint"):
            build(str(path), store, "val", SPEC, 20, 0)


class TestBaselines:
    def test_are_all_there_with_few_and_with_many_futures(self, store):
        baselines, left_out = build_baselines(training_examples(store, "val", SPEC), 8, 0)
        names = [
            "constant_velocity",
            "smoothed_velocity",
            "companions",
            "kalman",
            "stationary",
            "kmeans_5",
            "kmeans_8",
        ]
        assert list(baselines) == names
        assert [baseline.name for baseline in baselines.values()] == names
        assert baselines["kalman"] != Kalman()
        assert left_out == {}

    def test_kmeans_is_left_out_with_its_reason_where_nothing_may_be_learned(self):
        baselines, left_out = build_baselines(None, 5, 0)
        assert list(baselines) == [
            "constant_velocity",
            "smoothed_velocity",
            "companions",
            "kalman",
            "stationary",
        ]
        assert list(left_out) == ["kmeans_5"]
        assert "no tracks to fit it on" in left_out["kmeans_5"]
