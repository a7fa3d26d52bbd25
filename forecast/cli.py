"""The command line: parses the arguments and calls the command.

Every command imports what it needs when it runs, so that ``forecast --help`` is fast.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecast import __version__
from forecast.errors import ForecastError, ForecastWarning, require
from forecast.parallel import Workers, named
from forecast.scene import AgentKind

if TYPE_CHECKING:
    from forecast.datasets.source import SceneSource
    from forecast.datasets.store import SceneStore
    from forecast.evaluation import EvaluationConfig, EvaluationResult

_TRAINING = {
    "fit": "train a model",
    "validate": "score a model on the validation split, as training does",
    "test": "score a model on the validation split, under the names test/*",
}
"""Commands whose arguments are LightningCLI's."""

_SOURCES_WITH = {
    "version": ["nuscenes"],
    "no_map": ["nuscenes"],
    "ego_channel": ["nuscenes"],
    "categories": ["nuscenes"],
    "frame_s": ["crowd"],
    "map": ["crowd", "tracks"],
}
"""The sources that have an option of prepare, for options that only some have."""

_INPUTS = (
    "crowd: a folder of text files with rows 'frame person x_m y_m' in metres, also in the layouts "
    "of Social-GAN, TrajNet++ and OpenTraj; folders train, val and test are splits. "
    "tracks: a CSV or Parquet file (or a folder of them) with the columns scene, agent_id, kind "
    "(pedestrian, cyclist, vehicle, ego, static), t_s, x_m, y_m, and optionally heading_rad, "
    "length_m, width_m, height_m, ego (0 or 1) and split; any rate from 2 Hz on. "
    "--map: a nuScenes map expansion, or GeoJSON whose features have the property layer: "
    "drivable_area, crosswalk, walkway (polygons), lane, divider (lines); in metres, in the frame "
    "of the tracks."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The arguments after ``forecast``; default: those of this process.

    Returns:
        The exit code: 0 done; 1 the work failed, or the comparison's answer is no, with one line
        on stderr; 3 not acceptable and 4 undecided where a gate was asked for; 130 interrupted.

    Raises:
        SystemExit: With code 2 for wrong usage, and 0 after ``--help`` and ``--version``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    code: int | None = None
    try:
        with _warnings_in_one_line():
            if words and words[0] in _TRAINING:
                _train(words[0], words[1:])
            else:
                args = _parser().parse_args(words)
                code = args.run(args)
    except ForecastError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # of an input that cannot be read, or a closed pipe
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {place}{error.strerror or error}; check the path", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code or 0


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Shows the package's own warnings without the line of code that they come from."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, ForecastWarning):
            print(f"warning: {message}", file=sys.stderr)
        else:
            shown(message, category, *place, **more)

    shown = warnings.showwarning
    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


_Commands = Any
"""The object `argparse` adds commands to; its type has no public name."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="forecast", description="Pedestrian trajectory forecasting for autonomous driving."
    )
    parser.add_argument("-V", "--version", action="version", version=f"forecast {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    _add_prepare(commands)
    _add_town(commands)
    for name, text in _TRAINING.items():
        commands.add_parser(name, help=text)
    _add_evaluate(commands)
    _add_merge(commands)
    _add_calibrate(commands)
    _add_adapt(commands)
    _add_audit(commands)
    _add_compare(commands)
    _add_export(commands)
    _add_view(commands)
    _add_render(commands)
    _add_demo(commands)
    return parser


def _add_prepare(commands: _Commands) -> None:
    parser = _add_command(commands, "prepare", _prepare, "write a dataset's scenes into a store")
    parser.add_argument("--source", required=True, choices=list(_SOURCES), help="dataset")
    parser.add_argument(
        "--dataroot", required=True, type=Path, help="folder of the dataset, or file"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder of the store")
    parser.add_argument("--version", help="nuScenes: version folder, such as v1.0-mini")
    _add_workers(parser, "read")
    parser.add_argument("--no-map", action="store_true", help="nuScenes: leave the maps out")
    parser.add_argument(
        "--frame-s",
        type=float,
        help="crowd: seconds per frame number (default: the usual difference of a person's "
        "successive frame numbers is 0.4 s)",
    )
    parser.add_argument("--map", type=Path, help="crowd, tracks: map of the place")
    parser.add_argument(
        "--ego-channel",
        metavar="NAME",
        help="nuScenes: sensor channel of the ego's poses (default: LIDAR_TOP or what is there)",
    )
    parser.add_argument(
        "--categories",
        type=Path,
        metavar="FILE.yaml",
        help="nuScenes: kinds of categories, such as 'robot.delivery: static', or ignore",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 1 if a scene is left out"
    )
    parser.epilog = _INPUTS


def _add_town(commands: _Commands) -> None:
    parser = _add_command(commands, "town", _town, "write the simulated city in nuScenes format")
    parser.add_argument("--out", required=True, type=Path, help="folder of the dataset")
    _add_option(parser, "--scenes", 10, "number of scenes")
    _add_option(parser, "--seed", 0, "seed of the simulation")
    _add_workers(parser, "simulate")
    parser.add_argument(
        "--counterfactual",
        action="store_true",
        help="write every scene twice, the second time with another plan of the ego",
    )
    parser.add_argument(
        "--encounters",
        action="store_true",
        help="write moments of 8 s at which the ego's plan may matter to a pedestrian; --scenes is "
        "their number, and --counterfactual adds three other plans of the ego for each",
    )
    parser.add_argument(
        "--district",
        choices=("street", "shared_space"),
        default="street",
        help="streets, or a campus, a car park and a warehouse without kerbs and lanes "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--full-rate",
        action="store_true",
        help="write sample_data and ego poses of all sensors at nuScenes' own rates",
    )


def _add_evaluate(commands: _Commands) -> None:
    parser = _add_command(commands, "evaluate", _evaluate, "score a predictor and write a report")
    parser.add_argument("--store", required=True, type=Path, help="store of scenes")
    parser.add_argument(
        "--split", required=True, help="a split of the store, 'all', or a file of scene names"
    )
    parser.add_argument(
        "--predictor",
        required=True,
        help="weights file, town (packaged weights), file of predictions (.parquet, .json), "
        "module:name of your own, or constant_velocity, smoothed_velocity, companions, kalman, "
        "kmeans, stationary",
    )
    parser.add_argument("--out", required=True, type=Path, help="folder of the results")
    _add_metric(parser)
    _add_option(parser, "--samples", 20, "joint futures per window; of more, the likeliest count")
    for name, verb in (("--horizon-s", "predict"), ("--history-s", "observe")):
        parser.add_argument(name, type=float, help=f"seconds to {verb} (default: the protocol's)")
    _add_option(parser, "--seed", 0, "seed of the predictor")
    parser.epilog = (
        "A .parquet file of predictions has a row for every pedestrian, sample and step: scene_id, "
        "agent_id, at_us, sample (from 0), weight (summing to 1 over a pedestrian's samples), step "
        "(from 1), x_m, y_m (in the world's frame). A .json file is a submission to the nuScenes "
        "prediction challenge. --predictor module:name: an object with the method predict(scene, "
        "at, *, horizon_s=6.0, samples=20, seed=0, ego_plan=None) -> Prediction "
        "(forecast.scene.Predictor), or a class or function that makes one. --metric module:name: "
        "a function of a forecast.models.metrics.Scored that returns a value for each scored "
        "pedestrian. Its documentation is the definition, the end of its name (_m, _s) the unit, "
        "and lower is better; a forecast.models.metrics.MetricSpec says otherwise. Modules are "
        "sought in the current folder too."
    )
    _add_workers(parser, "score")
    parser.add_argument(
        "--shard", metavar="K/N", help="score only the K-th of N parts of the split, for merge"
    )
    _add_acceptance(parser)


def _add_merge(commands: _Commands) -> None:
    parser = _add_command(
        commands, "merge", _merge, "merge all shards into one evaluation, in any order"
    )
    parser.add_argument(
        "shards", nargs="+", type=Path, metavar="SHARD", help="folder of evaluate --shard"
    )
    parser.add_argument("--store", required=True, type=Path, help="store they were scored on")
    parser.add_argument("--predictor", required=True, help="what was scored, as for evaluate")
    parser.add_argument("--out", required=True, type=Path, help="folder of the results")
    _add_metric(parser)
    _add_acceptance(parser)


def _add_metric(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a metric of your own beside the others; may be given several times",
    )


def _add_acceptance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--acceptance", type=Path, help="YAML file of acceptance criteria")
    parser.add_argument(
        "--gate",
        action="store_true",
        help="exit with code 3 if the verdict is 'Not acceptable', with 4 if it is 'Not decided'; "
        "all files are written before; 1 still means that the work failed",
    )
    parser.add_argument(
        "--slices",
        metavar="NAMES",
        help="slicings to show in full, with every combination of their labels and its worst case, "
        "such as crossing,light (at most 3)",
    )


def _add_audit(commands: _Commands) -> None:
    parser = _add_command(commands, "audit", _audit, "test which guarantees a predictor gives")
    parser.add_argument("--predictor", required=True, help="as for evaluate, or module:name")
    parser.add_argument("--store", required=True, type=Path, help="store of scenes")
    _add_option(parser, "--split", "all", "a split of the store, or a file of scene names")
    _add_option(parser, "--windows", 6, "windows to test")
    _add_option(parser, "--seed", 0, "seed of predictions and changes")
    parser.add_argument(
        "--require",
        nargs="?",
        const="every",
        metavar="NAMES",
        help="exit with code 1 also if a wished guarantee is broken: one of NAMES, such as "
        "frame,placebo, or any if no names are given",
    )


def _add_compare(commands: _Commands) -> None:
    parser = _add_command(commands, "compare", _compare, "say whether B may replace A")
    parser.add_argument("a", type=Path, metavar="A", help="folder of an evaluation")
    parser.add_argument("b", type=Path, metavar="B", help="folder of another on the same windows")
    parser.add_argument("--out", type=Path, help="folder for compare.html and compare.json")
    words = "per cent of A's error by which a headline error of B may be worse"
    _add_option(parser, "--margin", 0.0, words)
    parser.epilog = (
        "Headline errors, each over everybody and over movers: top-1 ADE and FDE, minADE and "
        "minFDE of the most futures that they are defined for, energy score, distance of the "
        "coverage of 90 % regions and of 90 % tubes from 0.9. Safety metrics: missed conflicts, "
        "collision rates, plan regret. Exit code 1, worse: the 95 % interval (bootstrap over "
        "scenes) of the change of a headline error lies wholly beyond the margin; or B lacks a "
        "headline error in rows in which A has it, is worse in a safety metric beyond chance, "
        "fails an acceptance criterion that A meets or has fewer rows for it, or breaks a required "
        "guarantee that A gives. Exit code 4, undecided: such an interval holds the margin, there "
        "are too few scenes for intervals, B lacks another metric in rows in which A has it, such "
        "a criterion is no longer decided, such a guarantee was not tried for B, or B was trained "
        "on scored scenes. Exit code 0: every headline error is better, within the margin, or the "
        "same in every row, and no safety metric is shown to be worse."
    )


def _add_calibrate(commands: _Commands) -> None:
    parser = _add_command(
        commands, "calibrate", _calibrate, "fit a model's tubes on scenes it was not trained on"
    )
    parser.add_argument("--weights", required=True, type=Path, help="weights file of the model")
    parser.add_argument("--store", required=True, type=Path, help="store of scenes")
    parser.add_argument(
        "--split", required=True, help="a split of the store, 'all', or a file of scene names"
    )
    parser.add_argument("--out", required=True, type=Path, help="safetensors file to write")
    _add_option(parser, "--seed", 0, "seed of the samples")


def _add_adapt(commands: _Commands) -> None:
    parser = _add_command(
        commands, "adapt", _adapt, "go on learning from new scenes, one after the other"
    )
    parser.add_argument(
        "--weights", required=True, help="weights file to begin with, or town (packaged weights)"
    )
    parser.add_argument(
        "--store",
        required=True,
        action="append",
        type=Path,
        help="store of new scenes; may be given several times, they are learnt from in that order",
    )
    parser.add_argument(
        "--split",
        action="append",
        help="a split of each --store, or a file of scene names in the order of the drives "
        "(default: all)",
    )
    parser.add_argument(
        "--old",
        required=True,
        action="append",
        type=Path,
        metavar="STORE",
        help="store of scenes of before, which must not be forgotten; may be given several times",
    )
    parser.add_argument("--old-split", action="append", help="a split of each --old (default: all)")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        help="safetensors file to write; the folder FILE.adaptation beside it gets a report, the "
        "ledger and every state, and an adaptation that was stopped goes on from there",
    )
    _add_option(parser, "--seed", 0, "seed of everything that is drawn")
    one = parser.add_mutually_exclusive_group()
    one.add_argument(
        "--replay",
        type=Path,
        metavar="LEDGER",
        help="ledger.jsonl of another run; stop at the first scene that differs in any bit",
    )
    one.add_argument(
        "--undo-to",
        type=int,
        metavar="N",
        help="write the weights of after scene N (0: of before all), and forget what came later",
    )
    parser.epilog = (
        "Every scene is scored before it is learnt from. Each eighth one is held out. If held-out "
        "scenes, new or old, get worse by more than their noise, the scene is rolled back and a "
        "line says so. Tubes and OOD threshold are fitted again after each scene."
    )


def _add_export(commands: _Commands) -> None:
    parser = _add_command(
        commands, "export", _export, "write a model as programs of AOTInductor or ONNX Runtime"
    )
    parser.add_argument(
        "--weights", required=True, type=Path, help="weights file, or town (packaged weights)"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder of the programs")
    parser.add_argument(
        "--format",
        choices=["aoti", "onnx"],
        default="aoti",
        help="aoti: for this machine's processor, onnx: for any (default: aoti)",
    )


def _add_view(commands: _Commands) -> None:
    parser = _add_command(
        commands, "view", _view, "show and edit scenes and their futures on a local web page"
    )
    parser.add_argument(
        "--store",
        required=True,
        type=Path,
        help="store of scenes, or a dataset in nuScenes format, which is prepared first",
    )
    _add_option(parser, "--predictor", "town", "as for evaluate; edits need weights")
    parser.add_argument("--scene", help="scene to show first (default: the first one)")
    parser.add_argument("--version", help="version folder of a dataset, such as v1.0-mini")
    _add_option(parser, "--port", 8700, "port of the page; 0 for any that is free")
    words = "address to bind to; beyond this machine the page needs the printed token"
    _add_option(parser, "--host", "127.0.0.1", words)
    _add_option(parser, "--out", Path("edited"), "folder for the scenes that the page saves")


def _add_render(commands: _Commands) -> None:
    parser = _add_command(
        commands, "render", _render, "write a film of a scene and its predicted futures"
    )
    parser.add_argument("--store", type=Path, help="store of scenes, such as one of view")
    words = (
        "name of a scene of the store (its only one by default), or without a store a scene file"
    )
    parser.add_argument("--scene", help=words)
    parser.add_argument("--town", type=int, metavar="SEED", help="a scene of the simulated city")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        help="file to write; its ending says what: .mp4, .gif, .html (a page with a player), "
        ".mcap (for Foxglove) or .rrd (for Rerun)",
    )
    _add_option(parser, "--predictor", "town", "as for evaluate")
    parser.add_argument(
        "--at", type=float, metavar="S", help="play the futures imagined at this time of the scene"
    )
    parser.add_argument(
        "--plan",
        nargs="+",
        choices=("brake", "keep", "recorded"),
        default=[],
        help="plans of the ego from --at on, side by side (at most 3): it brakes, it keeps its "
        "speed, or it drives as recorded",
    )
    parser.add_argument("--from", dest="start", type=float, default=0.0, metavar="S", help="start")
    parser.add_argument("--to", dest="stop", type=float, metavar="S", help="end of the recording")
    _add_option(parser, "--samples", 20, "joint futures")
    parser.add_argument(
        "--modes",
        type=int,
        metavar="M",
        help="show so many modes of each person with their probabilities in place of the samples "
        "(the network has 5, 10 and 20); not with --plan",
    )
    _add_option(parser, "--horizon-s", 6.0, "seconds to predict")
    _add_option(parser, "--seed", 0, "seed of the predictor")
    parser.add_argument("--width", type=int, help="width in pixels (default: 1280; .gif 800)")
    parser.add_argument("--fps", type=int, help="pictures a second (default: 20; .gif 10)")
    parser.epilog = (
        "Without --at, the recording is played, with new futures every 0.5 s, and the recorded "
        "future beside them. With --at, one prediction is played up to its end. Plans side by side "
        "have the same random numbers, so what differs is the effect of the plan. Times are "
        "seconds from the start of the scene. .mp4 needs forecast[render], .mcap forecast[mcap], "
        "and .rrd forecast[rerun], whose viewer opens it: rerun FILE.rrd. Later ones do not."
    )


def _add_demo(commands: _Commands) -> None:
    parser = _add_command(commands, "demo", _demo, "run every step once, on the simulated city")
    _add_option(parser, "--out", Path("demo"), "folder of the results")


def _add_command(
    commands: _Commands, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.set_defaults(run=run, usage_error=parser.error)
    return parser


def _add_option(parser: argparse.ArgumentParser, name: str, default: Any, text: str) -> None:
    parser.add_argument(
        name, type=type(default), default=default, help=f"{text} (default: {default})"
    )


def _add_workers(parser: argparse.ArgumentParser, verb: str) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        help=f"processes that {verb} scenes (default: 1; with --ray one for each core)",
    )
    parser.add_argument(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="address of a Ray cluster that sees the same files, or 'local' (needs forecast[ray])",
    )


def _workers(args: argparse.Namespace) -> Workers:
    return Workers(args.workers, args.ray)


def _prepare(args: argparse.Namespace) -> None:
    from forecast.datasets.store import prepare

    source = _source(args)
    store = prepare(source, args.out, strict=args.strict, workers=_workers(args))
    notes = list(getattr(source, "notes", ()))
    if args.source == "crowd" and args.frame_s is None:
        notes.append("step:    the usual difference of a person's frame numbers is taken for 0.4 s")
    _print_summary(store, notes)


def _source(args: argparse.Namespace) -> SceneSource:
    for option, sources in _SOURCES_WITH.items():
        if getattr(args, option) not in (None, False) and args.source not in sources:
            name = option.replace("_", "-")
            args.usage_error(f"--{name} is for --source {' and '.join(sources)}")
    return _SOURCES[args.source](args)


def _nuscenes(args: argparse.Namespace) -> SceneSource:
    if args.version is None:
        args.usage_error("--version is needed with --source nuscenes, such as v1.0-mini")
    from forecast.datasets.nuscenes import NuScenesSource

    return NuScenesSource(
        args.dataroot,
        args.version,
        with_map=not args.no_map,
        ego_channel=args.ego_channel,
        categories=args.categories,
        workers=_workers(args),
    )


def _eth_ucy(args: argparse.Namespace) -> SceneSource:
    from forecast.datasets.crowds.eth_ucy import EthUcySource

    return EthUcySource(args.dataroot)


def _stanford(args: argparse.Namespace) -> SceneSource:
    from forecast.datasets.crowds.stanford import StanfordSource

    return StanfordSource(args.dataroot)


def _crowd(args: argparse.Namespace) -> SceneSource:
    from forecast.datasets.crowds.crowd import CrowdSource

    return CrowdSource(args.dataroot, frame_s=args.frame_s, map_file=args.map)


def _tracks(args: argparse.Namespace) -> SceneSource:
    from forecast.datasets.tracks.source import TracksSource

    return TracksSource(args.dataroot, map_file=args.map)


_SOURCES: dict[str, Callable[[argparse.Namespace], SceneSource]] = {
    "nuscenes": _nuscenes,
    "eth_ucy": _eth_ucy,
    "stanford": _stanford,
    "crowd": _crowd,
    "tracks": _tracks,
}
"""The datasets that prepare reads, and how."""


def _print_summary(store: SceneStore, notes: Iterable[str]) -> None:
    counts = store.counts
    kinds = {kind.name.lower(): counts[kind.name.lower()] for kind in AgentKind}
    print(f"{store.path}: {len(store)} scenes of {store.source}, {counts['steps']} steps")
    print(f"agents:  {counts['agents']} ({_listed(kinds)})")
    print(f"lanes:   {counts['lanes']}")
    for note in notes:
        print(note)
    splits = ", ".join(f"{split} {len(names)}" for split, names in store.splits.items())
    print(f"splits:  {splits or 'nothing'}")
    print(f"dropped: {_listed(store.dropped)}")
    print(f"mended:  {_listed(store.mended)}")
    if failed := store.failed:
        whole = len(failed) + len(store)
        print(f"left out: {len(failed)} of {whole} scenes: {named(failed)}")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "nothing"


def _town(args: argparse.Namespace) -> None:
    if args.encounters:
        from forecast.simulator import write_encounters

        require(not args.full_rate, "full-rate", "given with --encounters", "one of the two")
        count, both, seed = args.scenes, args.counterfactual, args.seed
        write_encounters(
            args.out,
            moments=count,
            seed=seed,
            counterfactual=both,
            district=args.district,
            workers=_workers(args),
        )
        return
    from forecast.simulator import write_town

    write_town(
        args.out,
        scenes=args.scenes,
        seed=args.seed,
        counterfactual=args.counterfactual,
        district=args.district,
        workers=_workers(args),
        full_rate=args.full_rate,
    )


def _train(command: str, words: list[str]) -> None:
    from forecast.training.cli import main as train
    from forecast.visualization.training_pictures import BirdsEye, CalibrationCurve

    try:
        train(command, words, callbacks=[BirdsEye(), CalibrationCurve()])
    except SystemExit as stop:
        if stop.code == 1:  # how Lightning ends after Ctrl-C, once it has closed its files
            raise KeyboardInterrupt from None
        raise


def _evaluate(args: argparse.Namespace) -> int:
    if args.shard is not None:
        _evaluate_shard(args)
        return 0
    from forecast.evaluation import run_evaluation
    from forecast.report import render

    config, workers = _evaluation_config(args), _workers(args)
    result = run_evaluation(
        config,
        args.out,
        render=render,
        workers=workers,
        acceptance=args.acceptance,
        slices=args.slices,
    )
    return _gate(result) if args.gate else 0


def _gate(result: EvaluationResult) -> int:
    """The exit code of the verdict; says it in one line."""
    from forecast.evaluation.verdict.verdict import BAD, GOOD, UNDECIDED, verdict_of

    verdict = verdict_of(result)
    code = {GOOD: 0, BAD: 3, UNDECIDED: 4}[verdict.tone]
    print(f"gate: exit code {code}. {verdict.sentence}", file=sys.stderr)
    return code


def _evaluate_shard(args: argparse.Namespace) -> None:
    for option in ("acceptance", "slices", "gate"):
        if getattr(args, option) not in (None, False):
            args.usage_error(f"--{option} is for merge where there is --shard")
    from forecast.evaluation import run_shard

    run_shard(_evaluation_config(args), args.shard, args.out, _workers(args))


def _evaluation_config(args: argparse.Namespace) -> EvaluationConfig:
    from forecast.evaluation.run.job import EvaluationConfig

    return EvaluationConfig(
        store=args.store,
        split=args.split,
        predictor=args.predictor,
        samples=args.samples,
        horizon_s=args.horizon_s,
        history_s=args.history_s,
        seed=args.seed,
        metrics=tuple(args.metric),
    )


def _merge(args: argparse.Namespace) -> int:
    from forecast.evaluation import merge_shards
    from forecast.report import render

    result = merge_shards(
        args.shards,
        store=args.store,
        predictor=args.predictor,
        out=args.out,
        render=render,
        acceptance=args.acceptance,
        metrics=args.metric,
        slices=args.slices,
    )
    return _gate(result) if args.gate else 0


def _calibrate(args: argparse.Namespace) -> None:
    from forecast.inference.calibrate import calibrate_weights

    calibrate_weights(
        weights=args.weights, store=args.store, split=args.split, out=args.out, seed=args.seed
    )


def _adapt(args: argparse.Namespace) -> None:
    from forecast.adaptation import AdaptConfig
    from forecast.adaptation.command import run_adapt
    from forecast.report import render_adaptation

    run_adapt(
        weights=args.weights,
        stream=_splits(args, "store", "split"),
        old=_splits(args, "old", "old_split"),
        out=args.out,
        config=AdaptConfig(seed=args.seed),
        replay=args.replay,
        undo_to=args.undo_to,
        render=render_adaptation,
    )


def _splits(args: argparse.Namespace, stores: str, splits: str) -> list[tuple[Path, str]]:
    """The stores of an option with the split of each; ``all`` where none are given."""
    paths = getattr(args, stores)
    names = getattr(args, splits) or ["all"] * len(paths)
    if len(names) != len(paths):
        option = splits.replace("_", "-")
        args.usage_error(f"--{option} is needed once for each --{stores}, or not at all")
    return list(zip(paths, names, strict=True))


def _export(args: argparse.Namespace) -> None:
    from forecast.export import run

    run(weights=args.weights, out=args.out, form=args.format)


def _render(args: argparse.Namespace) -> None:
    if (args.town is None) == (args.store is None and args.scene is None):
        args.usage_error("one of --store, --scene FILE and --town SEED is needed")
    if args.plan and args.at is None:
        args.usage_error("--plan is for --at")
    if args.at is not None and (args.start or args.stop is not None):
        args.usage_error("--from and --to are for a film without --at")
    from forecast.visualization.film.command import Shot, run_render
    from forecast.visualization.film.film import Question

    asked = Question(args.horizon_s, args.samples, args.seed, args.modes)
    where = (args.store, args.scene, args.town, args.predictor)
    shot = Shot(*where, args.at, args.start, args.stop, tuple(args.plan), asked)
    run_render(shot, args.out, width_px=args.width, fps=args.fps)


def _audit(args: argparse.Namespace) -> None:
    from forecast.evaluation.audit.command import run_audit

    run_audit(
        predictor=args.predictor,
        store=args.store,
        split=args.split,
        windows=args.windows,
        seed=args.seed,
        also_required=args.require,
    )


def _compare(args: argparse.Namespace) -> int:
    from forecast.evaluation.comparison.changes import OPEN, WORSE
    from forecast.evaluation.comparison.comparison import run_comparison
    from forecast.report import render_comparison

    margin = args.margin / 100
    found = run_comparison(args.a, args.b, out=args.out, margin=margin, render=render_comparison)
    if found.answer == WORSE:
        raise ForecastError(f"{args.b} compared with {args.a}: {found.sentence}")
    if found.answer == OPEN:
        print(f"undecided: {args.b} compared with {args.a}: {found.sentence}", file=sys.stderr)
        return 4
    return 0


def _view(args: argparse.Namespace) -> None:
    from forecast.visualization.viewer.command import run_view

    run_view(
        args.store,
        predictor=args.predictor,
        scene=args.scene,
        version=args.version,
        host=args.host,
        port=args.port,
        out=args.out,
    )


def _demo(args: argparse.Namespace) -> None:
    from forecast.demo import run_demo

    run_demo(args.out)
