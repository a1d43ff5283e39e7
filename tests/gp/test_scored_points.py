"""Points kept up to date block by block, against a posterior that is asked anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from gpnet_ray.errors import InputError, NumericalError
from gpnet_ray.gp import scored_points
from gpnet_ray.gp.scored_points import ScoredPoints

# float64, condition number about 1e5.
TOLERANCE = 1e-10


def metrics_by_hand(y, mean, sigma):
    return {
        "mae": mean_absolute_error(y, mean),
        "rmse": root_mean_squared_error(y, mean),
        "r2": r2_score(y, mean),
        "coverage_2sigma": np.mean(np.abs(y - mean) <= 2 * sigma),
    }


def commit_rows(problem, posterior, rows):
    ids = [problem.pool_ids[i] for i in rows]
    return posterior.commit(ids, problem.pool_X[rows], problem.pool_y[rows])


def test_predictions_follow_the_posterior_through_every_block(problem):
    posterior = problem.posterior()
    pool, test = problem.shards(1, posterior)[0], problem.test_points(posterior)
    for rows in ([3], [1, 70, 5, 6], list(range(10, 60))):
        block = commit_rows(problem, posterior, rows)
        pool.absorb(block)
        test.absorb(block)
        for points, X_of in (
            (pool, dict(zip(problem.pool_ids, problem.pool_X, strict=True))),
            (test, dict(zip(problem.test_ids, problem.test_X, strict=True))),
        ):
            ids, mean, sigma = points.predictions()
            assert not set(ids) & set(posterior.ids)
            expected_mean, expected_sigma = posterior.predict(np.stack([X_of[i] for i in ids]))
            np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(sigma, expected_sigma, rtol=0, atol=TOLERANCE)
    # 55 of 80 are labelled and forgotten.
    assert len(pool) == 25
    assert len(test) == 25
    assert pool.n_labelled == len(posterior) == 85


@pytest.mark.parametrize("entries", [1, 300, 1 << 18])
def test_metrics_of_every_cycle_are_those_of_a_model_built_in_that_cycle(
    problem, rebuilt_gp, monkeypatch, entries
):
    # One, a few, or all cycles are measured at once.
    monkeypatch.setattr(scored_points, "_METRIC_ENTRIES", entries)
    posterior = problem.posterior()
    shards, test = problem.shards(2, posterior), problem.test_points(posterior)
    picked = [7, 3, 50, 51, 22, 20]
    # Cycle 2 labels nothing (its material failed), cycle 3 two at once.
    cycle_of, n_cycles = np.array([0, 1, 3, 3, 4, 6]), 8
    block = commit_rows(problem, posterior, picked)
    on_test = test.absorb(block, cycle_of=cycle_of, n_cycles=n_cycles).metrics()
    first, second = (shard.absorb(block, cycle_of=cycle_of, n_cycles=n_cycles) for shard in shards)
    on_pool = (first + second).metrics()
    for cycle in range(n_cycles):
        rows = [row for row, at in zip(picked, cycle_of, strict=True) if at <= cycle]
        left = [row for row in range(80) if row not in rows]
        X = np.vstack([problem.train_X, problem.pool_X[rows]])
        y = np.append(problem.train_y, problem.pool_y[rows])
        for got, X_new, y_new in (
            (on_test, problem.test_X, problem.test_y),
            (on_pool, problem.pool_X[left], problem.pool_y[left]),
        ):
            mean, sigma = rebuilt_gp(problem.hyperparameters, X, y, X_new)
            for name, value in metrics_by_hand(y_new, mean, sigma).items():
                assert got[name][cycle] == pytest.approx(value, abs=TOLERANCE), (name, cycle)
    assert (first + second).n.tolist() == [79, 78, 78, 76, 75, 75, 74, 74]


def test_metrics_now_are_those_after_the_last_cycle(problem):
    posterior = problem.posterior()
    shard = problem.shards(1, posterior)[0]
    before = shard.error_sums().metrics()
    mean, sigma = posterior.predict(problem.pool_X)
    for name, value in metrics_by_hand(problem.pool_y, mean, sigma).items():
        assert before[name][0] == pytest.approx(value, abs=TOLERANCE)
    sums = shard.absorb(commit_rows(problem, posterior, list(range(30))), n_cycles=3)
    now = shard.error_sums()
    assert now.n.tolist() == [50]
    for name, values in sums.last().metrics().items():
        assert now.metrics()[name][0] == pytest.approx(values[0], abs=TOLERANCE)
    # Without cycle_of all labels came in the last cycle.
    assert sums.n.tolist() == [80, 80, 50]
    assert sums.metrics()["mae"][0] == pytest.approx(before["mae"][0], abs=TOLERANCE)


def test_float32_columns_cost_a_millionth_of_the_prior_variance(problem):
    posterior = problem.posterior()
    points = ScoredPoints(
        posterior.snapshot(),
        problem.pool_ids,
        problem.pool_X,
        reference=problem.pool_y,
        dtype="float32",
    )
    points.absorb(commit_rows(problem, posterior, list(range(10))))
    assert points.propose(5).V.dtype == np.float32
    mean, sigma = posterior.predict(problem.pool_X[10:])
    # Rounding of 6e-8 in each of 40 terms of variances around 1, and of a conditioned solve.
    np.testing.assert_allclose(points.predictions()[1], mean, rtol=0, atol=1e-5)
    np.testing.assert_allclose(points.predictions()[2], sigma, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="dtype 'float16'"):
        ScoredPoints(posterior.snapshot(), [], np.empty((0, 4)), dtype="float16")


def test_float32_is_refused_where_its_rounding_would_decide_who_is_picked(problem):
    smooth = replace(problem.hyperparameters, kernel="rbf", length_scale=3.0, noise_std=1e-4)
    posterior = replace(problem, hyperparameters=smooth).posterior()
    points = [posterior.snapshot(), problem.pool_ids, problem.pool_X]
    with pytest.raises(NumericalError, match=r"it would not be the largest σ .* float64"):
        ScoredPoints(*points, dtype="float32")
    ScoredPoints(*points)
    ScoredPoints(posterior.snapshot(), [], np.empty((0, 4)), dtype="float32")


def test_an_empty_block_repeats_the_metrics(problem):
    posterior = problem.posterior()
    shard = problem.shards(1, posterior)[0]
    before = shard.error_sums().metrics()["mae"][0]
    ids, X, y = problem.train_ids[:2], problem.train_X[:2], problem.train_y[:2]
    block = posterior.commit(ids, X, y)
    assert len(block) == 0
    assert shard.absorb(block, n_cycles=2).metrics()["mae"].tolist() == [before] * 2


def test_without_references_nothing_is_measured(problem):
    posterior = problem.posterior()
    points = ScoredPoints(posterior.snapshot(), problem.pool_ids, problem.pool_X)
    assert points.error_sums() is None
    assert points.absorb(commit_rows(problem, posterior, [0])) is None


def test_a_proposal_names_the_largest_variances_and_bounds_the_rest(problem):
    posterior = problem.posterior()
    shard = problem.shards(1, posterior)[0]
    proposal = shard.propose(10)
    _, sigma = posterior.predict(problem.pool_X)
    variance = sigma**2 - problem.hyperparameters.noise_std**2
    order = np.argsort(-variance)
    assert set(proposal.ids) == {problem.pool_ids[i] for i in order[:10]}
    assert proposal.bound_of_rest == pytest.approx(variance[order[10]], abs=TOLERANCE)
    rows = [problem.pool_row(i) for i in proposal.ids]
    assert proposal.X.tolist() == problem.pool_X[rows].tolist()
    expected = posterior.columns(problem.pool_X[rows]).numpy()
    np.testing.assert_allclose(proposal.V, expected, rtol=0, atol=TOLERANCE)
    assert shard.propose(80).bound_of_rest == -np.inf
    assert len(shard.propose(500)) == 80


def test_labelled_and_withdrawn_points_are_never_proposed(problem):
    posterior = problem.posterior()
    shard = problem.shards(1, posterior)[0]
    shard.absorb(commit_rows(problem, posterior, [0, 1, 2]))
    shard.withdraw([problem.pool_ids[3], "elsewhere"])
    gone = set(problem.pool_ids[:4])
    assert set(shard.propose(80).ids) == set(problem.pool_ids) - gone
    wanted = [problem.pool_ids[i] for i in (9, 0, 3, 8)]
    assert shard.propose_ids(["elsewhere", *wanted]).ids == (wanted[0], wanted[3])
    # What could not be labelled is still unlabelled: it is predicted and measured.
    assert len(shard) == 77
    assert shard.error_sums().n.tolist() == [77]
    shard.absorb(commit_rows(problem, posterior, list(range(10, 60))))
    assert problem.pool_ids[3] not in shard.propose(80).ids
    assert problem.pool_ids[3] in shard.predictions()[0]


def test_a_shard_may_be_empty(problem):
    posterior = problem.posterior()
    points = ScoredPoints(posterior.snapshot(), [], np.empty((0, 4)), reference=[])
    assert points.propose(5).bound_of_rest == -np.inf
    assert points.absorb(commit_rows(problem, posterior, [0, 1])).n.tolist() == [0]
    shard = problem.shards(1, posterior)[0]
    everything = [i for i in range(80) if i not in (0, 1)]
    shard.absorb(commit_rows(problem, posterior, everything))
    assert shard.propose(5).ids == tuple(problem.pool_ids[:2])


def test_blocks_and_cycles_that_do_not_fit_are_refused(problem):
    posterior = problem.posterior()
    shard = problem.shards(1, posterior)[0]
    first, second = commit_rows(problem, posterior, [0, 1]), commit_rows(problem, posterior, [2])
    with pytest.raises(InputError, match="in the order of their commits"):
        shard.absorb(second)
    with pytest.raises(InputError, match="does not give each of 2 rows one of 2 cycles"):
        shard.absorb(first, cycle_of=[0, 2], n_cycles=2)
    with pytest.raises(InputError, match="does not give each of 2 rows"):
        shard.absorb(first, cycle_of=[0], n_cycles=2)
    with pytest.raises(InputError, match="cycle_of decreases"):
        shard.absorb(first, cycle_of=[1, 0], n_cycles=2)
    shard.absorb(first)
    with pytest.raises(InputError, match="in the order of their commits"):
        shard.absorb(first)
    shard.absorb(second)


def test_points_that_cannot_be_scored_are_refused(problem):
    snapshot, X = problem.posterior().snapshot(), problem.pool_X[:2]
    with pytest.raises(InputError, match="3 wide, expected 4"):
        ScoredPoints(snapshot, ["a", "b"], X[:, :3])
    with pytest.raises(InputError, match="NaN or infinite values in 1 of 2 rows"):
        ScoredPoints(snapshot, ["a", "b"], [X[0], np.full(4, np.nan)])
    with pytest.raises(InputError, match="occurs twice"):
        ScoredPoints(snapshot, ["a", "a"], X)
    with pytest.raises(InputError, match="1 ids with latents"):
        ScoredPoints(snapshot, ["a"], X)
    with pytest.raises(InputError, match="true values of shape"):
        ScoredPoints(snapshot, ["a", "b"], X, reference=[1.0])
    with pytest.raises(InputError, match="true values hold NaN"):
        ScoredPoints(snapshot, ["a", "b"], X, reference=[1.0, np.nan])
