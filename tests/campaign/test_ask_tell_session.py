"""An open ask-and-tell campaign when something comes between; network, fit and actors are stand-ins."""

from __future__ import annotations

import csv
import errno
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from pymatgen.core import Structure
from support.ask_tell import crystals, small_config, small_network
from support.command_line import rows, write_parquet

from gpnet_ray.campaign import ask_tell_scoring, ask_tell_session, ask_tell_setup
from gpnet_ray.campaign.ask_tell import AskTellCampaign
from gpnet_ray.campaign.ask_tell_scoring import PlannedPick, Representation, Scoring
from gpnet_ray.campaign.ask_tell_state import Request
from gpnet_ray.campaign.journal import Journal
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.stages import Latents
from gpnet_ray.commands.init import _init
from gpnet_ray.config import Config
from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import ActorRestartedError, InputError, RunFolderError
from gpnet_ray.gnn.network_state import NetworkState
from gpnet_ray.gp.fit_records import FitResult
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.recalibration import Recalibration
from gpnet_ray.gp.scaling import LatentScaler


class Stage:
    """Trains nothing and draws latents by a seed; remembers where training started."""

    def __init__(self) -> None:
        self.initial: NetworkState | None = None

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def train(
        self,
        graphs: Any,
        targets: Any,
        *,
        target: str,
        unit: str,
        initial: NetworkState | None = None,
    ) -> tuple[NetworkState, list[Any]]:
        self.initial = initial
        return initial or small_network(small_config()), []

    def featurize(self, network: NetworkState, graphs: Any) -> Latents:
        n, rng = len(graphs.ids), np.random.default_rng(5)
        return Latents(graphs.ids, rng.normal(size=(n, 6)).astype(np.float32), np.zeros(n))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    fitted = FitResult(
        Hyperparameters("laplacian", 0.3, 1.0, 0.01, -4.0), Recalibration(), (), 0.0, ()
    )
    monkeypatch.setattr(ask_tell_setup, "connected", lambda resources: nullcontext())
    monkeypatch.setattr(ask_tell_setup, "reserved", lambda resources, **_: nullcontext())
    monkeypatch.setattr(ask_tell_setup, "NetworkStage", lambda *_: made)
    monkeypatch.setattr(ask_tell_setup, "_fit", lambda *_: fitted)
    return made


def create(folder: Path, config: Config, *, overwrite: bool = False) -> AskTellCampaign:
    start, pool = crystals(0, 12, labelled=True), crystals(12, 20, labelled=False)
    return AskTellCampaign.create(folder, start, pool, config, overwrite=overwrite)


def test_training_starts_from_the_pretrained_network_and_latents_are_projected(
    stage: Stage, tmp_path: Path
) -> None:
    pretrained = small_network(small_config())
    pretrained.save(tmp_path / "pretrained")
    asked = {
        "data.target": "energy",
        "training.pretrained": tmp_path / "pretrained",
        "gp.latent_projection": "pca-2",
    }
    with create(tmp_path / "campaign", load_config(overrides=asked)) as campaign:
        # Its architecture is not that of the defaults, so the settings have to follow it.
        assert campaign.config.network == pretrained.config
    assert stage.initial is not None
    assert stage.initial.fingerprint() == pretrained.fingerprint()
    files = RunFolder(tmp_path / "campaign")
    scaler = LatentScaler.from_json(files.read_json(files.gp)["scaler"])
    assert scaler.transform(np.zeros((3, 6))).shape == (3, 2)


class InterruptedScoring:
    """Picks the first free ids; the first pick of all ends as by Ctrl-C, with the point half taken in."""

    made: list[InterruptedScoring]

    def __init__(self, *_: object) -> None:
        self.is_open, self.is_spoilt = True, False
        self.made.append(self)

    def bring_up_to(
        self, labelled: Mapping[str, float], pending: Sequence[str], free: Collection[str]
    ) -> None:
        assert self.is_open
        assert not self.is_spoilt

    def pick(self, n: int, strategy: str, free: Sequence[str]) -> list[PlannedPick]:
        if len(self.made) == 1:
            self.is_spoilt = True
            raise KeyboardInterrupt
        return [PlannedPick(i, 0.1, -4.0) for i in free[:n]]

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[InterruptedScoring]:
    monkeypatch.setattr(InterruptedScoring, "made", [], raising=False)
    monkeypatch.setattr(ask_tell_session, "Scoring", InterruptedScoring)
    return InterruptedScoring.made


def test_after_an_interruption_the_next_question_goes_to_new_actors(
    stage: Stage, interrupted: list[InterruptedScoring], tmp_path: Path
) -> None:
    with create(tmp_path / "campaign", small_config()) as campaign:
        with pytest.raises(KeyboardInterrupt):
            campaign.ask(2)
        assert [scoring.is_open for scoring in interrupted] == [False]
        assert campaign.status().pending == ()
        assert [request.material_id for request in campaign.ask(2)] == ["m-012", "m-013"]
        # Without an interruption they stay for the next question.
        campaign.ask(1)
        assert [scoring.is_open for scoring in interrupted] == [False, True]


def test_a_closed_campaign_is_to_be_opened_again_and_says_where_it_stood(
    stage: Stage, interrupted: list[InterruptedScoring], tmp_path: Path
) -> None:
    with create(tmp_path / "campaign", small_config()) as campaign:
        campaign.tell("m-012", -3.9)
    for act in (
        lambda: campaign.tell("m-013", -3.9),
        lambda: campaign.ask(1),
        lambda: campaign.tell_failed("m-013", "it melts"),
        lambda: campaign.tell_results(tmp_path / "results.csv"),
        lambda: campaign.withdraw(["m-013"]),
        lambda: campaign.put_back(["m-013"]),
        lambda: campaign.add_candidates(crystals(20, 22, labelled=False)),
        campaign.scores,
        campaign.__enter__,
    ):
        with pytest.raises(RunFolderError, match=r"campaign is closed.*open it again"):
            act()
    assert interrupted == []
    campaign.close()
    assert campaign.status().n_told == 1


def test_what_is_told_is_one_id_with_a_number_and_ids_are_a_list(
    stage: Stage, tmp_path: Path
) -> None:
    with create(tmp_path / "campaign", small_config()) as campaign:
        wrong: list[tuple[Callable[[], Any], str]] = [
            (lambda: campaign.tell(["m-012"], [-3.9]), "one id and its value are told at a time"),  # type: ignore[arg-type]
            (lambda: campaign.tell("m-012", None), "a number .*, not None; use tell_failed"),  # type: ignore[arg-type]
            (lambda: campaign.tell("m-012", "-3.9"), "a number .*, not '-3.9'"),  # type: ignore[arg-type]
            (lambda: campaign.withdraw("m-012"), r"not the text 'm-012'; give a list"),
            (lambda: campaign.put_back("m-012"), r"not the text 'm-012'; give a list"),
        ]
        for act, said in wrong:
            with pytest.raises(InputError, match=said):
                act()
        assert campaign.status().n_free == 8
        assert campaign.tell("m-012", np.float32(-3.9))


def fill_disk(monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    """The next writes to the journal fail; the second of a pair is the one into the reserve."""
    write, outcomes = Journal._write, iter([True] * failures)

    def full(journal: Journal, content: bytes) -> None:
        if next(outcomes, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(journal, content)

    monkeypatch.setattr(Journal, "_write", full)


@pytest.mark.parametrize(("failures", "is_kept"), [(1, True), (2, False)])
def test_a_label_is_believed_on_a_full_disk_exactly_if_the_journal_has_it(
    failures: int,
    is_kept: bool,
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with create(tmp_path / "campaign", small_config()) as campaign:
        fill_disk(monkeypatch, failures)
        # There is no --resume here.
        with pytest.raises(
            RunFolderError, match=r"No space left.*gpnet-ray status` what was taken"
        ):
            campaign.tell("m-012", -3.9)
        assert campaign.status().n_told == is_kept
    with AskTellCampaign.open(tmp_path / "campaign", read_only=True) as campaign:
        assert campaign.status().n_told == is_kept


def test_candidates_that_joined_on_a_full_disk_have_latents(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create(tmp_path / "campaign", small_config()) as campaign:
        fill_disk(monkeypatch, 1)
        with pytest.raises(RunFolderError, match="No space left"):
            campaign.add_candidates(crystals(20, 22, labelled=False))
        assert campaign.status().n_free == 10
        assert campaign._session.latents.rows(["m-020", "m-021"]) == [20, 21]


def test_a_damaged_file_is_to_be_restored_and_not_resumed(stage: Stage, tmp_path: Path) -> None:
    with create(tmp_path / "campaign", small_config()) as campaign:
        (tmp_path / "campaign" / "gp.json").write_text("{")
        with pytest.raises(
            RunFolderError, match=r"gp\.json cannot be read.*restore it from a copy"
        ):
            campaign.ask(1)


def test_an_interrupted_init_says_how_to_begin_again_and_that_works(
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    dataset = write_parquet(
        tmp_path / "all.parquet",
        [row | ({"energy": None} if n >= 12 else {}) for n, row in enumerate(rows(20))],
    )
    command = {"dataset": dataset, "pool": None, "config": small_config()}
    more = {"n_test": 0, "network": None}
    featurize, stage.featurize = stage.featurize, interrupted  # type: ignore[method-assign]
    with pytest.raises(typer.Exit) as ended:
        _init(tmp_path / "campaign", **command, **more, overwrite=False)
    assert ended.value.exit_code == 130
    assert "begin again with --overwrite" in capsys.readouterr().err
    stage.featurize = featurize  # type: ignore[method-assign]
    _init(tmp_path / "campaign", **command, **more, overwrite=True)
    with AskTellCampaign.open(tmp_path / "campaign", read_only=True) as campaign:
        assert campaign.status().n_free == 8


@pytest.mark.parametrize("overwrite", [True, False])
def test_labels_that_were_told_while_the_graphs_were_built_are_not_overwritten(
    overwrite: bool, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, screen = tmp_path / "campaign", ask_tell_setup.screen
    if overwrite:
        create(folder, small_config()).close()

    def slow_screen(*parts: Any) -> Any:
        monkeypatch.setattr(ask_tell_setup, "screen", screen)
        if not overwrite:
            create(folder, small_config()).close()
        with AskTellCampaign.open(folder) as campaign:
            campaign.tell("m-012", -3.9)
        return screen(*parts)

    monkeypatch.setattr(ask_tell_setup, "screen", slow_screen)
    with pytest.raises(RunFolderError, match="labels that were told"):
        create(folder, small_config(), overwrite=overwrite)
    with AskTellCampaign.open(folder, read_only=True) as campaign:
        assert campaign.status().n_told == 1


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_campaign_whose_journal_is_lost_is_neither_opened_nor_overwritten(
    stage: Stage, tmp_path: Path, *, is_empty: bool
) -> None:
    folder = tmp_path / "campaign"
    create(folder, small_config()).close()
    (folder / "requests" / "0001").mkdir(parents=True)
    (folder / "journal.jsonl").unlink()
    if is_empty:
        (folder / "journal.jsonl").touch()
    for what in (
        lambda: AskTellCampaign.open(folder),
        lambda: create(folder, small_config(), overwrite=True),
    ):
        with pytest.raises(RunFolderError, match=r"journal\.jsonl is missing.*restore it"):
            what()
    assert (folder / "requests" / "0001").is_dir()
    assert (folder / "journal.jsonl").exists() == is_empty


class Call:
    """A remote method that does nothing, at once; what comes of it is its next answer."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), list[Any]()

    def remote(self, *parts: Any, **_: Any) -> Any:
        self.asked.append(parts)
        return self.answers.pop(0) if self.answers else None


class Remote:
    """A stand-in for an actor that scores; its first withdrawal is lost."""

    def __init__(self) -> None:
        self.reset = Call()
        self.withdraw = Call(ActorRestartedError("a shard has no posterior"))


def test_a_withdrawal_that_is_lost_is_an_error_and_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def get(results: list[Any]) -> list[Any]:
        for error in [result for result in results if isinstance(result, Exception)]:
            raise error
        return results

    monkeypatch.setattr(ask_tell_scoring.ray, "get", get)
    latents = Latents(("s", "a", "b"), np.zeros((3, 2), np.float32), np.zeros(3))
    known = Representation(
        latents,
        LatentScaler.fit(np.eye(2), "min-max"),
        Hyperparameters("laplacian", 0.3, 1.0, 0.01, -4.0),
    )
    shard = Remote()
    scoring = Scoring(small_config(), known, ["a", "b"], {})
    scoring._gp, scoring._shards = shard, [shard]
    with pytest.raises(ActorRestartedError):
        scoring.bring_up_to({"s": -1.0}, [], ["b"])
    for _ in range(2):
        scoring.bring_up_to({"s": -1.0}, [], ["b"])
    # The third time it is known to be withdrawn.
    assert shard.withdraw.asked == [(["a"],), (["a"],)]


def test_files_of_ids_that_differ_only_in_case_are_told_apart_without_it(
    stage: Stage, tmp_path: Path
) -> None:
    ids = ("mp-A", "mp-a", "MP-A", "mp-a.2", "mp-b")
    candidates = replace(crystals(12, 17, labelled=False), ids=ids)
    with AskTellCampaign.create(
        tmp_path / "campaign", crystals(0, 12, labelled=True), candidates, small_config()
    ) as campaign:
        now = datetime.now(timezone.utc)
        requests = [Request(i, 0.1, -4.0, now, 1) for i in ids]
        form = campaign.write_request(requests, str(tmp_path / "to compute"), fmt="poscar")
    with form.open(newline="") as file:
        file_of = {row["material_id"]: row["file"] for row in csv.DictReader(file)}
    # The last but one has the name that the second would have got, and keeps it.
    assert file_of == {
        "mp-A": "mp-A.poscar",
        "mp-a": "mp-a.3.poscar",
        "MP-A": "MP-A.4.poscar",
        "mp-a.2": "mp-a.2.poscar",
        "mp-b": "mp-b.poscar",
    }
    for material_id, crystal in zip(ids, candidates.structures, strict=True):
        written = Structure.from_file(form.parent / file_of[material_id])
        assert written.composition == crystal.composition
        assert written.volume == pytest.approx(crystal.volume)
