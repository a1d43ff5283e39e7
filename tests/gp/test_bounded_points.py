"""Picks from files of a pool in little memory: those of a loop over all candidates, for any number of shards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.pool_files import (
    ENOUGH,
    HYPERPARAMETERS,
    N_FILES,
    N_LABELLED,
    ROWS,
    WIDTH,
    Pool,
    small_pool,
    write_file,
)

from gpnet_ray.data.pool_folder import MappedLatents
from gpnet_ray.errors import DataError, InputError
from gpnet_ray.gp.bounded_points import BoundedPoints
from gpnet_ray.gp.first_bounds import FirstBounds
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.memory_need import FEWEST_ACTIVE, MOST_ACTIVE, memory_need
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.gp.selection import plan_cycles


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return small_pool(tmp_path_factory.mktemp("pool"))


def pick(
    pool: Pool,
    shards: Sequence[BoundedPoints],
    n: int,
    *,
    limit: int = 64,
    posterior: Posterior | None = None,
    after_round: Callable[[], None] = lambda: None,
) -> tuple[list[str], list[float]]:
    posterior = posterior or pool.posterior()
    ids: list[str] = []
    sigmas: list[float] = []
    while len(ids) < n:
        proposals = [shard.propose(limit) for shard in shards]
        plan = plan_cycles(posterior, proposals, strategy="max-sigma", cycles=n - len(ids))
        assert plan, "the largest variance is always certain"
        X = {i: x for p in proposals for i, x in zip(p.ids, p.X, strict=True)}
        new = [i for cycle in plan for i in cycle.ids]
        block = posterior.commit(new, np.stack([X[i] for i in new]), np.zeros(len(new)))
        for shard in shards:
            shard.absorb(block)
        ids += new
        sigmas += [s for cycle in plan for s in cycle.sigmas]
        after_round()
    return ids, sigmas


@pytest.fixture(scope="module")
def expected(pool: Pool) -> tuple[list[str], list[float]]:
    return pool.loop(150)


def least_budget(count: int, *, reserve: int = 400) -> int:
    """So little memory that candidates have to be let go all the time."""
    enough = memory_need(ROWS * -(-N_FILES // count), reserve, budget=ENOUGH)
    each = enough.active // enough.most_active
    return enough.total - enough.active + FEWEST_ACTIVE * each


@pytest.mark.parametrize(("count", "limit"), [(1, 64), (2, 16), (4, 300)])
def test_picks_are_those_of_a_loop_over_all_candidates(pool, expected, count, limit):
    shards = pool.shards(count, memory_budget=least_budget(count))
    assert all(shard.need.most_active == FEWEST_ACTIVE for shard in shards)
    ids, sigmas = pick(pool, shards, 150, limit=limit)
    assert ids == expected[0]
    # Variances of order 1, whose rounding grows a little with 190 rows.
    np.testing.assert_allclose(sigmas, expected[1], rtol=0, atol=1e-9)


def test_what_was_let_go_comes_back_when_it_is_the_best(pool):
    # Everything is computed in full for the first proposal, and most of it let go again.
    shards = pool.shards(1, reserve=500, memory_budget=least_budget(1, reserve=500))
    ids, _ = pick(pool, shards, 400, limit=FEWEST_ACTIVE)
    assert ids == pool.loop(400)[0]
    touched = shards[0].touched()
    assert touched.n_computed > touched.n_touched > shards[0].need.most_active


def test_few_candidates_are_computed_in_full(pool, expected):
    shards = pool.shards(2)
    assert pick(pool, shards, 150)[0] == expected[0]
    touched = shards[0].touched() + shards[1].touched()
    assert touched.n_points == N_FILES * ROWS
    # 2,048 are computed at once for the first proposals; the rest of 6,000 for the most part never.
    assert touched.n_touched < 0.6 * touched.n_points


def test_bounds_of_the_rest_bound_the_rest(pool):
    (shard,) = pool.shards(1)
    posterior = pool.posterior()
    proposal = shard.propose(50)
    rest = [i for i in pool.ids if i not in {*proposal.ids, *pool.labelled}]
    latents = pool.latents[[pool.ids.index(i) for i in rest]]
    _, sigma = posterior.predict(pool.scaler.transform(latents))
    largest = (sigma**2 - HYPERPARAMETERS.noise_std**2).max()
    # Rounded up to float32.
    assert largest <= proposal.bound_of_rest + 1e-12
    assert proposal.bound_of_rest - largest < 1e-6


def test_labelled_and_withdrawn_ids_never_come(pool, expected):
    unwanted = expected[0][1:40:3]
    shards = pool.shards(2)
    shards[0].propose(64)  # Some of them are kept exact already, others are not.
    for shard in shards:
        shard.withdraw(unwanted)
    ids, _ = pick(pool, shards, 100)
    assert ids == pool.loop(100, without=unwanted)[0]
    # All that is left is offered when all is asked for, and nothing else.
    offered = [i for shard in shards for i in shard.propose(2 * ROWS).ids]
    assert sorted(offered) == sorted({*pool.ids} - {*unwanted, *pool.labelled, *ids})


def test_a_label_of_a_candidate_that_nobody_offered_counts(pool, expected):
    unasked = [i for i in pool.ids[10:30] if i not in expected[0]][:5]
    shards, posterior = pool.shards(2), pool.posterior()
    shards[0].propose(64)
    X = pool.scaler.transform(pool.latents[[pool.ids.index(i) for i in unasked]])
    block = posterior.commit(unasked, X, np.zeros(5))
    for shard in shards:
        shard.absorb(block)
    ids, _ = pick(pool, shards, 100, posterior=posterior)
    assert ids == pool.loop(100, also=unasked, without=unasked)[0]


def test_a_pool_that_grows_picks_as_one_that_had_everything(pool, expected):
    (shard,) = pool.shards(1, memory_budget=least_budget(1))
    late = BoundedPoints(
        pool.posterior().snapshot(),
        pool.labelled,
        pool.files[:2],
        scaler=pool.scaler,
        reserve=400,
        memory_budget=least_budget(1),
    )
    assert sum(late.first_bounds()) == 2 * ROWS
    late.propose(500)
    late.add(pool.files[2:])
    with pytest.raises(InputError, match=r"has no bounds yet; run first_bounds"):
        late.propose(1)
    assert sum(late.first_bounds()) == 2 * ROWS
    assert pick(pool, [late], 150)[0] == pick(pool, [shard], 150)[0] == expected[0]


def test_an_interrupted_computation_of_bounds_goes_on(pool, expected, tmp_path):
    interrupted = BoundedPoints(
        pool.posterior().snapshot(),
        pool.labelled,
        pool.files,
        scaler=pool.scaler,
        reserve=400,
        memory_budget=ENOUGH,
        bounds_dir=tmp_path,
    )
    some = interrupted.first_bounds()
    for _ in range(3):  # a file is one step here: two are on disk when the third has begun
        next(some)
    some.close()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) == 2
    shards = pool.shards(1, bounds_dir=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(tmp_path.iterdir())) == N_FILES
    assert pick(pool, shards, 150)[0] == expected[0]


def test_bounds_are_believed_only_of_files_that_are_what_the_manifest_says(
    pool, expected, tmp_path, monkeypatch
):
    def bounded(folder: Path, bounds_dir: Path | None) -> list[BoundedPoints]:
        files = [replace(file, path=folder / file.path.name) for file in pool.files]
        return replace(pool, files=files).shards(1, bounds_dir=bounds_dir)

    read: list[str] = []
    check = MappedLatents.check_content
    monkeypatch.setattr(
        MappedLatents,
        "check_content",
        lambda latents: read.append(latents._file.path.name) or check(latents),
    )
    kept, names = tmp_path / "bounds", [file.path.name for file in pool.files]
    here = Path(shutil.copytree(pool.files[0].path.parent, tmp_path / "here"))
    bounded(here, kept)
    assert read == names
    # As they were: no file is read whole to know it.
    assert pick(pool, bounded(here, kept), 150)[0] == expected[0]
    assert read == names
    # Moved to another disk, once: nothing is bounded again.
    there = Path(shutil.copytree(here, tmp_path / "there"))
    monkeypatch.setattr(FirstBounds, "of", None)
    for _ in range(2):
        bounded(there, kept)
    assert read == 2 * names
    monkeypatch.undo()
    # Two files, each in the other's place.
    first, second = there / names[0], there / names[1]
    first.rename(there / "x")
    second.rename(first)
    (there / "x").rename(second)
    for bounds_dir in (kept, tmp_path / "other", None):
        with pytest.raises(DataError, match=r"0\.arrow is not what was written .*pool check"):
            bounded(there, bounds_dir)
    # A bad restore keeps name, size and time.
    damaged = bytearray((here / names[0]).read_bytes())
    damaged[damaged.index(pool.latents[7].tobytes())] ^= 1
    times = (here / names[0]).stat()
    (here / names[0]).write_bytes(damaged)
    os.utime(here / names[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DataError, match=r"0\.arrow is not what was written"):
        bounded(here, kept)


def test_a_budget_that_is_too_small_is_refused_at_once(pool):
    with pytest.raises(InputError, match=r"needs \d+ MiB for up to 400 labels and may use 10 MiB"):
        pool.shards(1, memory_budget=10 << 20)


def test_no_more_are_offered_than_can_be_kept_exact_and_the_offer_says_so(pool):
    (shard,) = pool.shards(1, memory_budget=least_budget(1))
    for limit, offered in ((5000, FEWEST_ACTIVE), (FEWEST_ACTIVE, FEWEST_ACTIVE), (10, 10)):
        proposal = shard.propose(limit)
        assert (len(proposal), proposal.is_cut_short) == (offered, limit > FEWEST_ACTIVE)


@pytest.mark.parametrize("unit", [1e20, 1e-22])
def test_bounds_are_as_good_whatever_the_unit_of_the_target(pool, expected, unit):
    # Variances of 1e40, or 1e-44, are beyond what float32 holds.
    h = replace(HYPERPARAMETERS, amplitude=1.3 * unit, noise_std=0.05 * unit)
    shards = replace(pool, hyperparameters=h).shards(1, memory_budget=least_budget(1))
    posterior = replace(pool, hyperparameters=h).posterior()
    ids, sigmas = pick(pool, shards, 150, posterior=posterior)
    assert ids == expected[0]
    np.testing.assert_allclose(np.divide(sigmas, unit), expected[1], rtol=0, atol=1e-9)
    same = pool.shards(1, memory_budget=least_budget(1))
    pick(pool, same, 150)
    assert shards[0].touched() == same[0].touched()


def test_memory_is_named_where_no_shard_can_offer_more_and_not_before(pool):
    # A batch of 1,500 is certain with 1,024 of one shard and more of the other.
    posterior = pool.posterior()
    small = BoundedPoints(
        posterior.snapshot(),
        pool.labelled,
        pool.files[:2],
        scaler=pool.scaler,
        reserve=400,
        memory_budget=least_budget(2),
    )
    assert sum(small.first_bounds()) == 2 * ROWS
    (large,) = replace(pool, files=pool.files[2:]).shards(1)

    def batch(size: int, *limits: int) -> list[str]:
        offers = [shard.propose(limit) for shard, limit in zip((small, large), limits, strict=True)]
        plan = plan_cycles(posterior, offers, strategy="top-k", cycles=1, batch_size=size)
        return [i for cycle in plan for i in cycle.ids]

    assert batch(1500, 4096, 100) == []
    _, sigma = posterior.predict(pool.scaler.transform(pool.latents))
    free = np.array([i not in pool.labelled for i in pool.ids])
    order = np.argsort(-np.where(free, sigma, 0.0))[:1500]
    assert batch(1500, 4096, 1024) == [pool.ids[row] for row in order]
    # All of one and 1,024 of the other are too few, and nobody can do better.
    with pytest.raises(InputError, match=r"the 1024 candidates .* raise resources.shard_memory"):
        batch(4000, 4096, 4096)


def test_candidates_that_are_equally_uncertain_are_picked_by_id_however_many_they_are(tmp_path):
    # More of them than a shard keeps exact of itself: all have the prior's variance.
    n, h = MOST_ACTIVE + 500, Hyperparameters("rbf", 1.0, 1e-3, 0.1, 0.0)
    places = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    file = write_file(tmp_path / "equal.arrow", [f"e-{row:05d}" for row in range(n)], places)
    posterior = Posterior(h, ["known"], np.full((1, 2), -9.0), np.zeros(1))
    scaler = LatentScaler("none", "none", (0.0, 0.0), (1.0, 1.0), None)
    how = {"scaler": scaler, "reserve": 20, "memory_budget": ENOUGH}
    shard = BoundedPoints(posterior.snapshot(), ["known"], [file], **how)
    assert sum(shard.first_bounds()) == n
    for limit in (1024, 4 * 1024, 16 * 1024):
        plan = plan_cycles(posterior, [shard.propose(limit)], strategy="max-sigma", cycles=3)
        if plan:
            break
    assert [cycle.ids for cycle in plan] == [("e-00000",), ("e-00001",), ("e-00002",)]


def test_room_for_more_labels_is_made_without_losing_a_bound(pool, expected):
    (shard,) = pool.shards(1, reserve=N_LABELLED + 50)
    posterior = pool.posterior()
    first, _ = pick(pool, [shard], 50, posterior=posterior)
    before = shard.touched()
    shard.reserve_more(N_LABELLED + 150)
    second, _ = pick(pool, [shard], 100, posterior=posterior)
    assert first + second == expected[0]
    assert shard.touched().n_touched >= before.n_touched


def test_blocks_come_in_order_and_no_more_than_there_is_room_for(pool):
    (shard,) = pool.shards(1)
    (full,) = pool.shards(1, reserve=N_LABELLED)
    posterior = pool.posterior()
    first = posterior.commit(["a"], np.zeros((1, WIDTH)), np.zeros(1))
    with pytest.raises(InputError, match="41 labels came to a shard that has room for 40"):
        full.absorb(first)
    second = posterior.commit(["b"], np.ones((1, WIDTH)), np.zeros(1))
    with pytest.raises(
        InputError, match="a block for 41 labelled points came to a shard that knows 40"
    ):
        shard.absorb(second)
