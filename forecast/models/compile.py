"""Compiles the network; the definition of the network does not import this module.

Prediction on a processor runs `WorldModel.update` and `WorldModel.act` as AOTInductor machine code.
It is compiled when weights are loaded, once for each configuration, version and machine. This takes
about a minute. The libraries are kept in ``$XDG_CACHE_HOME/forecast`` or ``~/.cache/forecast``.
Long training runs put the same two functions through `torch.compile`. The definition itself runs
without a C++ compiler, on a GPU, and with the environment variable FORECAST_COMPILE=off.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from operator import itemgetter
from pathlib import Path
from types import MethodType
from typing import Any

import torch
import torch._inductor
from torch import Tensor
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler
from torch.utils import _pytree as pytree

from forecast.errors import ForecastError
from forecast.files import cache_folder, completed
from forecast.models.programs import Program, captured, step_programs
from forecast.models.world_model import WorldModel

SETTING = "FORECAST_COMPILE"
"""Environment variable that switches compiling off."""
OPTIONS = {"cpp.threads": 1}
"""Options of the compiler. A program uses one thread, because several threads run programs at the
same time (`forecast.models.threads`). Sums over edges then keep their order and need no atomic
operations."""
UNCHECKED = {**OPTIONS, "assert_indirect_indexing": False}
"""Options inside the package, where indices come from the search for neighbours and are valid."""

_VERSIONS = 64
"""Versions of a function with gradients, at most; beyond, it runs uncompiled. The compiler makes
one for each combination of edge counts below and above bounds of its own."""
_RUNNING_AT_ONCE = 64
"""Threads that may run a program at the same time; more wait."""


def has_compiler() -> bool:
    """Whether torch finds a C++ compiler."""
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def wanted() -> bool:
    """Whether to compile: there is a C++ compiler, and `SETTING` does not switch compiling off."""
    return os.environ.get(SETTING, "").lower() not in {"off", "0", "no"} and has_compiler()


def accelerate(world: WorldModel, *, training: bool = False) -> None:
    """Replaces a world model's `update` and `act` by compiled programs.

    The programs run where no gradients are needed. With gradients or under autocast the definition
    runs, or its `torch.compile` version. If compiling fails, one line on stderr gives the reason,
    and the definition runs everywhere. The first call on a machine takes about a minute.

    Args:
        world: The world model, in float32. It does not change if it is not on a processor or if
            compiling is not `wanted`. It must stay on the processor and in float32 afterwards.
        training: Whether `torch.compile` also compiles the functions with gradients, at the first
            training step.
    """
    if not wanted() or next(world.parameters()).device.type != "cpu":
        return
    programs = step_programs(world)
    try:
        paths = _machine_code(world, programs)
    except (ForecastError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        _say(f"could not compile the network, so it runs uncompiled, more slowly ({reason})")
        return
    for name, path in paths.items():
        verb = _Verb(world, name, Library(path, programs[name].returns))
        if training:
            torch._dynamo.config.recompile_limit = _VERSIONS
            compiled = torch.compile(verb.plain, dynamic=True, options=dict(UNCHECKED))
            verb.plain = partial(_with_whole_gradients, compiled)
        setattr(world, name, verb)


class _Verb:
    """A verb of a world model that runs as a compiled program where no gradients are needed."""

    def __init__(self, world: WorldModel, name: str, library: Library) -> None:
        self.world, self.name, self.library = world, name, library
        self.plain: Callable[..., Any] = MethodType(getattr(type(world), name), world)
        self.weights: list[Tensor] = []

    def __call__(self, *arguments: Any) -> Any:
        if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or self._moved():
            return self.plain(*arguments)
        return self.result(self.library([*self.weights, *_tensors(arguments)]))

    def _moved(self) -> bool:
        """Whether the weights are of another type or device than the program was compiled for."""
        first = next(self.world.parameters())
        if not self.weights:  # not at once: an unpickled world model gets its weights later
            program = step_programs(self.world)[self.name]
            is_tuple = isinstance(program.outputs, tuple)  # a flat one: `Motion`
            self.result = type(program.outputs)._make if is_tuple else itemgetter(0)
            self.weights = program.weights()
        plain = first.dtype == torch.float32 and first.is_cpu
        return not plain or first.data_ptr() != self.weights[0].data_ptr()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or another process on the same machine, loads the library again."""
        return _restored, (self.world, self.name, self.library.path, self.library.outputs)


def _with_whole_gradients(verb: Callable[..., Any], around: Any, state: Any, *others: Any) -> Any:
    """Calls a verb as if every number of the state needed gradients, and lay in memory alike.

    `torch.compile` makes a version for each set of inputs that need gradients and for each layout,
    which takes minutes, and gives up after a few. Both differ between observed and imagined steps.
    """

    def needing(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        value = value.contiguous()
        return value if value.requires_grad else value.detach().requires_grad_()

    return verb(around, pytree.tree_map(needing, state), *others)


def _tensors(values: Any) -> list[Tensor]:
    """The tensors of nested tuples, in the order of `pytree.tree_leaves`, which takes longer."""
    if isinstance(values, Tensor):
        return [values]
    return [tensor for value in values for tensor in _tensors(value)]


def _restored(world: WorldModel, name: str, path: Path, outputs: int) -> Callable[..., Any]:
    """A copied verb; the definition where the library is not at hand, as on another machine."""
    if path.is_file():
        return _Verb(world, name, Library(path, outputs))
    return MethodType(getattr(type(world), name), world)


def _machine_code(world: WorldModel, programs: dict[str, Program]) -> dict[str, Path]:
    """The shared libraries of programs; compiled unless they are in the cache."""
    folder = _folder(world)
    paths = {name: folder / f"{name}.so" for name in programs}
    if not all(path.is_file() for path in paths.values()):
        _say(f"compiling the network for this machine, once; {SETTING}=off does without")
        for name, program in programs.items():
            # Another process sees the whole file or none.
            with completed(paths[name]) as library:
                package = library.with_suffix(".pt2")
                write_package(program, package, with_weights=True)
                extract_library(package, library.parent)
    return paths


def _say(text: str) -> None:
    print(f"forecast: {text}", file=sys.stderr, flush=True)


def write_package(program: Program, path: Path, *, with_weights: bool) -> None:
    """Compiles a program with AOTInductor into a package (``.pt2``).

    Args:
        program: The program.
        path: Where the package is written.
        with_weights: Whether the program takes the weights as inputs; otherwise it contains them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own internals
        graph = captured(program, with_weights=with_weights)
        torch._inductor.aoti_compile_and_package(
            graph,
            package_path=str(path),
            inductor_configs=dict(UNCHECKED if with_weights else OPTIONS),
        )


def extract_library(package: Path, folder: Path) -> Path:
    """Extracts the shared library from a package that `write_package` wrote.

    Args:
        package: The package.
        folder: Where the library is written.

    Returns:
        Path of the library.
    """
    with zipfile.ZipFile(package) as file:
        (library,) = (name for name in file.namelist() if name.endswith(".so"))
        path = folder / f"{package.stem}.so"
        path.write_bytes(file.read(library))
    return path


def _folder(world: WorldModel) -> Path:
    """Cache folder of the programs of a configuration, for this version and machine.

    The weights are inputs of the programs, so all weights of a configuration share the programs.
    """
    digest = hashlib.sha256()
    # Any change of the definition, however small, gives another folder.
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    where = [torch.__version__, platform.machine(), _processor()]
    sizes = [asdict(world.config), asdict(world.graph)]
    digest.update(json.dumps([where, sizes, UNCHECKED]).encode())
    return cache_folder() / digest.hexdigest()[:16]


def _processor() -> str:
    """What the processor can do: machines that share a home folder may differ in it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return torch.backends.cpu.get_cpu_capability()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


class Library:
    """A compiled program that releases the interpreter's lock while it runs.

    torch's own loader holds the lock, so threads would run one after the other. Therefore the C
    interface of the library (``torch/csrc/inductor/aoti_runtime/interface.h``) is called through
    ctypes, which releases the lock.

    Args:
        path: The shared library.
        outputs: Number of tensors that the program returns.

    Raises:
        ForecastError: The library cannot create a model.
    """

    def __init__(self, path: Path, outputs: int) -> None:
        self._library, self.path, self.outputs = ctypes.CDLL(str(path)), path, outputs
        self._container = ctypes.c_void_p()
        create = self._library.AOTInductorModelContainerCreateWithDevice
        size = ctypes.c_size_t(_RUNNING_AT_ONCE)
        _check(create(ctypes.byref(self._container), size, b"cpu", None), path)
        self._run = self._library.AOTInductorModelContainerRun

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Runs the program.

        Args:
            inputs: Tensors in the order of the program, on the processor.

        Returns:
            The program's results.

        Raises:
            ForecastError: The program reports an error.
        """
        # A tensor crosses the C interface as a handle: a pointer to a heap-allocated at::Tensor.
        # The program takes over the input handles and deletes them; it returns handles that the
        # caller owns. torch wraps handles in capsules, ctypes needs the plain pointers.
        given = torch._C._aoti.unsafe_alloc_void_ptrs_from_tensors(
            [value.contiguous() for value in inputs]
        )
        handles = (ctypes.c_void_p * len(given))(*(_pointer(capsule, None) for capsule in given))
        found = (ctypes.c_void_p * self.outputs)()
        sizes = ctypes.c_size_t(len(handles)), ctypes.c_size_t(len(found))
        failed = self._run(self._container, handles, sizes[0], found, sizes[1], None, None)
        _check(failed, self.path)
        return torch._C._aoti.alloc_tensors_by_stealing_from_void_ptrs(
            [_capsule(handle, None, None) for handle in found]
        )


# Result and argument types must be set: by default ctypes truncates pointers to C int.
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
