"""How pedestrians and vehicles move from one step to the next."""
