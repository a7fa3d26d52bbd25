"""Pictures of windows and predictions."""
