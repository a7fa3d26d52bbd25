"""Training with Lightning: the module, its callbacks and the ``forecast fit`` command."""
