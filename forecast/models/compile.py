"""Makes the network fast by compiling it; the definition knows nothing of this module.

Prediction on a processor runs `WorldModel.update` and `WorldModel.act` as machine code of
AOTInductor. It is compiled once for each configuration, version and machine, when weights are
loaded, and kept in a cache folder. Training runs the same two functions through `torch.compile`.
Without a C++ compiler, on a GPU, or with the environment variable FORECAST_COMPILE=off, the
definition itself runs.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch._inductor
from torch import Tensor
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler
from torch.utils import _pytree as pytree

from forecast.errors import ForecastError
from forecast.models.programs import Program, captured, step_programs
from forecast.models.world_model import WorldModel

SETTING = "FORECAST_COMPILE"
"""Environment variable that switches compiling off."""
OPTIONS = {"cpp.threads": 1, "assert_indirect_indexing": False}
"""A program uses one thread: threads run programs side by side (`forecast.models.threads`), and
sums over edges keep their order and need no atomic operations. The search for neighbours gives
indices that need no further check."""

_RUNNING_AT_ONCE = 64
"""Threads that may run a program at the same time; more wait."""


def has_compiler() -> bool:
    """Whether a C++ compiler is at hand."""
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def wanted() -> bool:
    """Whether to compile: there is a compiler and nobody has switched compiling off."""
    return os.environ.get(SETTING, "").lower() not in {"off", "0", "no"} and has_compiler()


def accelerate(world: WorldModel, *, training: bool = False) -> None:
    """Replaces a world model's `update` and `act` by compiled programs.

    In another type than float32, or under autocast, the definition runs as before. The first time
    on a machine this takes about a minute.

    Args:
        world: The world model; it stays as it is unless it is on a processor and compiling is
            `wanted`.
        training: Whether steps with gradients are compiled too, by `torch.compile` at the first
            step. Otherwise the definition computes these.
    """
    if not wanted() or next(world.parameters()).device.type != "cpu":
        return
    programs = step_programs(world)
    try:
        paths = _machine_code(world, programs)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        _say(f"could not compile the network, so it runs uncompiled, more slowly ({reason})")
        return
    for name, program in programs.items():
        plain = program.verb
        if training:
            plain = torch.compile(plain, dynamic=True, options=dict(OPTIONS))
        setattr(world, name, _Verb(plain, program, Library(paths[name], program.returns)))


class _Verb:
    """A verb of the network that runs as a compiled program where nobody needs gradients."""

    def __init__(self, plain: Callable[..., Any], program: Program, run: Library) -> None:
        self.plain, self.run, self.weights = plain, run, program.weights()
        self.verb: Any = program.verb
        self.result = pytree.tree_structure(program.outputs)

    def __call__(self, *arguments: Any) -> Any:
        if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or self._moved():
            return self.plain(*arguments)
        found = self.run([*self.weights, *pytree.tree_leaves(arguments)])
        return pytree.tree_unflatten(found, self.result)

    def _moved(self) -> bool:
        """Whether the weights are no longer where they were when the program was loaded."""
        return next(self.verb.__self__.parameters()).data_ptr() != self.weights[0].data_ptr()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copied or pickled world model has the definition again: programs stay in a process."""
        return getattr, (self.verb.__self__, self.verb.__name__)


def _machine_code(world: WorldModel, programs: dict[str, Program]) -> dict[str, Path]:
    """The shared libraries of programs; compiled unless they are in the cache."""
    folder = _folder(world)
    paths = {name: folder / f"{name}.so" for name in programs}
    if not all(path.is_file() for path in paths.values()):
        _say(f"compiling the network for this machine, once; {SETTING}=off does without")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            for name, program in programs.items():
                package = Path(work) / f"{name}.pt2"
                write_package(program, package, with_weights=True)
                # Whole or absent: other processes may look for it meanwhile.
                extract_library(package, Path(work)).replace(paths[name])
    return paths


def _say(text: str) -> None:
    print(f"forecast: {text}", file=sys.stderr, flush=True)


def write_package(program: Program, path: Path, *, with_weights: bool) -> None:
    """Compiles a program with AOTInductor into a package (``.pt2``).

    Args:
        program: The program.
        path: Where the package is written.
        with_weights: Whether the program takes its weights as inputs, or contains them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        graph = captured(program, with_weights=with_weights)
        torch._inductor.aoti_compile_and_package(
            graph, package_path=str(path), inductor_configs=dict(OPTIONS)
        )


def extract_library(package: Path, folder: Path) -> Path:
    """Takes the shared library out of a package of `write_package` into a folder."""
    with zipfile.ZipFile(package) as file:
        (library,) = (name for name in file.namelist() if name.endswith(".so"))
        path = folder / f"{package.stem}.so"
        path.write_bytes(file.read(library))
    return path


def _folder(world: WorldModel) -> Path:
    """Where the programs of a configuration are kept, for this version and machine."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    where = [torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability()]
    sizes = [asdict(world.config), asdict(world.graph)]
    digest.update(json.dumps([where, sizes, OPTIONS]).encode())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "forecast" / digest.hexdigest()[:16]


class Library:
    """A compiled program that releases the interpreter's lock while it runs.

    torch's own loader holds the lock, so that threads would run one after the other. So the C
    interface of the library (``torch/csrc/inductor/aoti_runtime/interface.h``) is called directly.

    Args:
        path: The shared library.
        outputs: Number of tensors it returns.
    """

    def __init__(self, path: Path, outputs: int) -> None:
        self._library, self._outputs = ctypes.CDLL(str(path)), outputs
        self._container = ctypes.c_void_p()
        create = self._library.AOTInductorModelContainerCreateWithDevice
        size = ctypes.c_size_t(_RUNNING_AT_ONCE)
        _check(create(ctypes.byref(self._container), size, b"cpu", None), path)
        self._run, self._path = self._library.AOTInductorModelContainerRun, path

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Runs the program on contiguous copies of its inputs."""
        given = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(
            [value.contiguous() for value in inputs]
        )
        handles = (ctypes.c_void_p * len(given))(*(_pointer(capsule, None) for capsule in given))
        found = (ctypes.c_void_p * self._outputs)()
        sizes = ctypes.c_size_t(len(handles)), ctypes.c_size_t(len(found))
        failed = self._run(self._container, handles, sizes[0], found, sizes[1], None, None)
        _check(failed, self._path)
        return torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(
            [_capsule(handle, None, None) for handle in found]
        )


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype, _capsule.argtypes = (
    ctypes.py_object,
    [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
)


def _check(failed: int, path: Path) -> None:
    if failed:
        raise ForecastError(f"{path}: the compiled program failed; delete it and load again")
