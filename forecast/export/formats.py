"""The forms a program is written in, and how each is run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
import torch._inductor
from torch import Tensor
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler
from torch.fx.experimental import _config as export_config

from forecast.errors import ForecastError
from forecast.export.programs import Program, Tensors

Run = Callable[..., Tensors]
"""A program that was read again: tensors in, tensors out."""


class Format(Protocol):
    """A way to write programs and to read them."""

    suffix: str

    def write(self, program: Program, path: Path) -> None:
        """Writes a program; raises `ForecastError`."""

    def read(self, path: Path) -> Run:
        """Reads one; raises `ForecastError`."""


class AotInductor:
    """Machine code, compiled for the processor at hand; runs in Python and in C++ with libtorch."""

    suffix = ".pt2"

    def write(self, program: Program, path: Path) -> None:
        """See `Format`; needs a C++ compiler."""
        try:
            get_cpp_compiler()
        except InvalidCxxCompiler:
            raise ForecastError(
                f"{path}: there is no C++ compiler; install g++, or export to ONNX"
            ) from None
        torch._inductor.aoti_compile_and_package(captured(program), package_path=str(path))

    def read(self, path: Path) -> Run:
        """See `Format`; needs no compiler."""
        compiled = torch._inductor.aoti_load_package(str(path))
        return lambda *inputs: tuple(compiled(*(value.contiguous() for value in inputs)))


class Onnx:
    """The open exchange format; runs wherever ONNX Runtime does."""

    suffix = ".onnx"

    def write(self, program: Program, path: Path) -> None:
        """See `Format`; needs onnx and onnxscript."""
        _package("onnxscript")
        varies = tuple(value.varying for value in program.inputs)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of axes that have one letter
            written: Any = torch.onnx.export(
                program.verb.eval(),
                program.examples(),
                dynamo=True,
                verbose=False,
                dynamic_shapes=(varies,),
                input_names=[value.name for value in program.inputs],
                output_names=[value.name for value in program.outputs],
            )
        written.save(str(path))

    def read(self, path: Path) -> Run:
        """See `Format`; needs onnxruntime."""
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]

        def run(*inputs: Tensor) -> Tensors:
            arrays = [value.contiguous().numpy() for value in inputs]
            outputs = session.run(None, dict(zip(names, arrays, strict=True)))
            return tuple(torch.from_numpy(value) for value in outputs)

        return run


FORMATS: dict[str, Format] = {"aoti": AotInductor(), "onnx": Onnx()}
"""By their names on the command line."""

_ANY = torch.export.Dim.DYNAMIC


def captured(program: Program) -> torch.export.ExportedProgram:
    """The graph of a program, for inputs of any size, 0 and 1 included."""
    varies = tuple(dict.fromkeys(value.varying, _ANY) for value in program.inputs)
    any_size = export_config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
    with torch.no_grad(), any_size:
        return torch.export.export(program.verb, program.examples(), dynamic_shapes=(varies,))


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ForecastError(f"{name} is not installed; pip install forecast[export]") from None
