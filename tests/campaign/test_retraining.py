"""The network trained again on what an arm has bought: which network every σ came from, and recovery."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.tiny_campaign import tiny_config

from gpnet_ray import Campaign, IonicOracle, hypothetical_dataset
from gpnet_ray.campaign.arm_record import ArmRecord
from gpnet_ray.campaign.context import RunContext
from gpnet_ray.campaign.journal import Journal, read_journal
from gpnet_ray.campaign.networks import Networks
from gpnet_ray.campaign.preparation import screen
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.surrogate import load_surrogate
from gpnet_ray.campaign.tables import latents_from_table
from gpnet_ray.campaign.telemetry_standing import Standing
from gpnet_ray.data.splits import load_split
from gpnet_ray.gnn.initial_weights import draw_weights
from gpnet_ray.gnn.network_state import NetworkState, load_network_state
from gpnet_ray.gnn.records import EpochRecord
from gpnet_ray.progress import NullProgress

pytestmark = pytest.mark.slow

EVERY = 8
SETTINGS: dict[str, Any] = {
    "selection.strategies": ["max-sigma"],
    "retraining.when": "every",
    "retraining.every_labels": EVERY,
    "retraining.start": "warm",
    "retraining.epochs": 4,
}


def campaign(runs_dir: Path) -> Campaign:
    config = tiny_config(runs_dir, name="again", **SETTINGS)
    dataset = hypothetical_dataset(90, seed=config.seed, progress=NullProgress())
    weights = draw_weights(config.network, seed=1)
    untrained = NetworkState(
        config.network, weights, 0.0, 1.0, target=dataset.target, unit=dataset.unit
    )
    return Campaign(dataset, config, oracle=IonicOracle(), network=untrained)


@pytest.fixture(scope="module")
def retrained(small_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return campaign(tmp_path_factory.mktemp("runs")).run()


def events(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    return [e for e in read_journal(run_dir / "journal.jsonl") if e["event"] == kind]


def test_the_journal_says_which_network_every_sigma_came_from(retrained: Any) -> None:
    folder = retrained.run_dir
    (first,) = events(folder, "network")
    later = events(folder, "retrained")
    # Twelve cycles: after 8 labels, and once more for the last 4.
    assert [e["retraining"]["cycle"] for e in later] == [8, 12]
    assert [e["retraining"]["n_labelled"] for e in later] == [38, 42]
    assert later[0]["retraining"]["kept"] == "new"
    expected = [first, *later]
    for event in events(folder, "cycle"):
        assert event["network"] == expected[(event["cycle"] - 1) // EVERY]["fingerprint"]
    assert retrained.picks.network.tolist() == [(c - 1) // EVERY for c in range(1, 13)]
    for number, event in enumerate(later, start=1):
        state = load_network_state(folder / "networks" / f"max-sigma-{number}" / "network")
        assert state.fingerprint() == event["fingerprint"]


def test_where_an_arm_stands_after_a_training_is_journaled_with_its_network(retrained: Any) -> None:
    again = events(retrained.run_dir, "measured again")
    assert [e["network"] for e in again] == [1, 2]
    rows = retrained.metrics.query("network > 0").groupby("network").first()
    assert [e["test_mae"] for e in again] == rows.test_mae.tolist()
    # What `status` says at the end is what the run's table says.
    standing = Standing.of(read_journal(retrained.run_dir / "journal.jsonl"))
    assert standing.figures().arms["max-sigma"].test_mae == retrained.metrics.test_mae.iloc[-1]


def test_picks_after_a_training_are_those_of_its_own_latents_and_gp(retrained: Any) -> None:
    folder = retrained.run_dir
    split = json.loads((folder / "split.json").read_text())
    picked = retrained.picks.material_id.tolist()
    sigma_of = dict(zip(picked, retrained.picks.sigma, strict=True))
    for number in (1,):
        files = folder / "networks" / f"max-sigma-{number}"
        gp = json.loads((files / "gp.json").read_text())["hyperparameters"]
        table = pq.read_table(files / "latents.parquet").to_pydict()
        latent = dict(zip(table["material_id"], np.array(table["latent"], float), strict=True))
        labelled = split["train"] + picked[: EVERY * number]
        start = np.array([latent[i] for i in labelled])
        low, span = start.min(0), np.where(np.ptp(start, axis=0) > 0, np.ptp(start, axis=0), 1.0)

        def k(a: list[str], b: list[str], latent=latent, low=low, span=span, gp=gp) -> np.ndarray:
            X, T = (np.array([(latent[i] - low) / span for i in ids]) for ids in (a, b))
            distance = np.sqrt(((X[:, None] - T[None]) ** 2).sum(-1))
            return gp["amplitude"] ** 2 * np.exp(-distance / gp["length_scale"])

        for expected in picked[EVERY * number : EVERY * (number + 1)]:
            pool = [i for i in split["pool"] if i not in labelled]
            cross = k(labelled, pool)
            K = k(labelled, labelled) + gp["noise_std"] ** 2 * np.eye(len(labelled))
            variance = gp["amplitude"] ** 2 - (cross * np.linalg.solve(K, cross)).sum(0)
            assert pool[int(np.argmax(variance))] == expected
            sigma = np.sqrt(variance.max() + gp["noise_std"] ** 2)
            # The same float64 factorisation in another order of operations.
            assert sigma_of[expected] == pytest.approx(sigma, abs=1e-9)
            labelled.append(expected)


def test_a_later_network_is_a_surrogate_on_the_labels_that_it_was_trained_on(
    retrained: Any,
) -> None:
    split = json.loads((retrained.run_dir / "split.json").read_text())
    picked = retrained.picks.material_id.tolist()
    surrogate = load_surrogate(retrained.run_dir / "networks" / "max-sigma-1")
    assert surrogate is not None
    assert list(surrogate.ids) == split["train"] + picked[:EVERY]
    label_of = dict(zip(picked, retrained.picks.label, strict=True))
    assert surrogate.labels[-EVERY:].tolist() == [label_of[i] for i in picked[:EVERY]]


def test_a_cycle_before_a_training_has_a_row_with_each_network(retrained: Any) -> None:
    rows = retrained.metrics[["cycle", "network", "n_labelled"]].to_numpy().tolist()
    expected = [[c, (max(c, 1) - 1) // EVERY, 30 + c] for c in range(13)]
    for cycle, network in ((8, 1), (12, 2)):
        place = [row[0] for row in expected].index(cycle) + 1
        expected.insert(place, [cycle, network, 30 + cycle])
    assert rows == expected
    arm = retrained.summary["arms"][0]
    assert len(arm["retrainings"]) == 2
    last = arm["retrainings"][-1]
    table = pq.read_table(retrained.run_dir / "networks" / "max-sigma-2" / "latents.parquet")
    prediction = dict(
        zip(*(table[c].to_pylist() for c in ("material_id", "network_prediction")), strict=True)
    )
    reference = pq.read_table(retrained.run_dir / "reference.parquet").to_pydict()
    target = dict(zip(reference["material_id"], reference["target"], strict=True))
    test = json.loads((retrained.run_dir / "split.json").read_text())["test"]
    mae = np.mean([abs(prediction[i] - target[i]) for i in test])
    # Through a float64 column and back: the same mean but for the order of its sum.
    assert last["network_test_mae"] == pytest.approx(mae, rel=1e-12)


@pytest.mark.long
def test_a_run_cut_off_in_a_training_ends_with_the_same_picks(
    retrained: Any, tmp_path: Path
) -> None:
    shutil.copytree(retrained.run_dir, tmp_path / "again")
    journal = tmp_path / "again" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    events = [json.loads(line)["event"] for line in lines]
    names = [(event["event"], event.get("network")) for event in events]
    journal.write_text("".join(lines[: names.index(("retrained", 2))]))
    again = campaign(tmp_path).run(resume=True)
    assert again.picks.drop(columns="seconds").equals(retrained.picks.drop(columns="seconds"))
    assert again.metrics.equals(retrained.metrics)


@pytest.mark.long
def test_latents_that_are_not_of_the_network_beside_them_are_made_again(
    retrained: Any, tmp_path: Path
) -> None:
    run = shutil.copytree(retrained.run_dir, tmp_path / "again")
    journal = run / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    names = [json.loads(line)["event"]["event"] for line in lines]
    # After the first training again, so that both networks are there already.
    journal.write_text("".join(lines[: names.index("retrained") + 1]))
    first, second = (f / "latents.parquet" for f in (run, run / "networks" / "max-sigma-1"))
    expected = {path: pq.read_table(path) for path in (first, second)}
    # The first file is of another network; the second one, too, and does not say so.
    pq.write_table(expected[second], first)
    silent = expected[first].replace_schema_metadata({"unit": "eV/atom"})
    pq.write_table(silent, second)
    again = campaign(tmp_path).run(resume=True)
    assert again.picks.drop(columns="seconds").equals(retrained.picks.drop(columns="seconds"))
    assert again.metrics.equals(retrained.metrics)
    for path, table in expected.items():
        assert pq.read_table(path).equals(table, check_metadata=True)


class ToldStage:
    """Stands in for the network actor: says what training and validation are told to give."""

    def __init__(self, new: NetworkState, validation_mae: dict[str, float]) -> None:
        self.new, self.mae = new, validation_mae

    def __enter__(self) -> ToldStage:
        return self

    def __exit__(self, *_: object) -> None: ...

    def train(self, *_: object, **how: Any) -> tuple[NetworkState, list[EpochRecord]]:
        return self.new, [EpochRecord(1, 1e-3, 0.1, 0.1, 2.0)]

    def validation_mae(self, state: NetworkState, *_: object, **how: Any) -> float:
        return self.mae[state.fingerprint()]


@pytest.mark.parametrize(("new_mae", "kept"), [(0.2, "old"), (0.1, "old"), (0.09, "new")])
def test_a_network_that_is_not_better_is_not_kept(
    retrained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_mae: float, kept: str
) -> None:
    config = tiny_config(tmp_path, name="told", **SETTINGS)
    dataset = hypothetical_dataset(90, seed=0, progress=NullProgress())
    problem = screen(dataset, config, NullProgress())
    split = load_split(retrained.run_dir / "split.json")
    folder = RunFolder(tmp_path / "told")
    folder.create(config, overwrite=False)
    reference = dict.fromkeys((*split.train, *split.pool, *split.test), 0.5)
    old, new = (
        load_network_state(retrained.run_dir / "networks" / f"max-sigma-{n}" / "network")
        for n in (1, 2)
    )
    stage = ToldStage(new, {old.fingerprint(): 0.1, new.fingerprint(): new_mae})
    monkeypatch.setattr(Networks, "_stage", lambda _: stage)
    latents = latents_from_table(pq.read_table(retrained.run_dir / "latents.parquet"))
    monkeypatch.setattr(Networks, "_latents", lambda *_, **__: latents)
    context = RunContext(config, folder, IonicOracle(), NullProgress())
    with Journal(folder.journal) as journal:
        networks = Networks(context, problem, split, reference, journal)
        representation = networks.first(old)
        representation, retraining = networks.next(ArmRecord("max-sigma"), representation)
    expected = {"old": old, "new": new}[kept]
    assert retraining.kept == kept
    assert representation.network.fingerprint() == expected.fingerprint()
    assert load_network_state(representation.files.network).fingerprint() == expected.fingerprint()
