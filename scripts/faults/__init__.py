"""Campaigns of faults: kills, changed scenes, other ways in, mutated inputs, long runs."""
