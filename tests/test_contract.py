"""What may import what: every layer imports only from itself and the layers before it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"errors", "geometry", "machine_code", "parallel"},
    {"scene"},
    {"datasets"},
    {"graphs", "drawing"},
    {"models"},
    {"training", "inference", "calibrating", "export", "planning", "adapters"},
    {"evaluation"},
    {"report", "visualization"},
    {"demo", "cli", "__main__", "__init__"},
]
"""The parts of the package, what depends on nothing first."""

FORBIDDEN = {
    "errors": {"numpy", "torch"},
    "geometry": {"torch", "pytorch_lightning", "torch_geometric", "nuscenes"},
    "machine_code": {"torch", "pytorch_lightning", "torch_geometric", "nuscenes"},
    "parallel": {"numpy", "torch", "pyarrow"},
    "scene": {"torch", "pytorch_lightning", "torch_geometric", "nuscenes", "pyarrow"},
    "datasets": {"torch", "pytorch_lightning", "torch_geometric"},
    "graphs": {"nuscenes"},
    "models": {"pytorch_lightning", "lightning", "nuscenes", "pyarrow"},
    "inference": {"pytorch_lightning", "lightning", "nuscenes", "pyarrow"},
    "export": {"pytorch_lightning", "lightning", "nuscenes", "pyarrow"},
    "planning": {"pytorch_lightning", "lightning", "torch_geometric", "nuscenes", "pyarrow"},
    "adapters": {"pytorch_lightning", "lightning", "torch_geometric", "nuscenes", "pyarrow"},
}
"""What a part must do without, whatever its layer."""

WITHOUT_DATASETS = {"models", "planning", "adapters"}
"""What knows no dataset though it comes after them."""

MODULES = sorted((ROOT / "forecast").rglob("*.py"))


def name_of(path: Path) -> str:
    """Dotted name below ``forecast``: ``scene.agents``; ``__init__`` for the package itself."""
    parts = path.relative_to(ROOT / "forecast").with_suffix("").parts
    return ".".join(parts if len(parts) == 1 else [p for p in parts if p != "__init__"])


def imports_of(source: str) -> Iterator[str]:
    """Every module a source imports, anywhere in it; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(part: str) -> int:
    places = [i for i, layer in enumerate(LAYERS) if part in layer]
    assert places, f"forecast/{part} has no layer; name it in LAYERS"
    return places[0]


def violations(module: str, source: str) -> list[str]:
    """The imports a module of that name must not have."""
    part = module.split(".")[0]
    wrong = []
    for imported in imports_of(source):
        top, _, rest = imported.partition(".")
        if top != "forecast":
            bad = top in FORBIDDEN.get(part, ())
        elif rest == "__version__":
            bad = False
        else:
            target = rest.split(".")[0]
            is_module = any(target in layer for layer in LAYERS)
            bad = layer_of(target if is_module else "__init__") > layer_of(part)
            bad |= part in WITHOUT_DATASETS and target == "datasets"
        wrong += [imported] if bad else []
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_layer_may(path):
    assert violations(name_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("scene.scene", "import torch", ["torch"]),
        ("scene.scene", "from torch import nn", ["torch.nn"]),
        ("scene.scene", "def f():\n    import torch.nn", ["torch.nn"]),
        ("scene.scene", "from forecast.datasets.windows import Window", True),
        ("scene.scene", "from forecast import Scene", ["forecast.Scene"]),
        ("scene.scene", "from forecast import geometry", False),
        ("models.encoder", "import pytorch_lightning as pl", ["pytorch_lightning"]),
        ("models.encoder", "from forecast.datasets.store import SceneStore", True),
        ("models.encoder", "from forecast.scene import Scene", False),
        ("planning.ranking", "from forecast.datasets.store import SceneStore", True),
        ("planning.ranking", "from forecast.evaluation import run_evaluation", True),
        ("adapters.paths", "from forecast.models.selection import cluster_centres", False),
        ("training.module", "from forecast.report import write", True),
        ("training.module", "from forecast import __version__", False),
        ("cli", "from forecast.evaluation import run_evaluation", False),
    ],
)
def test_the_check_finds_what_it_is_for(module, source, wrong):
    found = violations(module, source)
    assert found == wrong if isinstance(wrong, list) else bool(found) == wrong


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that are loaded once a fresh interpreter has run a statement."""
    script = f"{statement}\nimport sys\nprint(*sorted(m.split('.')[0] for m in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import forecast.cli", {"torch", "pyarrow", "nuscenes", "pytorch_lightning", "scipy"}),
        ("import forecast.parallel, forecast.datasets.store", {"ray"}),
        ("import forecast.scene", {"torch", "pyarrow", "nuscenes", "pytorch_lightning"}),
        ("import forecast.datasets.store", {"torch", "nuscenes", "pytorch_lightning"}),
        ("import forecast.datasets.eth_ucy", {"torch", "nuscenes", "pyarrow"}),
        ("import forecast.datasets.stanford", {"torch", "nuscenes", "pyarrow"}),
        ("import forecast.graphs.datamodule, forecast.training.module", {"nuscenes"}),
        ("import forecast.inference", {"nuscenes", "pytorch_lightning", "pyarrow"}),
        (
            "import forecast.export",
            {"onnx", "onnxscript", "onnxruntime", "nuscenes", "pytorch_lightning", "pyarrow"},
        ),
        (
            "import forecast.planning, forecast.adapters.autoware, forecast.adapters.commonroad, "
            "forecast.adapters.nuplan, forecast.adapters.nuscenes",
            {"nuscenes", "nuplan", "commonroad", "pytorch_lightning", "torch_geometric", "pyarrow"},
        ),
    ],
)
def test_what_is_not_needed_is_not_loaded(statement, absent):
    assert loaded_after(statement) & absent == set()
