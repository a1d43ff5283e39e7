"""Picks from pools on disk are those of a loop over the whole pool, whatever is told, withdrawn, added or lost."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
from support.pools import LABELLED, DenseLoop, hand_made_surrogate, truth, write_pool

from gpnet_ray.campaign import candidate_pools
from gpnet_ray.campaign.pool_session import PoolPick, PoolSession
from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.config_layers import load_config
from gpnet_ray.data.unique_ids import repeated_ids
from gpnet_ray.errors import ClusterError, DataError, InputError
from gpnet_ray.progress import NullProgress

# 20 of them are labelled rows of the surrogate.
FIRST = (*(f"a-{n:04d}" for n in range(2200)), *LABELLED[:20])
MORE = tuple(f"b-{n:04d}" for n in range(800))
CONFIG = load_config(overrides={"resources.shards": 2, "selection.distance_cutoff": 1.5})

# The variances of both ways are float64 and right to some 1e-10 of the prior's, and σ is at least the noise's 0.1.
SIGMA_TOLERANCE = 1e-8


class Lines(NullProgress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def line(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return hand_made_surrogate()


@pytest.fixture(scope="module")
def pools(surrogate: Surrogate, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pools")
    return write_pool(folder / "a", FIRST, surrogate), write_pool(folder / "b", MORE, surrogate)


@pytest.fixture(scope="module")
def session(
    small_ray: None,
    surrogate: Surrogate,
    pools: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[PoolSession]:
    """One long session on the first pool; the tests below go on with it in their order."""
    progress = Lines()
    bounds = tmp_path_factory.mktemp("bounds")
    with PoolSession(surrogate, pools[:1], CONFIG, bounds_dir=bounds, progress=progress) as opened:
        yield opened


@pytest.fixture(scope="module")
def dense(surrogate: Surrogate) -> DenseLoop:
    """The loop that the session is compared with, in step with it."""
    return DenseLoop(surrogate, list(FIRST))


def assert_same(picks: tuple[PoolPick, ...], expected: tuple[list[str], list[float]]) -> None:
    assert [pick.material_id for pick in picks] == expected[0]
    np.testing.assert_allclose([p.sigma for p in picks], expected[1], rtol=SIGMA_TOLERANCE)


def test_picks_are_those_of_a_loop_over_the_whole_pool(
    session: PoolSession, dense: DenseLoop
) -> None:
    for n, how, batch in (
        (12, {"strategy": "max-sigma"}, {}),
        (10, {"strategy": "top-k", "batch_size": 4}, {"size": 4}),
        (6, {"strategy": "distance"}, {"size": 6, "apart": 1.5}),
    ):
        picks = session.pick(n, **how)
        assert_same(picks, dense.pick(n, **batch))
        # Nothing is told yet: predictions are the surrogate's own, whatever is pending.
        mean = dense.mean(picks[-1].material_id, {})
        assert picks[-1].predicted == pytest.approx(mean, abs=1e-8)
    assert session.pending == tuple(dense.known)
    touched = session.touched()
    assert touched is not None
    assert touched.n_points == len(FIRST)
    assert 28 <= touched.n_touched < len(FIRST)


def test_what_is_told_changes_predictions_and_no_pick(
    session: PoolSession, dense: DenseLoop
) -> None:
    told = {i: truth(i) for i in (*session.pending[3:6], session.pending[0])}
    assert session.tell(list(told), list(told.values())) == 4
    assert session.tell(list(told), list(told.values())) == 0
    picks = session.pick(3)
    assert_same(picks, dense.pick(3))
    pick = picks[1]
    assert pick.predicted == pytest.approx(dense.mean(pick.material_id, told), abs=1e-8)
    assert abs(pick.predicted - dense.mean(pick.material_id, {})) > 1e-3
    assert session.pending == tuple(i for i in dense.known if i not in told)


def test_labels_that_find_no_memory_are_an_error_and_learned_the_next_time(
    session: PoolSession, dense: DenseLoop
) -> None:
    def memory_for_one_posterior(_worker: object) -> None:
        from gpnet_ray.gp.posterior import Posterior

        build, left = Posterior.__init__, [1]

        def init(self: Posterior, *args: Any, **options: Any) -> None:
            if not left:
                raise MemoryError("none is left")
            left.pop()
            build(self, *args, **options)

        Posterior.__init__ = init  # type: ignore[method-assign]

    new = session.pending[-12:]
    assert session.tell(new, [truth(i) for i in new]) == 12
    before = (session.pending, session.n_free)
    # Two are built: of what is told, and of all that is known in the order of the shards' columns.
    ray.get(session._scoring._gp.__ray_call__.remote(memory_for_one_posterior))
    with pytest.raises(MemoryError, match="none is left"):
        session.pick(3)
    assert (session.pending, session.n_free) == before
    said: list[str] = session._progress.said  # type: ignore[attr-defined]
    assert not any("was lost" in line for line in said)
    told = {i: truth(i) for i in dense.known if i not in session.pending}
    picks = session.pick(3)
    assert_same(picks, dense.pick(3))
    expected = [dense.mean(pick.material_id, told) for pick in picks]
    assert [pick.predicted for pick in picks] == pytest.approx(expected, abs=1e-8)


def test_a_label_that_was_never_asked_for_counts_as_one_that_was(
    session: PoolSession, dense: DenseLoop
) -> None:
    uncertain = list(dense.variances())[7]
    session.tell([uncertain], [truth(uncertain)])
    dense.known.append(uncertain)
    assert_same(session.pick(3), dense.pick(3))


def test_what_is_withdrawn_never_comes_and_a_pending_one_counts_no_longer(
    session: PoolSession, dense: DenseLoop
) -> None:
    variance = dense.variances()
    free = sorted(variance, key=lambda i: -variance[i])[:3]
    pending = session.pending[1]
    left = session.n_free
    session.withdraw([pending, *free])
    session.withdraw([pending])
    assert session.n_free == left - 3
    dense.known.remove(pending)
    dense.gone |= {pending, *free}
    assert_same(session.pick(3), dense.pick(3))


def test_a_pool_that_joins_later_is_picked_from_as_if_it_had_been_there(
    session: PoolSession, dense: DenseLoop, pools: tuple[Path, Path]
) -> None:
    assert session.add(pools[1]) == len(MORE)
    with pytest.raises(DataError, match="have the same ids: a-0000"):
        session.add(pools[0])
    grown = DenseLoop(dense.surrogate, [*FIRST, *MORE], dense.known, dense.gone)
    picks = session.pick(8)
    assert_same(picks, grown.pick(8))
    assert any(pick.material_id.startswith("b-") for pick in picks)
    assert session.n_free == len(grown.variances())


def test_a_lost_shard_begins_again_and_the_picks_stay_the_same(
    session: PoolSession, dense: DenseLoop, surrogate: Surrogate
) -> None:
    grown = DenseLoop(surrogate, [*FIRST, *MORE], dense.known, dense.gone)
    shard = session._scoring._shards[1]
    os.kill(ray.get(shard.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
    assert_same(session.pick(3), grown.pick(3))
    said: list[str] = session._progress.said  # type: ignore[attr-defined]
    assert sum("was lost" in line for line in said) == 1
    assert "2,220 candidates in 2 shards, memory of each: " in said[0]


def test_one_that_is_lost_again_and_again_ends_the_pick_and_nothing_is_pending_of_it(
    session: PoolSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending, left, scoring = session.pending, session.n_free, session._scoring
    monkeypatch.setattr(scoring, "take", lambda ids: ray.kill(scoring._gp) or lost(scoring))
    none_left = load_config(overrides={"resources.actor_restarts": 0})
    monkeypatch.setattr(scoring, "_config", none_left)
    with pytest.raises(ClusterError, match="Nothing was picked; try again"):
        session.pick(2)
    assert (session.pending, session.n_free) == (pending, left)


def lost(scoring: Any) -> Any:
    return ray.get(scoring._gp.ping.remote())


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"a-0001": float("nan")}, "a-0001.*not finite; withdraw"),
        ({"a-0001": 1.0, "nowhere": 1.0}, "1 ids are in none of the pools: nowhere"),
        ({LABELLED[5]: 17.0}, "has the label .* eV/atom already and now 17"),
    ],
)
def test_labels_that_cannot_be_right_are_refused_and_none_is_taken(
    surrogate: Surrogate, pools: tuple[Path, Path], told: dict[str, float], said: str
) -> None:
    known = dict(zip(surrogate.ids, surrogate.labels.tolist(), strict=True))
    same = {LABELLED[5]: known[LABELLED[5]], LABELLED[250]: known[LABELLED[250]]}
    session = PoolSession(surrogate, pools[:1], CONFIG, labels=same, pending=["a-0007"])
    # 20 candidates have a label of the surrogate's, and it knows others that are in no pool.
    assert (session.n_free, session.pending) == (2199, ("a-0007",))
    with pytest.raises(InputError, match=said):
        session.tell(list(told), list(told.values()))
    with pytest.raises(InputError, match="label"):
        session.tell(["a-0001", "a-0001"], [1.0, 2.0])
    assert session.tell(["a-0001"], [2.0]) == 1


def test_a_single_text_where_several_are_wanted_is_not_read_letter_by_letter(
    surrogate: Surrogate, pools: tuple[Path, Path]
) -> None:
    session = PoolSession(surrogate, pools[:1], CONFIG)
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: session.withdraw("a-0001"), r"not the text 'a-0001'; give a list: \['a-0001'\]"),
        (lambda: session.tell("a-0001", [1.0]), r"give a list: \['a-0001'\]"),  # type: ignore[arg-type]
        (
            lambda: session.tell(["a-0001"], 1.0),
            r"not 1\.0; give a list of ids and a list of labels",
        ),  # type: ignore[arg-type]
        (lambda: session.tell(["a-0001"], ["1.0"]), r"a label is a number .*, not '1\.0'"),  # type: ignore[list-item]
        (lambda: session.withdraw([1]), r"an id is a text, not 1 \(int\)"),  # type: ignore[list-item]
        (lambda: PoolSession(surrogate, pools[:1], pending="a-0001"), r"give a list: \['a-0001'\]"),
        (lambda: PoolSession(surrogate, pools[0]), "several pools are wanted, not .*give a list"),  # type: ignore[arg-type]
    ]
    for act, said in wrong:
        with pytest.raises(InputError, match=said):
            act()
    assert session.n_free == len(FIRST) - 20


def test_a_label_as_of_another_unit_is_taken_only_where_it_is_said_to_be_right(
    surrogate: Surrogate, pools: tuple[Path, Path]
) -> None:
    session = PoolSession(surrogate, pools[:1], CONFIG)
    with pytest.raises(
        InputError, match=r"'a-0002': -2000\.0 eV/atom is not plausible.*accept_imp"
    ):
        session.tell(["a-0001", "a-0002"], [1.0, -2000])
    assert session.n_free == len(FIRST) - 20
    assert session.tell(["a-0002"], [-2000], accept_implausible=True) == 1


def test_picks_that_cannot_be_made_are_refused_before_anything_is_started(
    surrogate: Surrogate, pools: tuple[Path, Path]
) -> None:
    session = PoolSession(surrogate, pools, CONFIG, withdrawn=["a-0003", "b-0004"])
    with pytest.raises(InputError, match="2999 picks asked for, and 2998 candidates are left"):
        session.pick(2999)
    with pytest.raises(InputError, match="0 picks asked for; ask for at least 1"):
        session.pick(0)
    with pytest.raises(InputError, match="'random' does not pick from a pool: it looks at no"):
        session.pick(1, strategy="random")
    with pytest.raises(InputError, match="did you mean 'distance'"):
        session.pick(1, strategy="distanse")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a batch of 0 picks"):
        session.pick(1, strategy="top-k", batch_size=0)
    with pytest.raises(InputError, match="none of the pools: elsewhere"):
        session.withdraw(["a-0005", "elsewhere"])
    with pytest.raises(InputError, match="no candidate to pick from"):
        PoolSession(surrogate, [], CONFIG)


def test_of_a_damaged_pool_nothing_is_taken_in_and_its_good_copy_can_join(
    surrogate: Surrogate, pools: tuple[Path, Path], tmp_path: Path
) -> None:
    session = PoolSession(surrogate, pools[1:], CONFIG)
    damaged = Path(shutil.copytree(pools[0], tmp_path / "a"))
    last = sorted(damaged.glob("*.arrow"))[-1]
    last.write_bytes(last.read_bytes()[:-8] + bytes(8))
    with pytest.raises(DataError, match="is damaged"):
        session.add(damaged)
    assert session.n_free == len(MORE)
    # 20 of them have a label of the surrogate's.
    assert session.add(pools[0]) == len(FIRST)
    assert session.n_free == len(MORE) + len(FIRST) - 20


def test_ids_of_all_pools_are_compared_once_however_many_there_are(
    surrogate: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [write_pool(tmp_path / name, [name], surrogate) for name in "abcd"]
    compared: list[int] = []

    def counted(columns: Callable[[], Iterable[pa.Array]]) -> list[str]:
        compared.append(len(list(columns())))
        return repeated_ids(columns)

    monkeypatch.setattr(candidate_pools, "repeated_ids", counted)
    session = PoolSession(surrogate, folders[:3], CONFIG)
    assert compared == [3]
    session.add(folders[3])
    assert compared == [3, 4]
    again = write_pool(tmp_path / "again", ["c"], surrogate)
    with pytest.raises(DataError, match=f"{folders[2]} and {again} have the same ids: c"):
        PoolSession(surrogate, [*folders, again])


def test_a_pool_of_other_latents_is_refused_and_a_drawn_one_is_not(
    surrogate: Surrogate, tmp_path: Path
) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "of network 123456789abc and": {"network_fingerprint": "123456789abcdef"},
        "of layer readout_1 and": {"layer": "readout_1"},
    }
    for said, about in wrong.items():
        pool = write_pool(tmp_path / "-".join(about), ["a"], surrogate, **about)
        with pytest.raises(InputError, match=said):
            PoolSession(surrogate, [pool])
    drawn = {"kind": "drawn", "network_fingerprint": None, "layer": "unknown"}
    pool, progress = write_pool(tmp_path / "drawn", ["a"], surrogate, **drawn), Lines()
    assert PoolSession(surrogate, [pool], progress=progress).n_free == 1
    assert "drawn at random, of no crystal" in progress.said[0]
