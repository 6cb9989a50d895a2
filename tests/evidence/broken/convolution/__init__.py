"""ELFATT without its convolution."""

from attention_impls.elfatt import CARD

__all__ = ["CARD"]
