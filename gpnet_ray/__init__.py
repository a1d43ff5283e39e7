"""Active learning for materials, distributed on Ray.

A MEGNet graph network turns a crystal into a latent vector, an exact Gaussian process on those
vectors gives a prediction with a σ, and the material with the largest σ is labelled next.

Importing the package is quick: TensorFlow, Ray and pymatgen are imported by what needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpnet_ray.campaign.campaign import Campaign, CampaignResult
    from gpnet_ray.campaign.pool_session import PoolSession
    from gpnet_ray.campaign.preparation import load_dataset
    from gpnet_ray.campaign.repeats import run_repeats
    from gpnet_ray.campaign.surrogate import Surrogate, load_surrogate
    from gpnet_ray.campaign.surrogate_use import predict
    from gpnet_ray.campaign.train import train_network, train_surrogate
    from gpnet_ray.campaign.validation import validate
    from gpnet_ray.config import Config
    from gpnet_ray.config_layers import load_config
    from gpnet_ray.data.dataset import MaterialsDataset
    from gpnet_ray.data.hypothetical_oxides import hypothetical_dataset
    from gpnet_ray.data.readers import read_dataset, read_partly_labelled, read_targets
    from gpnet_ray.data.splits import Split, make_split
    from gpnet_ray.errors import GpnetError
    from gpnet_ray.oracles.ionic import IonicOracle
    from gpnet_ray.progress import make_progress

__all__ = [
    "Campaign",
    "CampaignResult",
    "Config",
    "GpnetError",
    "IonicOracle",
    "MaterialsDataset",
    "PoolSession",
    "Split",
    "Surrogate",
    "__version__",
    "hypothetical_dataset",
    "load_config",
    "load_dataset",
    "load_surrogate",
    "make_progress",
    "make_split",
    "predict",
    "read_dataset",
    "read_partly_labelled",
    "read_targets",
    "run_repeats",
    "train_network",
    "train_surrogate",
    "validate",
]

__version__ = "0.1.0"

_HOME = {
    "Campaign": "gpnet_ray.campaign.campaign",
    "CampaignResult": "gpnet_ray.campaign.campaign",
    "Config": "gpnet_ray.config",
    "GpnetError": "gpnet_ray.errors",
    "IonicOracle": "gpnet_ray.oracles.ionic",
    "MaterialsDataset": "gpnet_ray.data.dataset",
    "PoolSession": "gpnet_ray.campaign.pool_session",
    "Split": "gpnet_ray.data.splits",
    "Surrogate": "gpnet_ray.campaign.surrogate",
    "hypothetical_dataset": "gpnet_ray.data.hypothetical_oxides",
    "load_config": "gpnet_ray.config_layers",
    "load_dataset": "gpnet_ray.campaign.preparation",
    "load_surrogate": "gpnet_ray.campaign.surrogate",
    "make_progress": "gpnet_ray.progress",
    "make_split": "gpnet_ray.data.splits",
    "predict": "gpnet_ray.campaign.surrogate_use",
    "read_dataset": "gpnet_ray.data.readers",
    "read_partly_labelled": "gpnet_ray.data.readers",
    "read_targets": "gpnet_ray.data.readers",
    "run_repeats": "gpnet_ray.campaign.repeats",
    "train_network": "gpnet_ray.campaign.train",
    "train_surrogate": "gpnet_ray.campaign.train",
    "validate": "gpnet_ray.campaign.validation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
