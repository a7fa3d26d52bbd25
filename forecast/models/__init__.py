"""Encoder, world model, floors and metrics: arrays in, arrays out."""
