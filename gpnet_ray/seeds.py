"""One seed in the configuration, one independent stream of random numbers for every purpose."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["derive_seed", "generator"]


def derive_seed(seed: int, purpose: str) -> int:
    """Derive a 31-bit seed for one purpose (``"split"``, ``"network"``, …) from the run's seed.

    The same (seed, purpose) gives the same number on every machine and Python version; different
    purposes give unrelated streams (``numpy.random.SeedSequence``).
    """
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
    return int(sequence.generate_state(1)[0] >> 1)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Return a NumPy generator for one purpose, derived from the run's seed."""
    return np.random.default_rng(derive_seed(seed, purpose))
