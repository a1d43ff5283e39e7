"""The actor that holds the labelled points, their factor, and the test rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpnet_ray.config import Strategy
from gpnet_ray.errors import ActorRestartedError
from gpnet_ray.gp.settings import GpConfig
from gpnet_ray.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from gpnet_ray.evaluation.metrics import ErrorSums
    from gpnet_ray.gp.fit_records import FitResult
    from gpnet_ray.gp.hyperparameters import Hyperparameters
    from gpnet_ray.gp.messages import Block, PlannedCycle, PosteriorSnapshot, Proposal
    from gpnet_ray.gp.posterior import Posterior
    from gpnet_ray.gp.scored_points import ScoredPoints

__all__ = ["GpWorker"]


class GpWorker:
    """Fits the hyperparameters, plans picks among the shards' candidates, takes the labels in.

    Built on the rows that only measure the error; TensorFlow is imported inside the methods, since
    the driver imports this module.
    """

    def __init__(self, test_ids: Sequence[str], test_X: FloatArray, test_y: FloatArray) -> None:
        self._test = (tuple(test_ids), test_X, test_y)
        self._since_reset: tuple[Posterior, ScoredPoints] | None = None
        self._candidates: dict[str, FloatArray] = {}

    def ping(self) -> bool:
        """Answer once the process runs."""
        return True

    @property
    def _posterior(self) -> Posterior:
        return self._told()[0]

    @property
    def _scored_test(self) -> ScoredPoints:
        return self._told()[1]

    def _told(self) -> tuple[Posterior, ScoredPoints]:
        # Ray starts a lost actor again and then sends it what was meant for the lost one.
        if self._since_reset is None:
            raise ActorRestartedError("the Gaussian process has no labels; call reset first")
        return self._since_reset

    def fit(
        self, X: FloatArray, y: FloatArray, held_out: BoolArray, config: GpConfig, seed: int
    ) -> FitResult:
        """Fit the process to labelled points X (n, d), y (n,); ``seed``: of further starts of the search.

        ``held_out``, bool (n,), says which of them the network was not trained on.
        """
        from gpnet_ray.gp.calibrated_fit import fit_calibrated

        return fit_calibrated(X, y, held_out, config=config, seed=seed)

    def reset(
        self,
        hyperparameters: Hyperparameters,
        ids: Sequence[str],
        X: FloatArray,
        y: FloatArray,
        reserve: int,
    ) -> PosteriorSnapshot:
        """Start an arm from the labelled points; the snapshot is what the shards start from.

        Room for ``reserve`` more labels is kept, so that the factor need not move as it grows.
        """
        self.relearn(hyperparameters, ids, X, y, reserve)
        return self._posterior.snapshot()

    def relearn(
        self,
        hyperparameters: Hyperparameters,
        ids: Sequence[str],
        X: FloatArray,
        y: FloatArray,
        reserve: int,
    ) -> None:
        """As :meth:`reset`, for shards that stay as they are, since a variance reads no label.

        It answers nothing, so that whoever waits for its errors is sent no factor.
        """
        from gpnet_ray.gp.posterior import Posterior
        from gpnet_ray.gp.scored_points import ScoredPoints

        # What was known before gives its memory back first, and answers nothing should this fail.
        self._since_reset = None
        posterior = Posterior(hyperparameters, ids, X, y, reserve=reserve)
        test_ids, test_X, test_y = self._test
        scored_test = ScoredPoints(posterior.snapshot(), test_ids, test_X, reference=test_y)
        self._since_reset = (posterior, scored_test)

    def test_error_sums(self) -> ErrorSums:
        """Error sums of the test rows as of now."""
        sums = self._scored_test.error_sums()
        assert sums is not None  # noqa: S101 - the test rows always have their reference
        return sums

    def test_predictions(self) -> tuple[tuple[str, ...], FloatArray, FloatArray]:
        """Ids, mean and σ of the test rows as of now."""
        return self._scored_test.predictions()

    def numerics(self) -> tuple[float, int]:
        """The jitter that the factor needed (target's unit squared), and variances clipped at 0."""
        return self._posterior.jitter, self._scored_test.clipped

    def plan(
        self,
        strategy: Strategy,
        cycles: int,
        batch_size: int,
        distance_cutoff: float | None,
        order: Sequence[str] | None,
        *proposals: Proposal,
    ) -> tuple[PlannedCycle, ...]:
        """Plan as many cycles as the candidates certify (none: ask the shards for more).

        ``order`` is the order in which the candidates are picked, where that is known beforehand.
        """
        from gpnet_ray.gp.selection import plan_cycles

        self._candidates = {
            material_id: proposal.X[row]
            for proposal in proposals
            for row, material_id in enumerate(proposal.ids)
        }
        return plan_cycles(
            self._posterior,
            proposals,
            strategy=strategy,
            cycles=cycles,
            batch_size=batch_size,
            distance_cutoff=distance_cutoff,
            order=order,
        )

    def commit(
        self, ids: Sequence[str], y: FloatArray, cycle_of: IntArray, n_cycles: int
    ) -> tuple[Block, ErrorSums, FloatArray]:
        """Take in labels of planned picks; the block brings the shards up to date.

        Args:
            ids: The b labelled picks, in the order of the plan.
            y: Their labels (b,), target's unit.
            cycle_of: The planned cycle (0-based, in this block) of each (b,).
            n_cycles: How many cycles the block covers.

        Returns:
            The block, the test rows' error sums after each of its cycles, and what was predicted
            for each pick (b,) from all labels before its own.
        """
        posterior = self._posterior
        X = np.stack([self._candidates[material_id] for material_id in ids])
        block = posterior.commit(ids, X, y)
        sums = self._scored_test.absorb(block, cycle_of=cycle_of, n_cycles=n_cycles)
        assert sums is not None  # noqa: S101 - the test rows always have their reference
        # z_i = (y_i − mean_i) / L_ii, the mean being that of all points before i.
        predicted = y - np.diag(block.L) * block.z
        return block, sums, predicted

    def assume(self, ids: Sequence[str], X: FloatArray | None = None) -> tuple[Block, FloatArray]:
        """Condition on points whose labels are still being computed.

        A variance never reads a label, so it falls as if the labels were there. Each point is
        committed at what is predicted for it, so that no mean changes.

        Args:
            ids: The b points.
            X: Their scaled latents (b, d); those of the last plan's candidates where left out.

        Returns:
            The block, which brings the shards up to date, and the predictions (b,), target's unit.
        """
        if X is None:
            X = np.stack([self._candidates[material_id] for material_id in ids])
        predicted, _ = self._posterior.predict(X)
        return self._posterior.commit(ids, X, predicted), predicted
