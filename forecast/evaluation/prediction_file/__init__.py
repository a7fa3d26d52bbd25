"""Files of predictions: the format, a predictor that reads one, and the writer."""
