"""The file formats of programs: how each is written, read and run."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from forecast.errors import ForecastError
from forecast.models.compile import Library, extract_library, has_compiler, write_package
from forecast.models.programs import Program

_CHATTY = ("torch.onnx._internal.exporter._registration", "onnx_ir._convenience")
"""Loggers of warnings that a user can do nothing about."""

Run = Callable[[list[Tensor]], list[Tensor]]
"""A program read from a file: takes and returns tensors."""


class Format(Protocol):
    """A file format of programs.

    Attributes:
        suffix: Suffix of the files.
    """

    suffix: str

    def write(self, program: Program, path: Path) -> None:
        """Writes a program.

        Args:
            program: The program.
            path: The file.

        Raises:
            ForecastError: A requirement of the format is not installed.
        """

    def read(self, path: Path, inputs: list[str], outputs: int) -> Run:
        """Reads a program.

        Args:
            path: The file.
            inputs: Names of the program's inputs, in order.
            outputs: Number of its outputs.

        Raises:
            ForecastError: A requirement of the format is not installed.
        """


class AotInductor:
    """Machine code for the processor of this machine; runs in Python, and in C++ with libtorch."""

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
    """The open exchange format; runs on every platform of ONNX Runtime."""

    suffix = ".onnx"

    def write(self, program: Program, path: Path) -> None:
        """See `Format`; needs onnx and onnxscript."""
        _package("onnxscript")
        examples = tuple(array.example() for array in program.arrays())
        letters = tuple(array.letters() for array in program.arrays())
        interface = program.interface()
        with torch.no_grad(), _quietly():
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
        used = {value.name for value in session.get_inputs()}  # export drops unused inputs

        def run(values: list[Tensor]) -> list[Tensor]:
            named = zip(inputs, values, strict=True)
            given = {name: value.contiguous().numpy() for name, value in named if name in used}
            return [torch.from_numpy(value) for value in session.run(None, given)]

        return run


FORMATS: dict[str, Format] = {"aoti": AotInductor(), "onnx": Onnx()}
"""Formats by their names on the command line."""


@contextmanager
def _quietly() -> Iterator[None]:
    """Hides warnings of axes with one name, of empty lists, and of torchvision, which is absent."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ForecastError(f"{name} is not installed; pip install forecast[export]") from None
