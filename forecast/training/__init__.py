"""Training with Lightning: the module and the ``forecast fit`` command."""
