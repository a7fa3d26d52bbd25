"""Exports the network as programs for AOTInductor and for ONNX Runtime, and runs them."""

from forecast.export.folder import read, run
from forecast.export.formats import FORMATS

__all__ = ["FORMATS", "read", "run"]
