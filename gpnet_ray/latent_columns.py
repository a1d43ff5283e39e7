"""Latent vectors as a column of an Arrow table, and back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gpnet_ray.types import LatentArray

__all__ = ["NOT_FINITE", "latent_column", "latent_matrix"]

NOT_FINITE = ("latent not finite", "the network gave NaN or infinity", "featurising")
"""Category, reason and place of a material that was rejected because its latent, or what comes of it, is no number."""


def latent_column(latents: LatentArray) -> pa.FixedSizeListArray:
    """Latents (n, d) as a column of n lists of d float32."""
    flat = pa.array(np.ascontiguousarray(latents).reshape(-1), type=pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, latents.shape[1])


def latent_matrix(column: pa.ChunkedArray) -> LatentArray:
    """The reverse: float32 (n, d)."""
    width = column.type.list_size
    return np.asarray(column.combine_chunks().flatten(), dtype=np.float32).reshape(-1, width)
