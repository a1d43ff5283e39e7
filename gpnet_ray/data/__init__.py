"""Crystals in: the dataset, readers for the formats of the field, splits, and hypothetical oxides."""
