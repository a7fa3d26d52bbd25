"""Recordings of pedestrians without vehicles and maps: ETH/UCY, and Stanford from TrajNet."""
