"""Array types that the rooms share: NumPy arrays with their dtype in the name."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["BoolArray", "BoundArray", "FloatArray", "IntArray", "LatentArray"]

FloatArray: TypeAlias = npt.NDArray[np.float64]
"""Targets, means, standard deviations, factors: float64."""

LatentArray: TypeAlias = npt.NDArray[np.float32]
"""Latent vectors as the network gives them and as they lie on disk: float32."""

BoundArray: TypeAlias = npt.NDArray[np.float32]
"""Upper bounds of variances, rounded up: float32."""

IntArray: TypeAlias = npt.NDArray[np.int32]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
