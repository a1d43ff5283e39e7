"""Crystals and a property from the Materials Project into a Parquet file, page by page.

Jain et al., APL Mater. 1, 011002 (2013), doi:10.1063/1.4812323. Pages that have come are kept beside the file until it
is whole, so that a fetch that was interrupted goes on where it stopped and ends with the same file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gpnet_ray.errors import DataError, DownloadError, InputError, nearest_name_hint
from gpnet_ray.progress import NullProgress, Progress

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["UNITS", "MaterialsQuery", "Pages", "fetch_materials", "key_of_environment"]

KEY_VARIABLE = "MP_API_KEY"
KEY_LENGTH = 32
WHERE_KEYS_ARE = "https://next-gen.materialsproject.org/api"

UNITS: Mapping[str, str] = {
    "formation_energy_per_atom": "eV/atom",
    "energy_per_atom": "eV/atom",
    "uncorrected_energy_per_atom": "eV/atom",
    "energy_above_hull": "eV/atom",
    "band_gap": "eV",
    "cbm": "eV",
    "vbm": "eV",
    "efermi": "eV",
    "volume": "Å³",
    "density": "g/cm³",
    "density_atomic": "Å³/atom",
    "total_magnetization": "μB",
    "total_magnetization_normalized_vol": "μB/Å³",
    "total_magnetization_normalized_formula_units": "μB/f.u.",
    "universal_anisotropy": "1",
    "homogeneous_poisson": "1",
    "e_total": "1",
    "e_ionic": "1",
    "e_electronic": "1",
    "n": "1",
    "e_ij_max": "C/m²",
    "weighted_surface_energy": "J/m²",
    "weighted_work_function": "eV",
    "surface_anisotropy": "1",
    "shape_factor": "1",
}
"""Properties of the Materials Project's summaries that are one number, and their units."""


@dataclass(frozen=True)
class MaterialsQuery:
    """Which materials, and which of their properties.

    Attributes:
        elements: Symbols of elements that a material has to hold, all of them.
        target: One of ``UNITS``.
        max_energy_above_hull: Largest energy above the convex hull (eV/atom); ``None``: any.
        include_gnome: Also the predicted crystals of GNoME, whose licence forbids commercial use (CC BY-NC 4.0).

    Raises:
        InputError: no element, no such element or property, or a negative energy above the hull.
    """

    elements: tuple[str, ...]
    target: str
    max_energy_above_hull: float | None = None
    include_gnome: bool = False

    def __post_init__(self) -> None:
        from pymatgen.core import Element

        if not self.elements:
            raise InputError("no element is named; give at least one, such as --elements O")
        for symbol in self.elements:
            if not Element.is_valid_symbol(symbol):
                raise InputError(
                    f"{symbol!r} is not the symbol of an element; write them as O or Fe"
                )
        if self.target not in UNITS:
            raise InputError(
                f"no property {self.target!r} of the Materials Project can be a target:"
                f" {nearest_name_hint(self.target, UNITS)}"
            )
        if self.max_energy_above_hull is not None and not self.max_energy_above_hull >= 0:
            raise InputError(
                f"the largest energy above the hull is {self.max_energy_above_hull:g} eV/atom; give 0"
                " (what is on the hull) or more"
            )

    @property
    def unit(self) -> str:
        """The property's unit."""
        return UNITS[self.target]


class Pages(Protocol):
    """Where pages come from; :mod:`gpnet_ray.data.materials_project_client` has the real one."""

    database_version: str

    def count(self, query: MaterialsQuery) -> int:
        """How many materials there are."""

    def page(self, query: MaterialsQuery, number: int, size: int) -> Sequence[Mapping[str, Any]]:
        """The page of a number (from 1), by ascending id: ``material_id``, ``structure`` and the property."""


def key_of_environment() -> str:
    """The user's key, from ``MP_API_KEY`` alone, so that it stands in no command line and no file.

    Raises:
        InputError: there is none, or it cannot be one. The key itself is in no message.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise InputError(
            f"the environment variable {KEY_VARIABLE} is not set. Get your key from {WHERE_KEYS_ARE}"
            f" and set it: export {KEY_VARIABLE}=…"
        )
    if not re.fullmatch(f"[A-Za-z0-9]{{{KEY_LENGTH}}}", key):
        raise InputError(
            f"what {KEY_VARIABLE} holds is no key of the Materials Project: it has {len(key)} characters,"
            f" and a key has {KEY_LENGTH} letters and digits. Copy yours again from {WHERE_KEYS_ARE}"
        )
    return key


def fetch_materials(
    query: MaterialsQuery,
    out: str | Path,
    *,
    pages: Pages,
    page_size: int = 500,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Fetch all materials of a query into a Parquet file that ``read_dataset`` reads.

    Columns: ``material_id``, ``structure`` (pymatgen's JSON) and the property (float64, null where
    a material has none); the unit, the source and the version of the database are in the file's metadata.

    Args:
        query: Which materials, and which property.
        out: The file, ``….parquet``; beside it lies ``….parquet.pages`` until it is whole.
        pages: Where pages come from.
        page_size: Materials a page, at most 1000.
        overwrite: Replace the file.
        progress: Where progress is shown.

    Returns:
        How many materials the file holds.

    Raises:
        InputError: the file is there already or is not to be a Parquet file; the pages kept are of
            another query; the server refuses the key or the query.
        DataError: no material fits, or the server sends something else than materials.
        DownloadError: the server does not answer or limits how much may be asked; or the database
            changed in between.
    """
    progress, out = progress or NullProgress(), Path(out)
    _check_out(out, overwrite=overwrite)
    kept = _KeptPages(out.with_name(f"{out.name}.pages"))
    total = pages.count(query)
    if total == 0:
        raise DataError(f"the Materials Project has no material with {', '.join(query.elements)}")
    about = {
        "query": {**asdict(query), "elements": sorted(query.elements)},
        "page_size": page_size,
        "database_version": pages.database_version,
        "total": total,
    }
    kept.begin(about, progress)
    n_pages = -(-total // page_size)
    with progress.task("Fetching", total=total, unit="materials") as task:
        for number in range(1, n_pages + 1):
            if not kept.has(number):
                kept.save(number, _table(pages.page(query, number, page_size), query.target))
            task.advance(min(page_size, total - (number - 1) * page_size))
    kept.put_together(out, n_pages, total, _metadata(query, pages.database_version))
    return total


def _check_out(out: Path, *, overwrite: bool) -> None:
    if out.suffix != ".parquet":
        raise InputError(f"--out {out}: the name has to end in .parquet")
    if not out.resolve().parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.resolve().parent}; make it first")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; replace it with --overwrite or name another file")


def _metadata(query: MaterialsQuery, database_version: str) -> dict[str, str]:
    return {
        "unit": query.unit,
        "source": f"Materials Project, database {database_version}",
        "query": json.dumps({**asdict(query), "elements": sorted(query.elements)}),
        "licence": "CC BY 4.0; CC BY-NC 4.0 for what GNoME predicted",
        "citation": "Jain et al., APL Mater. 1, 011002 (2013), doi:10.1063/1.4812323",
    }


def _table(materials: Sequence[Mapping[str, Any]], name: str) -> pa.Table:
    import pyarrow as pa

    try:
        columns = [
            pa.array([str(m["material_id"]) for m in materials], pa.string()),
            pa.array([json.dumps(m["structure"]) for m in materials], pa.string()),
            pa.array([m.get(name) for m in materials], pa.float64()),
        ]
    except (KeyError, TypeError, AttributeError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"the server sent something else than id, crystal and {name} as one number ({error!r}); update"
            " mp-api, or ask for another property"
        ) from None
    return pa.table(columns, names=["material_id", "structure", name])


class _KeptPages:
    """The pages that have come, in a folder with what they are pages of."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._about = folder, folder / "pages.json"

    def begin(self, about: dict[str, Any], progress: Progress) -> None:
        """Go on with the folder, or begin it; of an older database nothing is kept."""
        earlier = json.loads(self._about.read_text("utf-8")) if self._about.is_file() else None
        if earlier == about:
            n_pages = sum(1 for _ in self._folder.glob("*.parquet"))
            progress.line(f"{self._folder}: {n_pages} pages are there already")
            return
        if earlier is not None:
            if any(earlier[key] != about[key] for key in ("query", "page_size")):
                raise InputError(
                    f"{self._folder} holds pages of another query; remove it or give another --out"
                )
            progress.line(
                f"The database has changed ({earlier['database_version']} then,"
                f" {about['database_version']} now): all pages are fetched again"
            )
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        temporary = self._about.with_suffix(".part")
        temporary.write_text(json.dumps(about), "utf-8")
        temporary.replace(self._about)

    def has(self, number: int) -> bool:
        return self._path(number).is_file()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"

    def save(self, number: int, table: pa.Table) -> None:
        """Whole or not at all."""
        import pyarrow.parquet as pq

        path = self._path(number)
        pq.write_table(table, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def put_together(self, out: Path, n_pages: int, total: int, metadata: dict[str, str]) -> None:
        """Write the file from the pages, and remove them.

        Raises:
            DownloadError: they do not hold every material once, since the database changed in between.
        """
        import pyarrow.parquet as pq

        ids: set[str] = set()
        part, n_rows = out.with_name(f"{out.name}.part"), 0
        schema = pq.read_schema(self._path(1)).with_metadata(metadata)
        with pq.ParquetWriter(part, schema) as writer:
            for number in range(1, n_pages + 1):
                table = pq.read_table(self._path(number))
                ids.update(table["material_id"].to_pylist())
                n_rows += table.num_rows
                writer.write_table(table.replace_schema_metadata(metadata))
        if not len(ids) == n_rows == total:
            part.unlink()
            shutil.rmtree(self._folder)
            raise DownloadError(
                f"{n_rows} rows with {len(ids)} different materials came where {total} were announced: the"
                " database changed in between. Run the command again"
            )
        part.replace(out)
        shutil.rmtree(self._folder)
