"""The parts of scripts/versions: versions of other packages, and the package as installed."""
