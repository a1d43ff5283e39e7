"""A fetch from the Materials Project: whole, interrupted, refused; against a stand-in on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.command_line import rows
from support.materials_project_server import KEY, StandIn

from gpnet_ray.data import materials_project_client as client
from gpnet_ray.data.materials_project import (
    UNITS,
    MaterialsQuery,
    fetch_materials,
    key_of_environment,
)
from gpnet_ray.data.readers import read_dataset
from gpnet_ray.errors import DownloadError, InputError
from gpnet_ray.progress import NullProgress

pytest.importorskip(
    "mp_api.client", reason="mp-api needs Python 3.11 (pip install 'gpnet-ray[mp]')"
)

TARGET = "formation_energy_per_atom"
OXIDES = MaterialsQuery(("O",), TARGET)
PAGE = 4
N_OXIDES = 18


@pytest.fixture
def server() -> Iterator[StandIn]:
    """18 oxides, one of them beside hull, one more of GNoME, and a crystal that is none; not in order."""
    materials: list[dict[str, Any]] = [
        {
            "material_id": f"mp-{7919 * number % 1000}",
            "structure": row["structure"].as_dict(),
            TARGET: row["energy"],
            "elements": sorted({site.specie.symbol for site in row["structure"]}),
            "energy_above_hull": 0.1 if number == 3 else 0.0,
            "gnome": number == N_OXIDES,
        }
        for number, row in enumerate(rows(N_OXIDES + 2))
    ]
    materials[-1]["elements"] = ["Mg", "S"]
    stand_in = StandIn(materials)
    yield stand_in
    stand_in.close()


class Lines(NullProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)


def connected(
    server: StandIn, key: str = KEY, progress: Lines | None = None, **options: Any
) -> Any:
    # Each stand-in has an address of its own: mp-api remembers what the heartbeat of one said.
    return client.MaterialsProject(
        key, endpoint=server.endpoint, pauses_seconds=(), progress=progress, **options
    )


def fetch(server: StandIn, out: Path, query: MaterialsQuery = OXIDES, **options: Any) -> int:
    return fetch_materials(query, out, pages=connected(server), page_size=PAGE, **options)


def test_what_is_fetched_is_read_as_a_dataset_with_its_unit(
    server: StandIn, tmp_path: Path
) -> None:
    out = tmp_path / "oxides.parquet"
    assert fetch(server, out) == N_OXIDES
    dataset = read_dataset(out, target=TARGET, unit=UNITS[TARGET])
    expected = {
        m["material_id"]: m for m in server.materials if not m["gnome"] and "O" in m["elements"]
    }
    assert sorted(dataset.ids) == sorted(expected)
    assert dataset.targets is not None
    for material_id, structure, target in zip(
        dataset.ids, dataset.structures, dataset.targets, strict=True
    ):
        assert structure.as_dict() == expected[material_id]["structure"]
        assert target == expected[material_id][TARGET]
    metadata = pq.read_schema(out).metadata
    assert metadata[b"unit"] == b"eV/atom"
    assert b"2026.10.1" in metadata[b"source"]
    assert b"Jain" in metadata[b"citation"]
    assert [p.name for p in tmp_path.iterdir()] == ["oxides.parquet"]
    with pytest.raises(InputError, match="exists already"):
        fetch(server, out)
    on_hull = MaterialsQuery(("O",), TARGET, max_energy_above_hull=0.0, include_gnome=True)
    assert fetch(server, out, on_hull, overwrite=True) == N_OXIDES
    ids = pq.read_table(out).column("material_id").to_pylist()
    assert server.materials[3]["material_id"] not in ids
    assert server.materials[N_OXIDES]["material_id"] in ids


def test_killed_and_run_again_it_goes_on_and_the_file_is_the_same_to_the_byte(
    server: StandIn, tmp_path: Path
) -> None:
    fetch(server, tmp_path / "whole.parquet")
    reached, released = threading.Event(), threading.Event()

    def hold(query: dict[str, str]) -> None:
        if query.get("_page") == "3" and not released.is_set():
            reached.set()
            released.wait(60)

    server.before = hold
    arguments = ["data", "fetch", "--elements", "O", "--property", TARGET, "--out", "cut.parquet"]
    with subprocess.Popen(
        [sys.executable, "-m", "gpnet_ray", *arguments, "--page-size", str(PAGE)],
        cwd=tmp_path,
        env={**os.environ, "MP_API_KEY": KEY, "MP_API_ENDPOINT": server.endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        came = reached.wait(60)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
    released.set()
    assert came, said
    assert not (tmp_path / "cut.parquet").exists()
    server.asked.clear()
    fetch(server, tmp_path / "cut.parquet")
    assert [q["_page"] for q in server.asked if "_page" in q] == ["3", "4", "5"]
    whole, cut = (tmp_path / name for name in ("whole.parquet", "cut.parquet"))
    assert cut.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.parquet", "whole.parquet"]
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()


def interrupted(server: StandIn, out: Path, **options: Any) -> None:
    """A fetch that is limited after its second page."""
    server.before = lambda q: (429, {"message": "too fast"}) if q.get("_page") == "3" else None
    with pytest.raises(DownloadError, match="limits how often") as error:
        fetch(server, out, **options)
    assert "run the same command again" in str(error.value)
    server.before = lambda _: None


def test_kept_pages_are_of_one_query_and_one_database(server: StandIn, tmp_path: Path) -> None:
    out = tmp_path / "oxides.parquet"
    interrupted(server, out)
    with pytest.raises(InputError, match="pages of another query"):
        fetch(server, out, MaterialsQuery(("O", "Mg"), TARGET))
    # Another database is another server to mp-api, which asks each address for its version once.
    newer = StandIn(server.materials)
    newer.database_version = "2026.11.3"
    lines = Lines()
    fetch_materials(OXIDES, out, pages=connected(newer), page_size=PAGE, progress=lines)
    newer.close()
    assert any("2026.10.1 then, 2026.11.3 now" in line for line in lines.said)
    assert [q["_page"] for q in newer.asked if "_page" in q] == ["1", "2", "3", "4", "5"]


def test_a_limit_that_ends_is_waited_for(server: StandIn, tmp_path: Path) -> None:
    # The client itself asks four times.
    left = [(429, {"message": "too fast"})] * 4
    server.before = lambda q: left.pop() if q.get("_page") == "2" and left else None
    lines = Lines()
    pages = client.MaterialsProject(
        KEY, endpoint=server.endpoint, pauses_seconds=(0.0,), progress=lines
    )
    assert fetch_materials(OXIDES, tmp_path / "o.parquet", pages=pages, page_size=PAGE) == N_OXIDES
    assert any("429" in line and "again in 0 s" in line for line in lines.said)


def test_a_refused_key_is_in_no_message(server: StandIn, tmp_path: Path) -> None:
    wrong = "w" * 32
    with pytest.raises(InputError, match="refuses the key in MP_API_KEY") as error:
        fetch_materials(OXIDES, tmp_path / "o.parquet", pages=connected(server, wrong))
    assert "Copy yours again from https://" in str(error.value)
    server.before = lambda _: (422, {"detail": f"no such query of {KEY}"})
    with pytest.raises(InputError, match="no such query") as other:
        fetch(server, tmp_path / "o.parquet")
    server.before = lambda _: (500, {"detail": f"broken for {KEY}"})
    with pytest.raises(DownloadError, match="broken for") as third:
        fetch(server, tmp_path / "o.parquet")
    for raised in (error, other, third):
        assert KEY not in str(raised.value)
        assert wrong not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "said"),
    [(None, "MP_API_KEY is not set.*https://"), ("", "not set"), ("abc", "3 characters")],
)
def test_a_missing_key_says_where_to_get_one(
    monkeypatch: pytest.MonkeyPatch, key: str | None, said: str
) -> None:
    monkeypatch.delenv("MP_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("MP_API_KEY", key)
    with pytest.raises(InputError, match=said) as error:
        key_of_environment()
    assert not key or key not in str(error.value)
    monkeypatch.setenv("MP_API_KEY", f" {KEY}\n")
    assert key_of_environment() == KEY


def test_a_server_that_is_not_there_and_queries_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="does not answer"):
        client.MaterialsProject(KEY, endpoint="http://127.0.0.1:1/", pauses_seconds=())
    for elements, target, said in (
        ((), TARGET, "at least one"),
        (("Ox",), TARGET, "'Ox' is not the symbol"),
        (("O",), "formation_energy", "did you mean 'formation_energy_per_atom'"),
    ):
        with pytest.raises(InputError, match=said):
            MaterialsQuery(elements, target)


def test_every_property_is_one_number_of_a_summary() -> None:
    from emmet.core.summary import SummaryDoc

    for name in UNITS:
        assert SummaryDoc.model_fields[name].annotation == (float | None), name
