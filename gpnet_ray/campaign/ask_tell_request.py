"""What a user gets to compute: the crystals as files, and a CSV file to fill in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from gpnet_ray.campaign.ask_tell_state import Request
from gpnet_ray.data.results_file import FormRow, form_text
from gpnet_ray.data.structure_files import StructureFormat, file_stem, write_structure
from gpnet_ray.errors import InputError

if TYPE_CHECKING:
    from gpnet_ray.campaign.ask_tell_folder import AskTellFolder

__all__ = ["FORM", "write_request"]

FORM = "results.csv"


def write_request(
    folder: AskTellFolder,
    requests: Sequence[Request],
    out: Path | None,
    *,
    fmt: StructureFormat | None,
    unit: str,
    global_features: Sequence[str],
) -> Path:
    """Write a request into a folder of its own; see :meth:`AskTellCampaign.write_request`.

    The CSV file is written last: where it lies, all crystals are there.
    """
    place = _next_free(folder.requests) if out is None else out
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{place} is not an empty folder; name another one with --out")
    place.mkdir(parents=True, exist_ok=True)
    ids = [request.material_id for request in requests]
    structures, names = folder.read_structures(ids), _file_names(ids)
    rows = []
    for request in requests:
        material_id, structure = request.material_id, structures[request.material_id]
        file = write_structure(place, names[material_id], structure, fmt=fmt).name if fmt else ""
        formula = structure.composition.element_composition.reduced_formula
        features = {feature: float(structure.properties[feature]) for feature in global_features}
        rows.append(
            FormRow(
                material_id,
                formula,
                request.sigma,
                request.predicted,
                file,
                request.number,
                features,
            )
        )
    form = place / FORM
    folder.write_text(form, form_text(rows, unit=unit, global_features=global_features))
    return form


def _file_names(ids: Sequence[str]) -> dict[str, str]:
    """File names of ids: the first has its own, a later one that differs only in case a number behind it.

    On a disk that does not tell cases apart the later crystal would replace the first.
    """
    taken = {file_stem(material_id).lower() for material_id in ids}
    names: dict[str, str] = {}
    # A numbered name is never one that another id has by itself.
    unused = set(taken)
    for material_id in dict.fromkeys(ids):
        stem = file_stem(material_id)
        if stem.lower() in unused:
            unused.remove(stem.lower())
            names[material_id] = stem
            continue
        numbered = (file_stem(f"{stem}.{number}") for number in count(2))
        names[material_id] = next(name for name in numbered if name.lower() not in taken)
        taken.add(names[material_id].lower())
    return names


def _next_free(parent: Path) -> Path:
    taken = [int(p.name) for p in parent.glob("[0-9]*") if p.name.isdigit()]
    return parent / f"{max(taken, default=0) + 1:04d}"
