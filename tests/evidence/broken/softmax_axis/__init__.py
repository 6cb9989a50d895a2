"""ELFATT whose global heads take both softmaxes over the wrong axis."""

from attention_impls.elfatt import CARD

__all__ = ["CARD"]
