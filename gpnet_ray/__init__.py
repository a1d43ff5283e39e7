"""Active learning for materials, distributed on Ray."""

__version__ = "0.1.0"
