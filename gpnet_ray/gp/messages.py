"""What the GP, the shards and the driver say to each other: NumPy arrays and ids, no TensorFlow.

Notation as everywhere in this room: K = k(X, X) + noise² I = L Lᵀ over the labelled points,
z = L⁻¹ (y − m), and for other points P the columns V = L⁻¹ k(X, P).
"""

from __future__ import annotations

from dataclasses import dataclass

from gpnet_ray.errors import InputError
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.types import FloatArray

__all__ = ["Block", "PlannedCycle", "PosteriorSnapshot", "Proposal", "Touched"]


@dataclass(frozen=True)
class PosteriorSnapshot:
    """Everything that a shard needs to predict: the state of a posterior at one moment.

    Attributes:
        hyperparameters: Kernel, noise and mean.
        X: Labelled points, scaled latents, float64 (n, d).
        L: Lower Cholesky factor of K, float64 (n, n).
        z: L⁻¹ (y − m), float64 (n,).
        jitter: Largest variance that had to be added to the diagonal of K; 0 as a rule.
    """

    hyperparameters: Hyperparameters
    X: FloatArray
    L: FloatArray
    z: FloatArray
    jitter: float


@dataclass(frozen=True)
class Block:
    """What b newly labelled points append to the posterior.

    Attributes:
        ids: The new points, in the order of the rows.
        X: Their scaled latents, float64 (b, d).
        V: L⁻¹ k(X, X_new) with the factor of the n points before them, float64 (n, b).
        L: Lower Cholesky factor of their own conditional covariance, float64 (b, b).
        z: Their entries of z, float64 (b,).
    """

    ids: tuple[str, ...]
    X: FloatArray
    V: FloatArray
    L: FloatArray
    z: FloatArray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Proposal:
    """A shard's candidates for the next picks.

    Attributes:
        ids: The candidates.
        X: Their scaled latents, float64 (k, d).
        bound_of_rest: Upper bound of the variance of every other point of the shard that may still
            be picked; −inf when there is none.
        V: Their columns L⁻¹ k(X_labelled, X), float64 (n, k), so that the planner need not compute
            them again; ``None``, or columns of a factor that has grown since: it does.
        is_cut_short: Whether more were asked for than the shard's memory keeps exact, so that asking for more
            is of no use.
    """

    ids: tuple[str, ...]
    X: FloatArray
    bound_of_rest: float
    V: FloatArray | None = None
    is_cut_short: bool = False

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            InputError: latents or columns that do not belong to the ids.
        """
        if self.X.ndim != 2 or len(self.X) != len(self.ids):
            raise InputError(f"{len(self.ids)} candidates with latents of shape {self.X.shape}")
        if self.V is not None and (self.V.ndim != 2 or self.V.shape[1] != len(self.ids)):
            raise InputError(f"{len(self.ids)} candidates with columns of shape {self.V.shape}")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class PlannedCycle:
    """The picks of one cycle.

    Attributes:
        ids: What to label, in the order of picking.
        sigmas: Standard deviation of an observation of each at the time of its pick, target's unit.
        radius: The distance that every pair of the batch keeps (strategy ``distance``), in units of
            the scaled latent space; ``None`` for other strategies.
        asked_radius: The distance that was asked for, which a batch may not have been filled with.
    """

    ids: tuple[str, ...]
    sigmas: tuple[float, ...]
    radius: float | None = None
    asked_radius: float | None = None


@dataclass(frozen=True)
class Touched:
    """What exact picks have cost so far.

    Attributes:
        n_points: Candidates of the shard.
        n_touched: How many of them were ever computed in full.
        n_computed: Computations in full, of a point that was let go and came back again too.
    """

    n_points: int
    n_touched: int
    n_computed: int

    def __add__(self, other: Touched) -> Touched:
        return Touched(
            self.n_points + other.n_points,
            self.n_touched + other.n_touched,
            self.n_computed + other.n_computed,
        )
