"""Figures: one style, a handful of primitives."""
