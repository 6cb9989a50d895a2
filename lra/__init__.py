"""The Long Range Arena suite: tasks, attention mechanisms, training and measuring, in PyTorch and JAX."""

__version__ = "0.1.0"
