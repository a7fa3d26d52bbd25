"""Recordings of pedestrians alone: ETH/UCY, Stanford from TrajNet, and any folder of rows."""
