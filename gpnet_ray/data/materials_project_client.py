"""The Materials Project through its own client, mp-api: pages of summaries, and errors that say what to do."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from gpnet_ray.data.materials_project import KEY_VARIABLE, WHERE_KEYS_ARE, MaterialsQuery
from gpnet_ray.errors import DownloadError, InputError
from gpnet_ray.progress import NullProgress, Progress

if TYPE_CHECKING:
    from mp_api.client import MPRester

__all__ = ["MaterialsProject"]

T = TypeVar("T")

PAUSES_SECONDS = (10.0, 30.0, 60.0, 120.0)
"""Before a request is made again that was not answered; the client itself has tried three times by then."""

RATE_LIMIT = 429
REFUSED = (401, 403)


class MaterialsProject:
    """The summaries of the Materials Project.

    Attributes:
        database_version: Version of the database that answers, such as ``2026.10.1``.
    """

    def __init__(
        self,
        key: str,
        *,
        endpoint: str | None = None,
        pauses_seconds: Sequence[float] = PAUSES_SECONDS,
        progress: Progress | None = None,
    ) -> None:
        """Say hello to the server.

        Args:
            key: The user's key; it is in no message.
            endpoint: Address of the server; left out: that of ``MP_API_ENDPOINT``, else the Materials Project's.
            pauses_seconds: Pauses before further tries.
            progress: Told in a line about each pause.

        Raises:
            InputError: mp-api is not installed.
            DownloadError: the server does not answer.
        """
        self._key, self._pauses = key, tuple(pauses_seconds)
        self._progress = progress or NullProgress()
        _check_installed()
        self._client = self._tried(lambda: self._connected(endpoint))
        self.database_version = str(self._client.db_version)

    def _connected(self, endpoint: str | None) -> MPRester:
        from mp_api.client import MPRester

        with warnings.catch_warnings(record=True) as said:
            client = MPRester(
                self._key,
                endpoint=endpoint,
                use_document_model=False,
                mute_progress_bars=True,
            )
        for warning in said:
            if not issubclass(warning.category, DeprecationWarning):
                self._progress.line(self._without_key(f"Warning: {warning.message}"))
        return client

    def count(self, query: MaterialsQuery) -> int:
        """How many materials there are.

        Raises:
            InputError: the server refuses the key or the query.
            DownloadError: it does not answer.
        """
        criteria: dict[str, Any] = {"elements": ",".join(query.elements), "deprecated": False}
        if query.max_energy_above_hull is not None:
            criteria |= {
                "energy_above_hull_min": 0,
                "energy_above_hull_max": query.max_energy_above_hull,
            }
        if not query.include_gnome:
            criteria["batch_id_not_eq"] = "gnome_r2scan_statics"
        return int(self._tried(lambda: self._client.materials.summary.count(criteria)))

    def page(self, query: MaterialsQuery, number: int, size: int) -> Sequence[Mapping[str, Any]]:
        """The page of a number (from 1), by ascending id.

        Raises:
            InputError: the server refuses the key or the query.
            DownloadError: it does not answer.
        """
        hull = query.max_energy_above_hull
        materials: list[dict[str, Any]] = self._tried(
            lambda: self._client.materials.summary.search(
                elements=list(query.elements),
                deprecated=False,
                energy_above_hull=None if hull is None else (0, hull),
                include_gnome=query.include_gnome,
                fields=["material_id", "structure", query.target],
                all_fields=False,
                chunk_size=size,
                num_chunks=1,
                _page=number,
                _sort_fields="material_id",
            )
        )
        return materials

    def _tried(self, ask: Callable[[], T]) -> T:
        """Ask, and again after a pause where that may help."""
        for pause in self._pauses:
            try:
                return self._translated(ask)
            except DownloadError as error:  # noqa: PERF203 - a request takes seconds
                self._progress.line(f"{error.args[0].split('. ')[0]}; again in {pause:g} s")
                time.sleep(pause)
        return self._translated(ask)

    def _translated(self, ask: Callable[[], T]) -> T:
        from mp_api.client.core import MPRestError
        from requests.exceptions import RequestException

        try:
            return ask()
        except (MPRestError, RequestException, KeyError) as error:
            # The last two come from the first request, whose answer the client takes as it is.
            raise self._foreseen(f"{type(error).__name__}: {error}") from None

    def _foreseen(self, said: str) -> InputError | DownloadError:
        said = self._without_key(said)
        found = re.search(r"status code (\d+)|too many (\d+) error", said)
        status = int(found[1] or found[2]) if found else 0
        if status in REFUSED:
            return InputError(
                f"the Materials Project refuses the key in {KEY_VARIABLE} (status {status}). Copy yours"
                f" again from {WHERE_KEYS_ARE}; a key ends when a new one is made"
            )
        if status == RATE_LIMIT:
            return DownloadError(
                "the Materials Project limits how often it may be asked (status 429). What has come is"
                " kept: run the same command again in some minutes"
            )
        if 400 <= status < 500:
            return InputError(
                f"the Materials Project does not take the query: {said}. Update mp-api (pip install -U"
                " mp-api) or correct the query"
            )
        return DownloadError(
            f"the Materials Project does not answer ({said}). What has come is kept: run the same command"
            " again, after a look at https://status.materialsproject.org"
        )

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…")


def _check_installed() -> None:
    try:
        import mp_api.client  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"mp-api cannot be imported ({error}); it comes with: pip install 'gpnet-ray[mp]' (Python 3.11 or"
            " later)"
        ) from None
