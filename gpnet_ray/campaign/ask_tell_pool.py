"""Materials that join the pool of an ask-and-tell campaign while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpnet_ray.campaign.ask_tell_folder import AskTellFolder
from gpnet_ray.campaign.ask_tell_setup import candidates_event, check_without_labels, featurised
from gpnet_ray.campaign.ask_tell_state import AskTellState
from gpnet_ray.campaign.preparation import screen
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.campaign.tables import latents_table
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset, RejectedMaterial
from gpnet_ray.errors import InputError, RunFolderError
from gpnet_ray.gnn.network_state import NetworkState, load_network_state
from gpnet_ray.progress import Progress

__all__ = ["Joined", "join_pool"]


@dataclass(frozen=True)
class Joined:
    """Materials whose crystals and latents are in the folder, and the event that makes them candidates."""

    ids: tuple[str, ...]
    rejected: tuple[RejectedMaterial, ...]
    latents: Latents
    event: dict[str, Any]


def join_pool(
    folder: AskTellFolder,
    state: AskTellState,
    candidates: MaterialsDataset,
    latents: Latents,
    *,
    config: Config,
    progress: Progress,
) -> Joined:
    """Featurise candidates by the campaign's network and write them into the folder.

    ``latents`` are those of all materials so far, and those with the new ones come back.

    Raises:
        InputError: an id that is in the campaign already, another target, or candidates that bring
            labels.
    """
    check_without_labels(candidates)
    if (candidates.target, candidates.unit) != (state.run["target"], state.unit):
        raise InputError(
            f"the candidates are of {candidates.target} ({candidates.unit}) and the campaign of"
            f" {state.run['target']} ({state.unit}); read them as the same"
        )
    state.check_new(candidates.ids)
    problem = screen(candidates, config, progress)
    new = featurised(problem, _network(folder, state), config, progress)
    structures = dict(zip(problem.dataset.ids, problem.dataset.structures, strict=True))
    folder.add_structures(structures, unit=state.unit)
    both = _both(latents, new)
    folder.write_table(folder.latents, latents_table(both), unit=state.unit)
    ids = problem.dataset.ids
    event = candidates_event(ids, problem, candidates.source)
    return Joined(ids, problem.rejected, both, event)


def _network(folder: AskTellFolder, state: AskTellState) -> NetworkState:
    network = load_network_state(folder.network)
    if network.fingerprint() != state.network:
        raise RunFolderError(
            f"{folder.network} is not the network that the journal speaks of; restore it from a copy"
        )
    return network


def _both(old: Latents, new: Latents) -> Latents:
    """Latents of both; of a material in both (of an interrupted addition) the new ones."""
    again = set(new.ids)
    kept = old.rows([i for i in old.ids if i not in again])
    return Latents(
        ids=(*(old.ids[row] for row in kept), *new.ids),
        latents=np.concatenate([old.latents[kept], new.latents]),
        predictions=np.concatenate([old.predictions[kept], new.predictions]),
    )
