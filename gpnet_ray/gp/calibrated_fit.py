"""The whole fit of a Gaussian process: its hyperparameters, then a σ that held-out rows agree with."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gpnet_ray.errors import InputError
from gpnet_ray.gp.fit import fit_hyperparameters
from gpnet_ray.gp.fit_records import FitResult
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.recalibration import FEWEST_HELD_OUT, fit_recalibration
from gpnet_ray.gp.settings import GpConfig
from gpnet_ray.types import BoolArray, FloatArray

__all__ = ["fit_calibrated", "standardised_errors"]


def fit_calibrated(
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    held_out: npt.ArrayLike,
    *,
    config: GpConfig,
    seed: int = 0,
) -> FitResult:
    """Fit the hyperparameters on labelled points and recalibrate σ on those that were held out.

    The held-out rows are predicted from the other ones, so that neither network nor process knows
    them; afterwards they are labelled points like the others. Where they are fewer than
    ``FEWEST_HELD_OUT``, σ stays as fitted, with a warning in the result.

    Args:
        X: Scaled latents, shape (n, d).
        y: Labels, shape (n,), target's unit.
        held_out: Which rows the network was not trained on, bool (n,).
        config: Kernel, mean, noise, rows and recalibration.
        seed: Seed of the starts of the search after the first.

    Raises:
        InputError, NumericalError: as :func:`~gpnet_ray.gp.fit.fit_hyperparameters`.
    """
    start = time.perf_counter()
    held = np.asarray(held_out, dtype=np.bool_)
    fit = fit_hyperparameters(X, y, config=config, seed=seed, held_out=held)
    if config.recalibration == "none":
        return fit
    n_held = int(held.sum())
    if n_held < FEWEST_HELD_OUT:
        warning = (
            f"σ is as fitted, not recalibrated: {n_held} of {len(held)} labelled rows were held out of the"
            f" network's training, {FEWEST_HELD_OUT} are needed (training.validation_fraction)"
        )
        return replace(fit, warnings=(*fit.warnings, warning))
    errors = standardised_errors(fit.hyperparameters, np.asarray(X), np.asarray(y), held)
    recalibration = fit_recalibration(config.recalibration, errors)
    return replace(
        fit,
        hyperparameters=fit.hyperparameters.with_sigma_times(recalibration.scale),
        recalibration=recalibration,
        seconds=time.perf_counter() - start,
    )


def standardised_errors(
    hyperparameters: Hyperparameters, X: FloatArray, y: FloatArray, held_out: BoolArray
) -> FloatArray:
    """(label − mean) / σ of the held-out rows (m,), predicted from all the others.

    Raises:
        InputError: every row was held out.
    """
    if held_out.all():
        raise InputError(
            f"all {len(y)} rows were held out; a prediction needs others to start from"
        )
    rest = ~held_out
    ids = [str(row) for row in np.flatnonzero(rest)]
    posterior = Posterior(hyperparameters, ids, X[rest], y[rest])
    mean, sigma = posterior.predict(X[held_out])
    return np.asarray((y[held_out] - mean) / sigma)
