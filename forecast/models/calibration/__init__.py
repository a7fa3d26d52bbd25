"""Calibrated uncertainty: conformal tubes, the OOD score, and the fallback for OOD pedestrians."""
