"""Pictures of scenes and predictions."""
