"""Ask and tell: the picks of a strictly sequential loop, whatever is told when; and nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.ask_tell import UNIT, crystals, energy, small_config, small_network

from gpnet_ray.campaign.ask_tell import AskTellCampaign
from gpnet_ray.campaign.ask_tell_folder import AskTellFolder
from gpnet_ray.campaign.ask_tell_scoring import Representation, Scoring
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.surrogate import load_surrogate
from gpnet_ray.campaign.tables import latents_from_table
from gpnet_ray.data.results_file import RefusedRow
from gpnet_ray.errors import DataError, InputError, RunFolderError
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.kernels import kernel_matrix
from gpnet_ray.gp.messages import Proposal
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.gp.selection import plan_cycles

N_START, N_TEST, N_ALL = 16, 4, 40


@pytest.fixture(scope="module")
def begun(small_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that has just begun; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("ask_tell") / "begun"
    config = small_config()
    AskTellCampaign.create(
        folder,
        crystals(0, N_START, labelled=True),
        crystals(N_START, N_ALL, labelled=False),
        config,
        n_test=N_TEST,
        network=small_network(config),
    ).close()
    return folder


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "campaign"))


def representation(folder: Path) -> Representation:
    files = RunFolder(folder)
    content = files.read_json(files.gp)
    return Representation(
        latents_from_table(files.read_table(files.latents)),
        LatentScaler.from_json(content["scaler"]),
        Hyperparameters.from_json(content["hyperparameters"]),
    )


def sequential(folder: Path, known: Iterable[str], free: Iterable[str], n: int) -> list[str]:
    """A loop that knows one label more each time and solves everything anew: plain NumPy."""
    space, known, free, picks = representation(folder), list(known), set(free), []
    h = space.hyperparameters
    for _ in range(n):
        ids = sorted(free)
        X, X_new = space.X(known), space.X(ids)
        K = kernel_matrix(h, X, X).numpy() + h.noise_std**2 * np.eye(len(known))
        k = kernel_matrix(h, X, X_new).numpy()
        variance = h.amplitude**2 - np.einsum("ij,ij->j", k, np.linalg.solve(K, k))
        best = ids[int(np.argmax(variance))]
        picks.append(best)
        known.append(best)
        free.remove(best)
    return picks


def start_ids(folder: Path) -> list[str]:
    with AskTellCampaign.open(folder, read_only=True) as campaign:
        assert campaign.status().n_start == N_START - N_TEST
    reference = pq.read_table(RunFolder(folder).reference)
    return reference.column("material_id").to_pylist()[: N_START - N_TEST]


def pool() -> list[str]:
    return [f"m-{number:03d}" for number in range(N_START, N_ALL)]


def ids_of(requests: Sequence[object]) -> list[str]:
    return [request.material_id for request in requests]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_any_order_of_asking_and_telling_gives_the_picks_of_the_sequential_loop(
    folder: Path,
) -> None:
    expected = sequential(folder, start_ids(folder), pool(), 12)
    with AskTellCampaign.open(folder) as campaign:
        picked = ids_of(campaign.ask(4))
        picked += ids_of(campaign.ask(1)) + ids_of(campaign.ask(1))
        # Out of order, and only some.
        for material_id in (picked[4], picked[1]):
            assert campaign.tell(material_id, energy(material_id))
        picked += ids_of(campaign.ask(2))
    # Another process, another day: everything comes from the folder.
    with AskTellCampaign.open(folder) as campaign:
        assert ids_of(campaign.status().pending) == [
            p for p in picked if p not in (picked[4], picked[1])
        ]
        picked += ids_of(campaign.ask(4))
    assert picked == expected


def test_σ_and_prediction_of_a_request_are_those_of_the_posterior(folder: Path) -> None:
    space = representation(folder)
    with AskTellCampaign.open(folder) as campaign:
        first = campaign.ask(3)
        for request in first[:2]:
            campaign.tell(request.material_id, energy(request.material_id))
        fourth = campaign.ask(1)[0]
        scores = campaign.scores()
        test_ids, free = sorted(campaign._state.test), campaign._state.free()
    labelled = {
        **dict(pq_rows(folder)),
        **{r.material_id: energy(r.material_id) for r in first[:2]},
    }
    labelled = {i: y for i, y in labelled.items() if i not in test_ids}
    posterior = Posterior(
        space.hyperparameters, tuple(labelled), space.X(tuple(labelled)), list(labelled.values())
    )
    mean, _ = posterior.predict(space.X([fourth.material_id]))
    # The same sums in another order.
    assert fourth.predicted == pytest.approx(mean[0], abs=1e-9)
    test_mean, _ = posterior.predict(space.X(test_ids))
    truth = [energy(i) for i in test_ids]
    # What is pending has no label, so it changes no prediction.
    assert scores.test_mae == pytest.approx(np.abs(test_mean - truth).mean(), abs=1e-9)
    posterior.commit([first[2].material_id], space.X([first[2].material_id]), [0.0])
    _, sigma = posterior.predict(space.X([fourth.material_id]))
    assert fourth.sigma == pytest.approx(sigma[0], abs=1e-9)
    posterior.commit([fourth.material_id], space.X([fourth.material_id]), [0.0])
    _, sigmas = posterior.predict(space.X(free))
    assert scores.largest_sigma == pytest.approx(sigmas.max(), abs=1e-9)


def pq_rows(folder: Path) -> Iterator[tuple[str, float]]:
    table = pq.read_table(RunFolder(folder).reference)
    yield from zip(
        table.column("material_id").to_pylist(), table.column("target").to_pylist(), strict=True
    )


@pytest.mark.slow
def test_what_failed_was_withdrawn_or_joined_is_planned_with_from_then_on(folder: Path) -> None:
    known, space = start_ids(folder), set(pool())
    with AskTellCampaign.open(folder) as campaign:
        first = ids_of(campaign.ask(4))
        campaign.tell(first[0], energy(first[0]))
        campaign.tell_failed(first[1], "SCF diverged")
        campaign.withdraw([first[2]], reason="toxic")
        # The model is not more certain for having asked in vain.
        second = ids_of(campaign.ask(3))
        free = space.difference(first)
        assert second == sequential(folder, [*known, first[0], first[3]], free, 3)
        status = campaign.status()
        assert [(o.material_id, o.reason) for o in status.failed] == [(first[1], "SCF diverged")]
        assert status.withdrawn == ((first[2], "toxic"),)

        ids, rejected = campaign.add_candidates(crystals(10, 25, labelled=False, prefix="n"))
        assert (len(ids), rejected) == (15, ())
        campaign.put_back([first[1]])
        free = free.difference(second).union(ids, [first[1]])
        third = ids_of(campaign.ask(8))
        conditioned = [*known, first[0], first[3], *second]
        assert third == sequential(folder, conditioned, free, 8)
        assert set(third).intersection(ids), "a new candidate was never among the most uncertain"
        with pytest.raises(InputError, match=r"in the campaign already: n-010"):
            campaign.add_candidates(crystals(10, 12, labelled=False, prefix="n"))
        with pytest.raises(InputError, match="brings targets"):
            campaign.add_candidates(crystals(30, 32, labelled=True, prefix="n"))


@pytest.mark.slow
def test_every_strategy_picks_as_the_planner_over_the_whole_pool(
    folder: Path, small_ray: None
) -> None:
    space, free = representation(folder), pool()
    known = start_ids(folder)
    y = [energy(i) for i in known]
    labelled = dict(zip(known, y, strict=True))
    posterior = Posterior(space.hyperparameters, known, space.X(known), y)
    whole = Proposal(tuple(free), space.X(free), -np.inf)
    cutoff = 0.1 * min(space.hyperparameters.lengths)
    with Scoring(small_config(**{"resources.shards": 2}), space, free, {}) as scoring:
        for strategy in ("top-k", "distance"):
            scoring.bring_up_to(labelled, [], free)
            (cycle,) = plan_cycles(
                posterior,
                [whole],
                strategy=strategy,
                cycles=1,
                batch_size=6,
                distance_cutoff=cutoff,
            )
            picks = scoring.pick(6, strategy, free)  # type: ignore[arg-type]
            assert ids_of(picks) == list(cycle.ids)
        scoring.bring_up_to(labelled, [], free)
        at_once = ids_of(scoring.pick(6, "random", free))
        one_by_one: list[str] = []
        for _ in range(6):
            left = [i for i in free if i not in one_by_one]
            scoring.bring_up_to(labelled, one_by_one, left)
            one_by_one += ids_of(scoring.pick(1, "random", left))
        assert one_by_one == at_once
        assert at_once != sorted(at_once)


KILLED = """
import os, signal, sys
from gpnet_ray.campaign.ask_tell import AskTellCampaign

campaign = AskTellCampaign.open(sys.argv[1])
campaign.ask(3)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_killed_right_after_asking_nothing_is_forgotten_and_nothing_asked_twice(
    folder: Path,
) -> None:
    expected = sequential(folder, start_ids(folder), pool(), 5)
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with AskTellCampaign.open(folder) as campaign:
        pending = campaign.status().pending
        assert ids_of(pending) == expected[:3]
        form = campaign.write_request(pending, fmt="cif")
        assert sorted(p.name for p in form.parent.iterdir()) == sorted(
            ["results.csv", *(f"{i}.cif" for i in expected[:3])]
        )
        assert campaign.tell(expected[1], -4.0)
        assert ids_of(campaign.ask(2)) == expected[3:]


def test_telling_is_idempotent_across_openings_and_a_label_stays(folder: Path) -> None:
    for first_time in (True, False):
        with AskTellCampaign.open(folder) as campaign:
            assert campaign.tell("m-020", -4.0) is first_time
            assert campaign.tell_failed("m-021", "walltime") is first_time
    lines = len((folder / "journal.jsonl").read_text().splitlines())
    with AskTellCampaign.open(folder) as campaign:
        for refused in (
            lambda: campaign.tell("m-020", -4.1),
            lambda: campaign.tell_failed("m-020", "crash"),
            lambda: campaign.tell("m-999", -4.0),
            lambda: campaign.tell("m-022", float("nan")),
            lambda: campaign.tell("m-022", 1e4),
            lambda: campaign.tell_failed("m-022", " "),
            lambda: campaign.withdraw(["m-020"]),
            lambda: campaign.withdraw(["m-001"]),
            lambda: campaign.put_back(["m-022"]),
            lambda: campaign.put_back(["m-020"]),
            lambda: campaign.ask(0),
            lambda: campaign.ask(1000),
        ):
            with pytest.raises(InputError):
                refused()
        assert campaign.tell("m-022", 1e4, accept_implausible=True)
    assert len((folder / "journal.jsonl").read_text().splitlines()) == lines + 1


def test_a_label_told_after_the_withdrawal_is_never_bought_again(folder: Path) -> None:
    with AskTellCampaign.open(folder) as campaign:
        campaign.withdraw(["m-020"])
        assert campaign.tell("m-020", -4.0)
        with pytest.raises(InputError, match="have labels, which stay: m-020"):
            campaign.put_back(["m-020"])
    with AskTellCampaign.open(folder) as campaign:
        status = campaign.status()
        assert (status.n_told, status.withdrawn) == (1, ())
        assert status.n_free == N_ALL - N_START - 1


def test_a_partly_filled_file_is_taken_row_by_row(folder: Path, tmp_path: Path) -> None:
    form = tmp_path / "results.csv"
    form.write_text(
        "material_id,unit,value,status,reason\n"
        "m-016,eV/atom,-3.9,,\n"
        "m-017,eV/atom,,,\n"
        "m-018,eV/atom,,failed,SCF diverged\n"
        "m-019,eV,-75.2,,\n"
        "m-020,eV/atom,-752,,\n"
        "m-002,eV/atom,-9,,\n"
        "who?,eV/atom,-4,,\n"
    )
    with AskTellCampaign.open(folder) as campaign:
        report = campaign.tell_results(form)
        assert (report.n_labels, report.n_failed, report.n_known, report.n_open) == (1, 1, 0, 1)
        said = {5: "the unit is eV", 6: "not plausible", 7: "already", 8: "no material"}
        assert [row.line for row in report.refused] == list(said)
        for row in report.refused:
            assert isinstance(row, RefusedRow)
            assert said[row.line] in row.reason
    # Filled in further and told again: what was there is not new.
    form.write_text(form.read_text().replace("m-017,eV/atom,,", "m-017,eV/atom,-3.95,"))
    with AskTellCampaign.open(folder) as campaign:
        report = campaign.tell_results(form, accept_implausible=True)
        assert (report.n_labels, report.n_failed, report.n_known, report.n_open) == (2, 0, 2, 0)
        status = campaign.status()
        assert (status.n_told, status.n_free) == (3, N_ALL - N_START - 4)
        with pytest.raises(DataError, match="not in kJ/mol"):
            campaign.tell_results(form, unit="kJ/mol")


def test_predict_finds_all_labels_once_the_campaign_is_closed(folder: Path) -> None:
    before = load_surrogate(folder)
    assert before is not None
    assert sorted(before.ids) == sorted(start_ids(folder))
    with AskTellCampaign.open(folder) as campaign:
        campaign.tell("m-020", -4.0)
        campaign.tell_failed("m-021", "walltime")
        with pytest.raises(InputError, match=r"1 of the labels in .*m-020.* would be left out"):
            load_surrogate(folder)
    after = load_surrogate(folder)
    assert after is not None
    assert dict(zip(after.ids, after.labels.tolist(), strict=True))["m-020"] == -4.0
    assert len(after.ids) == len(before.ids) + 1


def test_one_writer_at_a_time_and_readers_beside_it(folder: Path) -> None:
    with AskTellCampaign.open(folder) as campaign:
        with pytest.raises(RunFolderError, match="another process"):
            AskTellCampaign.open(folder)
        with AskTellCampaign.open(folder, read_only=True) as reader:
            assert reader.status() == campaign.status()
            with pytest.raises(RunFolderError, match="opened to be read"):
                reader.tell("m-020", -4.0)
    AskTellCampaign.open(folder).close()


def test_a_campaign_with_told_labels_is_never_overwritten(folder: Path) -> None:
    door = AskTellFolder(folder)
    door.check_can_begin(overwrite=True)
    with pytest.raises(RunFolderError, match="--overwrite"):
        door.check_can_begin(overwrite=False)
    # Nor does a run take its place.
    with pytest.raises(RunFolderError, match="does not look like a run"):
        RunFolder(folder).check_free(resume=False, overwrite=True)
    with AskTellCampaign.open(folder) as campaign:
        campaign.tell("m-020", -4.0)
    with pytest.raises(RunFolderError, match="labels that were told"):
        door.check_can_begin(overwrite=True)


def test_changed_settings_and_folders_of_something_else_are_refused(
    folder: Path, tmp_path: Path
) -> None:
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("shards: 1", "shards: 3"))
    AskTellCampaign.open(folder).close()
    same = config.read_text()
    config.write_text(same.replace("global_features: []", "global_features: [pressure_GPa]"))
    with pytest.raises(RunFolderError, match=r"\[\] then, \['pressure_GPa'\] now"):
        AskTellCampaign.open(folder)
    config.write_text(same.replace("kernel: laplacian", "kernel: rbf"))
    with pytest.raises(RunFolderError, match=r"gp\.kernel: laplacian then, rbf now"):
        AskTellCampaign.open(folder)
    with pytest.raises(RunFolderError, match="no ask-and-tell campaign"):
        AskTellCampaign.open(tmp_path / "nowhere")


def test_a_campaign_cannot_begin_with_parts_that_do_not_fit(tmp_path: Path) -> None:
    config, place = small_config(), tmp_path / "new"
    labelled, candidates = crystals(0, 12, labelled=True), crystals(12, 20, labelled=False)
    for parts, more, said in (
        ((candidates, labelled), {}, "has no targets"),
        ((labelled, crystals(12, 20, labelled=True)), {}, "brings targets"),
        ((labelled, crystals(11, 20, labelled=False)), {}, "labelled and in the pool: m-011"),
        ((labelled, candidates), {"n_test": 3}, "leave 9 to learn from"),
        ((labelled, candidates), {"n_test": -1}, "-1 test rows"),
        (
            (labelled, candidates),
            {"network": small_network(small_config(**{"network.n_blocks": 2}))},
            "network settings",
        ),
    ):
        with pytest.raises(InputError, match=said):
            AskTellCampaign.create(place, *parts, config, **more)  # type: ignore[arg-type]
        assert not place.exists()
    two = small_config(**{"selection.strategies": ["max-sigma", "random"]})
    with pytest.raises(InputError, match="one strategy picks"):
        AskTellCampaign.create(place, labelled, candidates, two)
    assert labelled.unit == UNIT
