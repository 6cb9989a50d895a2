"""Checks of records, by arithmetic and by repeating a part of the training."""
