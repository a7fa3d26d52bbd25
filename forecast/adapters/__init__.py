"""Predictions in the formats of other software; one file each, without importing that software."""
