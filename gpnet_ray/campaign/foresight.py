"""What can be known before hours of training: whether the Gaussian process after it will be possible at all."""

from __future__ import annotations

import ray

from gpnet_ray.config import Config
from gpnet_ray.gnn.architecture import layer_width
from gpnet_ray.gp.memory_need import fit_bytes
from gpnet_ray.gp.scaling import check_projection
from gpnet_ray.progress import Progress

__all__ = ["check_latents", "warn_of_memory"]

_GIBIBYTE = 1 << 30


def check_latents(n_rows: int, config: Config) -> None:
    """Refuse a projection onto more axes than the latents will have.

    Args:
        n_rows: Rows that the Gaussian process will be fitted to.
        config: Its ``network`` and ``gp``.

    Raises:
        InputError: fewer rows or latent dimensions than the projection has axes.
    """
    width = layer_width(config.network, config.network.layer)
    check_projection(config.gp.latent_projection, n_rows, width)


def warn_of_memory(n_rows: int, progress: Progress) -> None:
    """Warn where no node has the memory for the fit; Ray has to be connected.

    No error: Ray knows the memory that was free when it began. On a GPU other memory counts.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("GPU") for node in nodes):
        return
    most, needed = max(int(node.get("memory", 0)) for node in nodes), fit_bytes(n_rows)
    if needed > most:
        progress.line(
            f"Warning: the fit of the Gaussian process to {n_rows} rows takes some {needed / _GIBIBYTE:.1f} GiB (it grows"
            f" with their square) and the largest node has {most / _GIBIBYTE:.1f} GiB free; where that is too little, it"
            " ends after the training. Give fewer rows, or a machine with more memory"
        )
