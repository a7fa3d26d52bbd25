"""Datasets that yield scenes, the store on disk, and windows of history and future."""
