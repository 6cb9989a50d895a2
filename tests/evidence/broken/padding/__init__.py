"""ELFATT that attends to padding."""

from attention_impls.elfatt import CARD

__all__ = ["CARD"]
