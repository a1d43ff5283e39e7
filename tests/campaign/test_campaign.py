"""A whole campaign: its picks, its metrics and its files against independent computations."""

from __future__ import annotations

import csv
import gc
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from matplotlib.figure import Figure
from support.event_files import curves

from gpnet_ray import Campaign, IonicOracle, hypothetical_dataset
from gpnet_ray.actors.gp_worker import GpWorker
from gpnet_ray.actors.labeller import Labeller
from gpnet_ray.actors.pool_shard import PoolShard
from gpnet_ray.campaign.journal import read_journal
from gpnet_ray.config import Config
from gpnet_ray.errors import RunFolderError
from gpnet_ray.progress import NullProgress


class Files:
    """The run's files, read without the package."""

    def __init__(self, run_dir: Path) -> None:
        self.split = json.loads((run_dir / "split.json").read_text())
        self.gp = json.loads((run_dir / "gp.json").read_text())["hyperparameters"]
        latents = pq.read_table(run_dir / "latents.parquet").to_pydict()
        self.latent = dict(zip(latents["material_id"], latents["latent"], strict=True))
        reference = pq.read_table(run_dir / "reference.parquet").to_pydict()
        self.target = dict(zip(reference["material_id"], reference["target"], strict=True))
        self.metrics = pq.read_table(run_dir / "metrics.parquet").to_pandas()
        self.picks = pq.read_table(run_dir / "picks.parquet").to_pandas()

    def scaled(self, ids: list[str]) -> np.ndarray:
        """Latents min-max scaled on the train rows alone."""
        train = np.array([self.latent[i] for i in self.split["train"]], dtype=np.float64)
        low, high = train.min(axis=0), train.max(axis=0)
        span = np.where(high > low, high - low, 1.0)
        return (np.array([self.latent[i] for i in ids], dtype=np.float64) - low) / span

    def y(self, ids: list[str]) -> np.ndarray:
        return np.array([self.target[i] for i in ids])

    def picked(self, strategy: str) -> list[str]:
        return self.picks[self.picks.strategy == strategy].material_id.tolist()

    def posterior(self, labelled: list[str], at: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and σ from TensorFlow Probability's own GP, built anew."""
        import tensorflow_probability as tfp

        kernel = tfp.math.psd_kernels.MaternOneHalf(
            np.float64(self.gp["amplitude"]), np.float64(self.gp["length_scale"])
        )
        gp = tfp.distributions.GaussianProcessRegressionModel(
            kernel,
            index_points=self.scaled(at),
            observation_index_points=self.scaled(labelled),
            observations=self.y(labelled),
            observation_noise_variance=np.float64(self.gp["noise_std"] ** 2),
            mean_fn=lambda x: np.float64(self.gp["mean"]),
        )
        return gp.mean().numpy(), gp.stddev().numpy()

    def dense(self, labelled: list[str], at: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and σ in plain NumPy with accurate distances."""
        X, T, noise = self.scaled(labelled), self.scaled(at), self.gp["noise_std"] ** 2

        def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            distance = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
            return self.gp["amplitude"] ** 2 * np.exp(-distance / self.gp["length_scale"])

        cross, mean = k(X, T), self.gp["mean"]
        both = np.linalg.solve(
            k(X, X) + noise * np.eye(len(X)), np.c_[self.y(labelled) - mean, cross]
        )
        variance = self.gp["amplitude"] ** 2 - (cross * both[:, 1:]).sum(0)
        return mean + cross.T @ both[:, 0], np.sqrt(variance + noise)


@pytest.fixture(scope="module")
def files(finished: Any) -> Files:
    return Files(finished.run_dir)


@pytest.mark.slow
def test_picks_on_two_shards_are_those_of_a_gp_rebuilt_in_every_cycle(files: Files) -> None:
    labelled, pool = list(files.split["train"]), sorted(files.split["pool"])
    sigmas = files.picks[files.picks.strategy == "max-sigma"].sigma.tolist()
    for cycle, picked in enumerate(files.picked("max-sigma")):
        _, sigma = files.posterior(labelled, pool)
        expected = pool[int(np.argmax(sigma))]
        assert picked == expected, f"cycle {cycle + 1}"
        # TFP takes distances from a matrix product, which is off by up to 1e-6 near zero.
        assert sigmas[cycle] == pytest.approx(sigma.max(), abs=1e-5)
        _, sigma = files.dense(labelled, [picked])
        # The same float64 factorisation in another order of operations.
        assert sigmas[cycle] == pytest.approx(sigma[0], abs=1e-10)
        labelled.append(picked)
        pool.remove(picked)


@pytest.mark.parametrize("strategy", ["max-sigma", "random", "distance"])
def test_metrics_of_every_cycle_recomputed_by_hand(files: Files, strategy: str) -> None:
    rows = files.metrics[files.metrics.strategy == strategy].set_index("cycle")
    picked = files.picked(strategy)
    assert rows.index.tolist() == list(range(13))
    for cycle in (0, 1, 7, 12):
        labelled = files.split["train"] + picked[:cycle]
        rest = [i for i in files.split["pool"] if i not in picked[:cycle]]
        assert rows.n_labelled[cycle] == len(labelled)
        assert rows.n_unlabelled[cycle] == len(rest)
        for measure, ids in (("test", files.split["test"]), ("unlabelled", rest)):
            mean, sigma = files.dense(labelled, ids)
            error = mean - files.y(ids)
            spread = files.y(ids) - files.y(ids).mean()
            row = rows.loc[cycle]
            # Two float64 ways to the same posterior; the errors are of order 0.1.
            assert row[f"{measure}_mae"] == pytest.approx(np.abs(error).mean(), abs=1e-10)
            assert row[f"{measure}_rmse"] == pytest.approx(np.sqrt((error**2).mean()), abs=1e-10)
            r2 = 1 - (error**2).sum() / (spread**2).sum()
            assert row[f"{measure}_r2"] == pytest.approx(r2, abs=1e-9)
            covered = (np.abs(error) <= 2 * sigma).mean()
            assert row[f"{measure}_coverage_2sigma"] == pytest.approx(covered, abs=1e-12)


def test_no_test_id_is_picked_and_no_id_twice(files: Files) -> None:
    pool = set(files.split["pool"])
    for strategy in ("max-sigma", "random", "distance"):
        picked = files.picked(strategy)
        assert len(picked) == len(set(picked)) == 12
        assert set(picked) <= pool
    assert not pool & set(files.split["test"])
    assert not pool & set(files.split["train"])


def test_all_arms_start_from_the_same_network_and_gp(files: Files) -> None:
    before = files.metrics[files.metrics.cycle == 0].drop(columns=["strategy", "cycle"])
    assert len(before) == 3
    assert (before.nunique() == 1).all()


def test_labels_in_the_picks_are_the_oracles(files: Files, finished: Any) -> None:
    for row in files.picks.itertuples():
        assert row.status == "ok"
        assert row.label == files.target[row.material_id]
    events = read_journal(finished.run_dir / "journal.jsonl")
    bought = [e["outcome"]["material_id"] for e in events if e["event"] == "label"]
    assert len(bought) == len(set(bought)), "a label was bought twice"
    known = files.split["train"] + files.split["test"]
    assert set(bought) == set(known) | set(files.picks.material_id)


def test_journal_holds_every_cycle_of_every_arm(files: Files, finished: Any) -> None:
    events = read_journal(finished.run_dir / "journal.jsonl")
    for strategy in ("max-sigma", "random", "distance"):
        cycles = [e for e in events if e["event"] == "cycle" and e["strategy"] == strategy]
        assert [e["cycle"] for e in cycles] == list(range(1, 13))
        assert [i for e in cycles for i in e["ids"]] == files.picked(strategy)
    assert events[-1]["event"] == "finished"


def test_the_folder_holds_what_the_readme_says(finished: Any) -> None:
    names = {p.name for p in finished.run_dir.iterdir()}
    expected = (
        "config.yaml split.json rejected.csv network training_history.parquet latents.parquet"
    )
    expected += " gp.json journal.jsonl metrics.parquet picks.parquet predictions.parquet"
    expected += " reference.parquet labelled.parquet retrainings.parquet materials.parquet run.json"
    expected += " summary.json report tensorboard"
    assert names == set(expected.split())
    assert finished.report.is_file()
    assert pq.read_schema(finished.run_dir / "metrics.parquet").metadata[b"unit"] == b"eV/atom"
    rejected = list(csv.DictReader((finished.run_dir / "rejected.csv").open()))
    n_split = sum(len(ids) for ids in Files(finished.run_dir).split.values())
    assert n_split == 90 - sum(1 for row in rejected if not row["where"].startswith("oracle"))


def test_the_curves_for_tensorboard_are_the_metrics(finished: Any) -> None:
    rows = finished.metrics
    for strategy in ("max-sigma", "random"):
        mine = rows[rows.strategy == strategy]
        read = curves(finished.run_dir / "tensorboard" / strategy)
        for tag, column in (
            ("test/mae", "test_mae"),
            ("test/coverage_2sigma", "test_coverage_2sigma"),
        ):
            assert [step for step, _ in read[tag]] == mine.cycle.tolist()
            # float32 in the file.
            assert [v for _, v in read[tag]] == pytest.approx(mine[column].tolist(), rel=1e-6)
        sigma = finished.picks[finished.picks.strategy == strategy].sigma.tolist()
        assert [v for _, v in read["pick/sigma"]] == pytest.approx(sigma, rel=1e-6)


def in_this_process() -> tuple[int, int]:
    """How many figures and how many classes of actors there are."""
    figures = sum(type(one) is Figure for one in gc.get_objects())
    return figures, sum(len(kind.__subclasses__()) for kind in (GpWorker, Labeller, PoolShard))


@dataclass(frozen=True)
class Resumed:
    """The finished run resumed; all that it does is start the actors and draw the report again."""

    result: Any
    journal_before: list[dict[str, Any]]
    record_before: dict[str, Any]
    process_before: tuple[int, int]
    process_after: tuple[int, int]


@pytest.fixture(scope="module")
def resumed(finished: Any) -> Resumed:
    run_dir = finished.run_dir
    config = Config.model_validate(yaml.safe_load((run_dir / "config.yaml").read_text()))
    journal = read_journal(run_dir / "journal.jsonl")
    record = json.loads((run_dir / "run.json").read_text())
    dataset = hypothetical_dataset(90, seed=config.seed, progress=NullProgress())
    gc.collect()
    before = in_this_process()
    again = Campaign(dataset, config, oracle=IonicOracle()).run(resume=True)
    return Resumed(again, journal, record, before, in_this_process())


def test_a_finished_run_resumed_changes_nothing(
    finished: Any, files: Files, resumed: Resumed
) -> None:
    again, before = resumed.result, resumed.journal_before
    after = read_journal(finished.run_dir / "journal.jsonl")
    assert [e for e in after[len(before) :] if e["event"] not in ("finished", "asked")] == []
    assert not [e for e in after[len(before) :] if e["event"] == "asked"], "asked the oracle again"
    assert again.metrics.equals(files.metrics)
    assert json.loads((finished.run_dir / "run.json").read_text()) == resumed.record_before
    assert again.picks.drop(columns="seconds").equals(files.picks.drop(columns="seconds"))


def test_a_run_without_its_journal_buys_nothing_again(finished: Any, tmp_path: Path) -> None:
    copy = tmp_path / finished.run_dir.name
    shutil.copytree(finished.run_dir, copy)
    (copy / "journal.jsonl").unlink()
    content = yaml.safe_load((copy / "config.yaml").read_text())
    config = Config.model_validate({**content, "name": copy.name, "runs_dir": tmp_path})
    dataset = hypothetical_dataset(90, seed=config.seed, progress=NullProgress())
    with pytest.raises(RunFolderError, match=r"journal\.jsonl is missing or empty"):
        Campaign(dataset, config, oracle=IonicOracle()).run(resume=True)
    assert not (copy / "journal.jsonl").exists()
    assert (copy / "summary.json").is_file()


def test_one_campaign_after_another_leaves_nothing_in_the_process(resumed: Resumed) -> None:
    assert resumed.process_after == resumed.process_before


def test_other_data_are_not_mixed_into_a_run(finished: Any, files: Files) -> None:
    config = Config.model_validate(yaml.safe_load((finished.run_dir / "config.yaml").read_text()))
    dataset = hypothetical_dataset(90, seed=config.seed + 1, progress=NullProgress())
    with pytest.raises(RunFolderError, match=r"data .ids, crystals, targets.: .* then, .* now"):
        Campaign(dataset, config, oracle=IonicOracle()).run(resume=True)
