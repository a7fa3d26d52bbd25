"""Writes simulated scenes as a dataset in nuScenes format."""
