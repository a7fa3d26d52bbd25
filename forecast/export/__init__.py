"""The model without Python's model code: programs for AOTInductor and for ONNX Runtime."""

from forecast.export.folder import read, run
from forecast.export.formats import FORMATS

__all__ = ["FORMATS", "read", "run"]
