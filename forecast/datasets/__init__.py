"""Where scenes come from, how they are stored, and how they are cut into windows."""
