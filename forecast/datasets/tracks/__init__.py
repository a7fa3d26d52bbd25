"""Tracks in one table, CSV or Parquet: the way in for data that no other source reads."""
