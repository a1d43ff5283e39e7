"""Picks against loops over the whole pool, for any number of shards and of candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from gpnet_ray.errors import InputError
from gpnet_ray.gp.candidates import CandidateSet
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.messages import Proposal
from gpnet_ray.gp.posterior import Posterior
from gpnet_ray.gp.scored_points import ScoredPoints
from gpnet_ray.gp.selection import plan_cycles

# Standard deviations between about 0.1 and 1: differences of variances of that size, rounded.
TOLERANCE = 1e-10


def flat(plan) -> tuple[list[str], list[float]]:
    return [i for cycle in plan for i in cycle.ids], [s for cycle in plan for s in cycle.sigmas]


@pytest.fixture(scope="module")
def picks_of_the_rebuilt_loop() -> dict[str, object]:
    return {}


@pytest.mark.parametrize("kernel", ["laplacian", "matern52", "rbf"])
@pytest.mark.parametrize(("shards", "limit"), [(1, 80), (1, 7), (2, 3), (3, 12), (7, 1), (7, 80)])
def test_max_sigma_picks_what_the_loop_that_rebuilds_the_gp_picks(
    problem_like, rebuilt_loop, sharded_loop, picks_of_the_rebuilt_loop, kernel, shards, limit
):
    problem = problem_like(kernel=kernel, length_scale=0.6)
    if kernel not in picks_of_the_rebuilt_loop:
        picks_of_the_rebuilt_loop[kernel] = rebuilt_loop(problem, 40)[:2]
    ids, sigmas = flat(sharded_loop(problem, 40, shards=shards, limit=limit, strategy="max-sigma"))
    expected_ids, expected_sigmas = picks_of_the_rebuilt_loop[kernel]
    assert ids == expected_ids
    np.testing.assert_allclose(sigmas, expected_sigmas, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("strategy", ["max-sigma", "distance"])
def test_recalibration_changes_no_pick(problem, sharded_loop, strategy):
    honest = replace(problem, hyperparameters=problem.hyperparameters.with_sigma_times(1.7))
    how = {"shards": 2, "limit": 9, "strategy": strategy, "batch_size": 3, "distance_cutoff": 0.05}
    (ids, sigmas), (same, wider) = (flat(sharded_loop(p, 10, **how)) for p in (problem, honest))
    assert same == ids
    np.testing.assert_allclose(wider, 1.7 * np.array(sigmas), rtol=0, atol=TOLERANCE)


def test_a_batch_of_max_sigma_is_the_same_sequence_cut_into_batches(problem, sharded_loop):
    one = sharded_loop(problem, 24, shards=2, limit=9, strategy="max-sigma")
    batches = sharded_loop(problem, 6, shards=2, limit=9, strategy="max-sigma", batch_size=4)
    assert [len(cycle.ids) for cycle in batches] == [4] * 6
    assert flat(batches)[0] == flat(one)[0]
    np.testing.assert_allclose(flat(batches)[1], flat(one)[1], rtol=0, atol=TOLERANCE)


def brute_force(problem, cycles, choose):
    """Cycles on the whole pool with a posterior built anew: ``choose(ids, X, sigma)`` gives rows."""
    posterior, left = problem.posterior(), np.arange(len(problem.pool_ids))
    picked, sigmas = [], []
    for _ in range(cycles):
        _, sigma = posterior.predict(problem.pool_X[left])
        chosen = left[choose([problem.pool_ids[i] for i in left], problem.pool_X[left], sigma)]
        at = dict(zip(left.tolist(), sigma.tolist(), strict=True))
        picked += [problem.pool_ids[i] for i in chosen]
        sigmas += [at[i] for i in chosen.tolist()]
        ids = [*posterior.ids, *(problem.pool_ids[i] for i in chosen)]
        X = np.vstack([posterior.snapshot().X, problem.pool_X[chosen]])
        # σ never reads a label: any will do.
        posterior = Posterior(problem.hyperparameters, ids, X, np.zeros(len(ids)))
        left = np.setdiff1d(left, chosen)
    return picked, sigmas


@pytest.mark.parametrize(("shards", "limit"), [(1, 80), (2, 6), (3, 2), (7, 3)])
def test_top_k_takes_the_largest_sigmas_at_the_start_of_each_cycle(
    problem, sharded_loop, shards, limit
):
    plan = sharded_loop(problem, 6, shards=shards, limit=limit, strategy="top-k", batch_size=5)
    expected = brute_force(problem, 6, lambda ids, X, sigma: np.argsort(-sigma)[:5])
    assert flat(plan)[0] == expected[0]
    np.testing.assert_allclose(flat(plan)[1], expected[1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("shards", "limit"), [(1, 80), (2, 6), (3, 2), (7, 3)])
def test_distance_walks_down_sigma_and_keeps_every_pair_of_a_batch_apart(
    problem, sharded_loop, shards, limit
):
    cutoff = 0.45

    def spread_out(ids, X, sigma):
        taken = []
        for row in np.argsort(-sigma):
            if all(np.linalg.norm(X[row] - X[other]) >= cutoff for other in taken):
                taken.append(row)
            if len(taken) == 5:
                return np.array(taken)
        raise AssertionError("the cut-off has to leave room for a batch")

    plan = sharded_loop(
        problem,
        6,
        shards=shards,
        limit=limit,
        strategy="distance",
        batch_size=5,
        distance_cutoff=cutoff,
    )
    expected = brute_force(problem, 6, spread_out)
    assert flat(plan)[0] == expected[0]
    np.testing.assert_allclose(flat(plan)[1], expected[1], rtol=0, atol=TOLERANCE)
    assert {cycle.radius for cycle in plan} == {cutoff}
    top = sharded_loop(problem, 6, shards=1, limit=80, strategy="top-k", batch_size=5)
    assert flat(top)[0] != flat(plan)[0], "the cut-off has to matter in this test"


@pytest.mark.parametrize(("shards", "limit"), [(1, 80), (3, 2)])
def test_distance_shrinks_the_radius_only_as_far_as_the_whole_pool_needs(
    problem, sharded_loop, shards, limit
):
    how = {"strategy": "distance", "batch_size": 20, "distance_cutoff": 0.9}
    (cycle,) = sharded_loop(problem, 1, shards=shards, limit=limit, **how)
    rows = [problem.pool_row(i) for i in cycle.ids]
    assert len(set(rows)) == 20
    assert 0.45 < cycle.radius < cycle.asked_radius == 0.9
    assert pdist(problem.pool_X[rows]).min() >= cycle.radius
    # A walk with a radius larger by more than the bisection's last step (0.9 / 2²⁰) finds fewer.
    _, sigma = problem.posterior().predict(problem.pool_X)
    taken = []
    for row in np.argsort(-sigma):
        X = problem.pool_X
        if all(np.linalg.norm(X[row] - X[other]) >= cycle.radius + 1e-6 for other in taken):
            taken.append(row)
    assert len(taken) < 20


def test_distance_asks_for_more_candidates_before_it_shrinks_the_radius(problem, sharded_loop):
    # The ten points of largest σ lie close together, far away from everything else.
    X = problem.pool_X.copy()
    X[:10] = 5.0 + 0.01 * X[:10]
    problem = replace(problem, pool_X=X)
    how = {"strategy": "distance", "batch_size": 2, "distance_cutoff": 0.5}
    (cycle,) = sharded_loop(problem, 1, shards=1, limit=10, **how)
    assert [problem.pool_row(i) < 10 for i in cycle.ids] == [True, False]
    assert cycle.radius == cycle.asked_radius == 0.5


def test_points_in_one_place_can_fill_a_batch_only_with_radius_zero(problem):
    posterior = problem.posterior()
    proposal = Proposal(ids=("b", "c", "a"), X=np.full((3, 4), 0.5), bound_of_rest=-np.inf)
    how = {"strategy": "distance", "cycles": 1, "batch_size": 3, "distance_cutoff": 0.1}
    (cycle,) = plan_cycles(posterior, [proposal], **how)
    assert cycle.ids == ("a", "b", "c")
    assert cycle.radius == 0.0


def test_random_takes_the_given_order_and_reports_sigma_given_all_picks_before(problem):
    posterior = problem.posterior()
    order = [problem.pool_ids[i] for i in np.random.default_rng(5).permutation(80)[:70]]
    proposals = [shard.propose_ids(order) for shard in problem.shards(3, posterior)]
    plan = plan_cycles(
        posterior, proposals, strategy="random", cycles=35, batch_size=2, order=order
    )
    assert flat(plan)[0] == order
    for start in (0, 1, 33, 69):
        rows = [problem.pool_row(i) for i in order[: start + 1]]
        posterior = problem.posterior()
        posterior.commit(order[:start], problem.pool_X[rows[:-1]], np.zeros(start))
        _, sigma = posterior.predict(problem.pool_X[rows[-1:]])
        assert flat(plan)[1][start] == pytest.approx(sigma[0], abs=TOLERANCE)


@pytest.mark.parametrize("strategy", ["top-k", "distance"])
def test_a_batch_in_a_given_order_reports_sigma_at_the_start_of_its_cycle(problem, strategy):
    order = [problem.pool_ids[i] for i in np.random.default_rng(6).permutation(80)[:12]]
    posterior = problem.posterior()
    proposals = [shard.propose_ids(order) for shard in problem.shards(2, posterior)]
    plan = plan_cycles(posterior, proposals, strategy=strategy, cycles=4, batch_size=3, order=order)
    assert flat(plan)[0] == order
    for start in (0, 3, 9):
        rows = [problem.pool_row(i) for i in order[: start + 3]]
        posterior = problem.posterior()
        posterior.commit(order[:start], problem.pool_X[rows[:-3]], np.zeros(start))
        _, sigma = posterior.predict(problem.pool_X[rows[-3:]])
        assert flat(plan)[1][start : start + 3] == pytest.approx(sigma, abs=TOLERANCE)


def test_random_without_an_order_takes_the_proposals_as_they_come(problem):
    posterior = problem.posterior()
    proposals = [
        shard.propose_ids(problem.pool_ids[::-1]) for shard in problem.shards(2, posterior)
    ]
    plan = plan_cycles(posterior, proposals, strategy="random", cycles=90)
    assert flat(plan)[0] == [i for proposal in proposals for i in proposal.ids]


def test_a_plan_does_not_change_the_posterior_and_needs_no_columns(problem):
    posterior = problem.posterior()
    before = posterior.snapshot()
    shards = problem.shards(2, posterior)
    plans = [
        plan_cycles(
            posterior,
            [shard.propose(20, with_columns=with_columns) for shard in shards],
            strategy="max-sigma",
            cycles=15,
        )
        for with_columns in (True, False)
    ]
    assert flat(plans[0])[0] == flat(plans[1])[0]
    assert posterior.snapshot().L.tolist() == before.L.tolist()
    assert len(posterior) == len(before.z)


def test_proposals_of_a_shard_that_lags_behind_are_still_exact(problem):
    posterior = problem.posterior()
    late, up_to_date = problem.shards(2, posterior)
    picks = list(up_to_date.propose(4).ids)
    rows = [problem.pool_row(i) for i in picks]
    up_to_date.absorb(posterior.commit(picks, problem.pool_X[rows], problem.pool_y[rows]))
    proposals = [late.propose(40), up_to_date.propose(40)]
    (cycle,) = plan_cycles(posterior, proposals, strategy="max-sigma", cycles=1)
    left = [i for i in range(80) if problem.pool_ids[i] not in picks]
    _, sigma = posterior.predict(problem.pool_X[left])
    assert cycle.ids == (problem.pool_ids[left[int(np.argmax(sigma))]],)


def test_no_cycle_is_returned_that_a_point_left_out_could_change(problem):
    posterior = problem.posterior()
    shard = problem.shards(1, posterior)[0]
    proposal = shard.propose(10)
    plan = plan_cycles(posterior, [proposal], strategy="max-sigma", cycles=80)
    assert 0 < len(plan) < 10
    # The first that cannot be sure: its variance is no larger than that of a point left out.
    _, sigma = posterior.predict(problem.pool_X)
    assert min(flat(plan)[1]) ** 2 > proposal.bound_of_rest
    equal = replace(proposal, bound_of_rest=float(sigma.max() ** 2 - 0.05**2))
    assert plan_cycles(posterior, [equal], strategy="max-sigma", cycles=1) == ()
    assert plan_cycles(posterior, [equal], strategy="top-k", cycles=1, batch_size=2) == ()
    how = {"cycles": 1, "batch_size": 2, "distance_cutoff": 0.1}
    assert plan_cycles(posterior, [equal], strategy="distance", **how) == ()
    many = {"cycles": 1, "batch_size": 11}
    assert plan_cycles(posterior, [proposal], strategy="max-sigma", **many) == ()


@pytest.mark.parametrize("strategy", ["max-sigma", "top-k"])
@pytest.mark.parametrize(("shards", "limit"), [(1, 80), (2, 1), (3, 5)])
def test_repeated_points_tie_and_the_smallest_id_comes_first(
    problem_like, sharded_loop, strategy, shards, limit
):
    problem = problem_like(n_pool=24)
    # Each place three times, and four of the places hold labelled points too.
    X = np.tile(problem.pool_X[:8], (3, 1))
    X[:4] = problem.train_X[:4]
    problem = replace(problem, pool_X=X)
    plan = sharded_loop(problem, 24, shards=shards, limit=limit, strategy=strategy)
    ids, sigmas = flat(plan)
    assert sorted(ids) == sorted(problem.pool_ids)
    assert np.isfinite(sigmas).all()
    places = {tuple(x) for x in X}
    for place in places:
        here = [i for i in ids if tuple(X[problem.pool_row(i)]) == place]
        assert here == sorted(here)


def test_a_variance_that_is_larger_by_more_than_rounding_is_picked_whatever_the_id():
    h = Hyperparameters("laplacian", 1.0, 1.0, 0.01, 0.0)
    posterior = Posterior(h, ["known"], np.zeros((1, 1)), np.zeros(1))
    # The prior's variance of 1 less exp(−2 r) / (1 + noise²): 2.7e-12 for each 1e-11 of a distance r near 1.
    for difference, first in ((1e-11, "b"), (1e-12, "a")):
        X = np.array([[1.0], [1.0 + difference]])
        proposal = Proposal(("a", "b"), X, bound_of_rest=-np.inf)
        (cycle,) = plan_cycles(posterior, [proposal], strategy="max-sigma", cycles=1)
        assert cycle.ids == (first,)
        (cycle,) = plan_cycles(posterior, [proposal], strategy="top-k", cycles=1, batch_size=2)
        assert cycle.ids[0] == first


def test_a_pool_of_one_place_without_noise_is_emptied_in_the_order_of_ids(
    problem_like, sharded_loop
):
    problem = problem_like(n_pool=12, noise_std=0.0)
    problem = replace(problem, pool_X=np.full((12, 4), 0.5))
    ids, sigmas = flat(sharded_loop(problem, 12, shards=2, limit=1, strategy="max-sigma"))
    assert ids == sorted(problem.pool_ids)
    # Once one is known all are; 1e-13 of the variance is taken for rounding.
    assert max(sigmas[1:]) < 1e-5


def test_copies_of_labelled_points_in_the_pool_are_picked_last_and_are_finite(problem_like):
    problem = problem_like(noise_std=0.0)
    copies = [f"copy-of-{i}" for i in problem.train_ids[:5]]
    posterior = problem.posterior()
    shard = ScoredPoints(
        posterior.snapshot(),
        [*copies, *problem.pool_ids],
        np.concatenate([problem.train_X[:5], problem.pool_X]),
    )
    _, _, sigma = shard.predictions()
    assert np.isfinite(sigma).all()
    proposals = [shard.propose(len(shard))]
    ids, sigmas = flat(
        plan_cycles(posterior, proposals, strategy="max-sigma", cycles=len(shard), batch_size=1)
    )
    assert set(ids[-5:]) == set(copies)
    assert np.isfinite(sigmas).all()


def test_rows_are_computed_in_panels_and_the_room_for_them_grows(problem_like):
    problem = problem_like(n_pool=300, length_scale=0.4)
    posterior = problem.posterior()
    everything = Proposal(tuple(problem.pool_ids), problem.pool_X, -np.inf)
    candidates = CandidateSet(posterior, [everything])
    for position in range(0, 300, 2):
        candidates.take(position)
    posterior.commit(problem.pool_ids[::2], problem.pool_X[::2], np.zeros(150))
    _, sigma = posterior.predict(problem.pool_X[1::2])
    ours = [candidates.sigma(position) for position in range(1, 300, 2)]
    np.testing.assert_allclose(ours, sigma, rtol=0, atol=TOLERANCE)


def test_bad_requests_are_refused_with_what_to_do(problem):
    posterior = problem.posterior()
    shard = problem.shards(1, posterior)[0]
    proposal, none = shard.propose(80), Proposal((), np.empty((0, 4)), -np.inf)

    def plan(proposals, **how):
        return plan_cycles(posterior, proposals, **{"strategy": "max-sigma", "cycles": 1, **how})

    with pytest.raises(InputError, match="did you mean 'max-sigma'"):
        plan([proposal], strategy="maxsigma")
    with pytest.raises(InputError, match="0 cycles of 1 picks"):
        plan([proposal], cycles=0)
    with pytest.raises(InputError, match="the pool is empty, a batch needs 1"):
        plan([none, none])
    with pytest.raises(InputError, match="the pool is empty"):
        plan([])
    with pytest.raises(InputError, match="only 80 points are left in the pool, a batch needs 81"):
        plan([proposal, none], batch_size=81)
    with pytest.raises(InputError, match="only 3 points are left"):
        plan([proposal], strategy="random", batch_size=4, order=problem.pool_ids[:3])
    with pytest.raises(InputError, match="1 ids to take are not among the candidates"):
        plan([proposal], strategy="random", order=["mp-unknown"])
    with pytest.raises(InputError, match="positive distance_cutoff"):
        plan([proposal], strategy="distance")
    with pytest.raises(InputError, match="proposed twice"):
        plan([proposal, proposal])
    with pytest.raises(InputError, match="have a label already"):
        plan([Proposal((problem.train_ids[0],), problem.train_X[:1], -np.inf)])
    with pytest.raises(InputError, match="2 candidates with latents of shape"):
        Proposal(("a", "b"), np.ones((3, 4)), 0.0)
    with pytest.raises(InputError, match="at least 1"):
        shard.propose(0)
