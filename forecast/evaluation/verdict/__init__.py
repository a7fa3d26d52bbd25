"""Acceptance criteria, and the verdict on a whole evaluation."""
