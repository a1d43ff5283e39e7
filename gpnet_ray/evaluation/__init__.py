"""How good a model is, and what it cost: error metrics, learning curves, label savings."""
