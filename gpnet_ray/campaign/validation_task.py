"""One fold: learn from its train rows, predict what is held out. The held-out labels never come here."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpnet_ray.actors.network_worker import NetworkWorker
from gpnet_ray.campaign.begun_from import held_out_warning, rows_known
from gpnet_ray.campaign.preparation import training_seed
from gpnet_ray.config import Config
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gnn.records import EpochRecord, KeptEpoch
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.types import FloatArray

if TYPE_CHECKING:
    from gpnet_ray.gnn.graphs import CrystalGraphs

__all__ = ["HeldOutPrediction", "Lesson", "learn_and_predict", "threads_a_fold"]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a fold may know.

    Attributes:
        train_ids: ids that are learned from.
        train_labels: their labels (n,), target's unit.
        test_ids: ids that are predicted.
        target: name of the property.
        unit: its unit.
    """

    train_ids: tuple[str, ...]
    train_labels: FloatArray
    test_ids: tuple[str, ...]
    target: str
    unit: str


@dataclass(frozen=True, eq=False)
class HeldOutPrediction:
    """What a fold says of the rows that it has not seen.

    Attributes:
        ids: the m held-out ids.
        mean: float64 (m,), target's unit.
        sigma: float64 (m,), standard deviation of an observation, target's unit.
        network_prediction: float64 (m,), the network's own output, target's unit.
        hyperparameters: of the Gaussian process.
        recalibration: of its σ, fitted on the rows that training held out.
        warnings: of the training and of the fit of the hyperparameters.
        seconds: wall time of it all.
        kept: the epoch of the network's training that predicts.
    """

    ids: tuple[str, ...]
    mean: FloatArray
    sigma: FloatArray
    network_prediction: FloatArray
    hyperparameters: Hyperparameters
    recalibration: Recalibration
    warnings: tuple[str, ...]
    seconds: float
    kept: KeptEpoch


def learn_and_predict(
    graphs: CrystalGraphs, lesson: Lesson, config: Config, initial: NetworkState | None
) -> Iterator[EpochRecord | HeldOutPrediction]:
    """Train the network, fit the Gaussian process and predict, all in this process.

    TensorFlow is imported here: the driver imports this module.

    Args:
        graphs: Of all materials.
        lesson: What is learned from, and what is predicted.
        config: Its ``network``, ``training``, ``gp`` and ``seed`` are used, as ``gpnet-ray train`` does.
        initial: The pretrained network that training starts from, where there is one.

    Yields:
        A record an epoch and, last, the predictions.
    """
    from gpnet_ray.campaign.surrogate import Surrogate
    from gpnet_ray.gnn.featurize import Featurizer
    from gpnet_ray.gp.calibrated_fit import fit_calibrated
    from gpnet_ray.gp.scaling import LatentScaler

    start = time.monotonic()
    train = graphs.select(lesson.train_ids)
    network = yield from _train(train, lesson, config, initial)
    assert network.kept is not None  # noqa: S101 - it comes from a training
    warning = held_out_warning(rows_known(initial, train), network.held_out_ids)
    featurizer = Featurizer(network)
    _, latents, _ = featurizer.featurize(train)
    scaler = LatentScaler.fit(
        latents, config.gp.latent_scaling, projection=config.gp.latent_projection
    )
    fit = fit_calibrated(
        scaler.transform(latents),
        lesson.train_labels,
        network.held_out(lesson.train_ids),
        config=config.gp,
        seed=config.seed,
    )
    surrogate = Surrogate(
        network,
        scaler,
        fit.hyperparameters,
        lesson.train_ids,
        latents,
        lesson.train_labels,
        fit.recalibration,
    )
    _, held_out, network_prediction = featurizer.featurize(graphs.select(lesson.test_ids))
    mean, sigma = surrogate.posterior().predict(scaler.transform(held_out))
    yield HeldOutPrediction(
        lesson.test_ids,
        mean,
        sigma,
        network_prediction,
        fit.hyperparameters,
        fit.recalibration,
        fit.warnings if warning is None else (*fit.warnings, warning),
        time.monotonic() - start,
        network.kept,
    )


def _train(
    train: CrystalGraphs, lesson: Lesson, config: Config, initial: NetworkState | None
) -> Generator[EpochRecord, None, NetworkState]:
    """Yield the epochs and return the network that was best on the fold's own validation rows."""
    stream = NetworkWorker().train(
        train,
        lesson.train_labels,
        network=config.network,
        training=config.training,
        seed=training_seed(config),
        target=lesson.target,
        unit=lesson.unit,
        initial=initial,
    )
    for item in stream:
        if isinstance(item, NetworkState):
            return item
        if isinstance(item, EpochRecord):
            yield item
    raise RuntimeError("the training stream ended without a network")


def threads_a_fold(cpus_of_nodes: Sequence[float], n_side_by_side: int) -> int:
    """The most threads of TensorFlow with which so many folds find whole CPUs at the same time.

    One where there are more folds than CPUs: the others wait for their turn.

    >>> threads_a_fold([2], 5), threads_a_fold([16], 5), threads_a_fold([8, 4], 3)
    (1, 3, 4)
    """
    largest = int(max(cpus_of_nodes, default=1))
    fitting = (
        threads
        for threads in range(largest, 1, -1)
        if sum(cpus // threads for cpus in cpus_of_nodes) >= n_side_by_side
    )
    return next(fitting, 1)
