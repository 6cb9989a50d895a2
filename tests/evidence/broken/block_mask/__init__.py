"""ELFATT whose blocks of keys and values lie one token further than those of the queries."""

from attention_impls.elfatt import CARD

__all__ = ["CARD"]
