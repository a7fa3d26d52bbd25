"""Compares two saved evaluations of the same windows: may predictor B replace predictor A?"""
