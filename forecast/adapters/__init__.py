"""Predictions in the formats of other software: one module each, which does not require it."""
