"""Tests which guarantees a predictor gives, such as no input from the future."""
