"""Figures of numbers, in one style."""
