"""The forms a program is written in, and how each is run."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from forecast.errors import ForecastError
from forecast.models.compile import Library, extract_library, has_compiler, write_package
from forecast.models.programs import Program

Run = Callable[[list[Tensor]], list[Tensor]]
"""A program that was read again: tensors in, tensors out."""


class Format(Protocol):
    """A way to write programs and to read them."""

    suffix: str

    def write(self, program: Program, path: Path) -> None:
        """Writes a program; raises `ForecastError`."""

    def read(self, path: Path, inputs: list[str], outputs: int) -> Run:
        """Reads a program by its inputs' names and number of outputs; raises `ForecastError`."""


class AotInductor:
    """Machine code, compiled for the processor at hand; runs in Python and in C++ with libtorch."""

    suffix = ".pt2"

    def write(self, program: Program, path: Path) -> None:
        """See `Format`; needs a C++ compiler."""
        if not has_compiler():
            raise ForecastError(f"{path}: there is no C++ compiler; install g++, or export to ONNX")
        write_package(program, path, with_weights=False)

    def read(self, path: Path, inputs: list[str], outputs: int) -> Run:
        """See `Format`; needs no compiler."""
        with tempfile.TemporaryDirectory() as folder:
            return Library(extract_library(path, Path(folder)), outputs)


class Onnx:
    """The open exchange format; runs wherever ONNX Runtime does."""

    suffix = ".onnx"

    def write(self, program: Program, path: Path) -> None:
        """See `Format`; needs onnx and onnxscript."""
        _package("onnxscript")
        examples = tuple(array.example() for array in program.arrays())
        letters = tuple(array.letters() for array in program.arrays())
        interface = program.interface()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of axes that have one letter
            written: Any = torch.onnx.export(
                program.flat().eval(),
                examples,
                dynamo=True,
                verbose=False,
                dynamic_shapes=(letters,),
                input_names=[value["name"] for value in interface["inputs"]],
                output_names=[value["name"] for value in interface["outputs"]],
            )
        written.save(str(path))

    def read(self, path: Path, inputs: list[str], outputs: int) -> Run:
        """See `Format`; needs onnxruntime."""
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        used = {value.name for value in session.get_inputs()}  # ONNX drops inputs without effect

        def run(values: list[Tensor]) -> list[Tensor]:
            named = zip(inputs, values, strict=True)
            given = {name: value.contiguous().numpy() for name, value in named if name in used}
            return [torch.from_numpy(value) for value in session.run(None, given)]

        return run


FORMATS: dict[str, Format] = {"aoti": AotInductor(), "onnx": Onnx()}
"""By their names on the command line."""


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ForecastError(f"{name} is not installed; pip install forecast[export]") from None
