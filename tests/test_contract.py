"""What may import what: floors, forbidden packages, and no import circle."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"errors", "files", "geometry", "parallel"},
    {"scene"},
    {"simulator", "datasets"},
    {"graphs"},
    {"models"},
    {"training", "inference", "planning", "export", "adapters", "adaptation"},
    {"evaluation"},
    {"report", "visualization"},
    {"cli", "demo", "__main__", "__init__"},
]
"""The floors of the package: a part imports from its own floor or from those before it."""

FORBIDDEN = {
    "errors": {"numpy", "torch"},
    "files": {"numpy", "torch"},
    "geometry": {"torch", "pytorch_lightning", "torch_geometric", "nuscenes"},
    "parallel": {"numpy", "torch", "pyarrow"},
    "scene": {"torch", "pytorch_lightning", "torch_geometric", "nuscenes", "pyarrow"},
    "simulator": {"torch", "pytorch_lightning", "torch_geometric"},
    "datasets": {"torch", "pytorch_lightning", "torch_geometric"},
    "graphs": {"nuscenes"},
    "models": {"pytorch_lightning", "lightning", "nuscenes", "pyarrow"},
    "inference": {"pytorch_lightning", "lightning", "nuscenes", "pyarrow"},
    "export": {"pytorch_lightning", "lightning", "nuscenes", "pyarrow"},
    "planning": {"pytorch_lightning", "lightning", "torch_geometric", "nuscenes", "pyarrow"},
    "adapters": {"pytorch_lightning", "lightning", "torch_geometric", "nuscenes", "pyarrow"},
}
"""Packages that a part must not import, whatever its floor."""

LAZY = {"scene.prediction_rows": {"pyarrow"}}
"""What single modules may import after all, because they are imported only when they are used."""

WITHOUT_DATASETS = {"models", "planning", "adapters"}
"""Parts that must not import datasets although their floor may."""

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
            bad = top in FORBIDDEN.get(part, set()) - LAZY.get(module, set())
        elif rest == "__version__":
            bad = False
        else:
            target = rest.split(".")[0]
            is_module = any(target in layer for layer in LAYERS)
            bad = layer_of(target if is_module else "__init__") > layer_of(part)
            bad |= part in WITHOUT_DATASETS and target in ("datasets", "simulator")
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
        ("scene.prediction", "import pyarrow as pa", ["pyarrow"]),
        ("scene.prediction_rows", "import pyarrow as pa", False),
        ("models.encoder", "import pytorch_lightning as pl", ["pytorch_lightning"]),
        ("models.encoder", "from forecast.datasets.store import SceneStore", True),
        ("models.encoder", "from forecast.scene import Scene", False),
        ("planning.ranking", "from forecast.datasets.store import SceneStore", True),
        ("planning.ranking", "from forecast.evaluation import run_evaluation", True),
        ("adapters.paths", "from forecast.models.selection import cluster_centres", False),
        ("training.module", "from forecast.report import write", True),
        ("training.cli", "from forecast.visualization.training_pictures import BirdsEye", True),
        ("evaluation.run.job", "from forecast.report import render", True),
        ("report.page", "from forecast.visualization.birds_eye import LIGHT", False),
        ("datasets.store", "from forecast.simulator.export import write_town", False),
        ("simulator.export", "import torch", ["torch"]),
        ("training.module", "from forecast import __version__", False),
        ("cli", "from forecast.evaluation import run_evaluation", False),
    ],
)
def test_the_check_finds_what_it_is_for(module, source, wrong):
    found = violations(module, source)
    assert found == wrong if isinstance(wrong, list) else bool(found) == wrong


def is_type_checking(node: ast.AST) -> bool:
    """Whether a node is ``if TYPE_CHECKING:``, whose imports never run."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def running_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports that may run, at module level or inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif is_type_checking(node):
            yield from (each for part in node.orelse for each in running_imports(part))
        else:
            yield from running_imports(node)


def imported_modules(source: str, modules: set[str]) -> set[str]:
    """The modules of the package that a source imports, by full name.

    ``from a import b`` imports the module ``a.b`` if there is one, else ``a``. The packages around
    an imported module are not counted.
    """
    found = set()
    for node in running_imports(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            full = ((f"{node.module}.{alias.name}") for alias in node.names)
            found |= {name if name in modules else node.module for name in full}
    return found & modules


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    index, low, stack, found = {}, {}, [], set()

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph[module]):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            place = stack.index(module)
            component = frozenset(stack[place:])
            del stack[place:]
            if len(component) > 1 or module in graph[module]:
                found.add(component)

    for module in graph:
        if module not in index:
            visit(module)
    return found


def import_graph() -> dict[str, set[str]]:
    """The modules of the package and what each imports, also inside functions."""
    sources = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in MODULES
    }
    return {
        name: imported_modules(path.read_text(encoding="utf-8"), set(sources))
        for name, path in sources.items()
    }


def test_no_modules_import_each_other_in_a_circle():
    assert circles(import_graph()) == set()


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"p.a": "import p.b", "p.b": ""}, []),
        ({"p.a": "import p.b", "p.b": "import p.a"}, [{"p.a", "p.b"}]),
        ({"p.a": "import p.b", "p.b": "def f():\n    from p.a import x"}, [{"p.a", "p.b"}]),
        ({"p.a": "import p.b", "p.b": "if TYPE_CHECKING:\n    from p.a import x"}, []),
        ({"p": "from p.a import x", "p.a": "from p import b", "p.b": ""}, []),
        ({"p": "from p.a import x", "p.a": "from p import y"}, [{"p", "p.a"}]),
        (
            {"p.a": "import p.b", "p.b": "import p.c", "p.c": "import p.a", "p.d": "import p.a"},
            [{"p.a", "p.b", "p.c"}],
        ),
    ],
)
def test_the_search_for_circles_finds_them(sources, expected):
    graph = {name: imported_modules(text, set(sources)) for name, text in sources.items()}
    assert circles(graph) == {frozenset(each) for each in expected}


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that are loaded once a fresh interpreter has run a statement."""
    script = f"{statement}\nimport sys\nprint(*sorted(m.split('.')[0] for m in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(run.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import forecast.cli", {"torch", "pyarrow", "nuscenes", "pytorch_lightning", "scipy"}),
        ("import forecast.parallel, forecast.datasets.store", {"ray"}),
        ("import forecast.scene", {"torch", "pyarrow", "nuscenes", "pytorch_lightning"}),
        ("import forecast.datasets.store", {"torch", "nuscenes", "pytorch_lightning"}),
        ("import forecast.datasets.crowds.eth_ucy", {"torch", "nuscenes", "pyarrow"}),
        ("import forecast.datasets.crowds.stanford", {"torch", "nuscenes", "pyarrow"}),
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
