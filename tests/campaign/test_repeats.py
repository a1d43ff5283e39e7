"""``gpnet-ray run --repeats``: two small seeds side by side, looked at from all sides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tiny_campaign import TINY
from typer.testing import CliRunner, Result

from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.repeats_pool import Repeat
from gpnet_ray.cli import app
from gpnet_ray.data.splits import load_split
from gpnet_ray.errors import GpnetError

SMALL = {
    **TINY,
    "data.hypothetical_count": 60,
    "training.epochs": 1,
    "selection.cycles": 4,
    "gp.max_evaluations": 5,
    "resources.shards": 1,
    "resources.labellers": 1,
    # Three actors of 0.3 CPU: two campaigns find room on the two CPUs of the tests' Ray.
    **{f"resources.{actor}.cpus": 0.3 for actor in ("gp", "shard", "labeller", "featurizer")},
}


def repeat(folder: Path, *options: str) -> Result:
    settings = [option for key, value in SMALL.items() for option in ("--set", f"{key}={value}")]
    place = ("--runs-dir", str(folder), "--name", "twice")
    return CliRunner().invoke(app, ["run", *place, "--seed", "3", *settings, *options])


def refused(result: Result) -> str:
    assert isinstance(result.exception, GpnetError), result.output
    assert result.exception.exit_code == 2
    return str(result.exception)


@pytest.fixture(scope="module")
def folder(small_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repeats")
    result = repeat(folder, "--repeats", "2")
    assert result.exit_code == 0, (result.output, result.exception)
    (folder / "output.txt").write_text(result.output)
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_every_seed_is_an_ordinary_run_with_its_own_split(folder):
    splits = [load_split(folder / "twice" / f"seed-{seed}" / "split.json") for seed in (3, 4)]
    assert splits[0] != splits[1]
    for seed in (3, 4):
        run = folder / "twice" / f"seed-{seed}"
        assert f"\nseed: {seed}\n" in (run / "config.yaml").read_text()
        assert (run / "report" / "index.html").is_file()
    drawn = CliRunner().invoke(app, ["report", str(folder / "twice" / "seed-4")])
    assert drawn.exit_code == 0, drawn.exception


def test_the_seeds_ran_side_by_side(folder):
    assert "2 campaigns at a time" in (folder / "output.txt").read_text()


def test_the_summary_over_seeds_is_that_of_the_runs(folder):
    over = json.loads((folder / "twice" / "summary.json").read_text())
    assert over["seeds"] == [3, 4]
    for arm in over["arms"]:
        last = []
        for seed in (3, 4):
            metrics = pq.read_table(
                folder / "twice" / f"seed-{seed}" / "metrics.parquet"
            ).to_pandas()
            last.append(metrics[metrics.strategy == arm["strategy"]].iloc[-1].test_mae)
        assert arm["test"]["mae"]["values"] == last
        assert arm["test"]["mae"]["mean"] == pytest.approx(sum(last) / 2, rel=1e-12)
    page = (folder / "twice" / "comparison.html").read_text()
    assert "seed-3" in page
    assert "seed-4" in page
    assert (folder / "twice" / "learning_curve_test.svg").is_file()


def test_only_seeds_that_are_missing_run_again(copy, folder, monkeypatch):
    ran = []

    def stand_in(self: Repeat, progress: object) -> None:
        ran.append(self.config.seed)
        source = folder / "twice" / "seed-4"
        shutil.copytree(source, copy / "twice" / f"seed-{self.config.seed}", dirs_exist_ok=True)

    monkeypatch.setattr(Repeat, "run", stand_in)
    (copy / "twice" / "seed-4" / "summary.json").unlink()
    result = repeat(copy, "--repeats", "2", "--resume")
    assert result.exit_code == 0, result.exception
    assert ran == [4]
    # One seed more than before.
    assert repeat(copy, "--repeats", "3", "--resume").exit_code == 0
    assert ran == [4, 5]
    other = refused(repeat(copy, "--repeats", "2", "--resume", "--set", "gp.kernel=rbf"))
    assert "gp.kernel: laplacian then, rbf now" in other
    assert "exists already" in refused(repeat(copy, "--repeats", "2"))
    # A setting that journals hold only where it says something: with it then and without it now.
    path = copy / "twice" / "seed-3" / "journal.jsonl"
    events = read_journal(path)
    events[0]["identity"]["network.global_features"] = ["pressure_GPa"]
    path.unlink()
    with Journal(path) as journal:
        journal.append(*events)
    other = refused(repeat(copy, "--repeats", "2", "--resume"))
    assert "network.global_features: ['pressure_GPa'] then, [] now" in other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--repeats", "0"), "--repeats 0 runs nothing"),
        (("--repeats", "2", "--seed", str(2**31 - 1)), "goes beyond the largest seed"),
        (("--repeats", "2", "--retry-failed"), "give --resume too"),
        (("--repeats", "2", "--resume"), "no run to resume"),
        (("--repeats", "2", "--cycles", "50"), "ask for 50 materials"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing_behind(small_ray, tmp_path, options, said):
    assert said in refused(repeat(tmp_path, *options))
    assert not (tmp_path / "twice").exists()
