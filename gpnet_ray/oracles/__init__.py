"""Where labels come from: a table, or the ionic model of the hypothetical oxides."""
