"""A bound is never below the variance that all labelled points leave, whatever the kernel and the noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solve_triangular

from gpnet_ray.errors import DataError, InputError
from gpnet_ray.gp.bound_files import load_bounds, save_bounds
from gpnet_ray.gp.first_bounds import FirstBounds, rounded_up
from gpnet_ray.gp.kernels import gram_matrix, kernel_matrix

KERNELS = ("laplacian", "laplacian-l1", "matern32", "matern52", "rbf", "rational-quadratic")


def variances(hyperparameters, X, X_new) -> np.ndarray:
    """Given all of X, as shares of the prior's: by SciPy's solve with NumPy's factor."""
    K = gram_matrix(hyperparameters, X).numpy() + hyperparameters.noise_std**2 * np.eye(len(X))
    cross = kernel_matrix(hyperparameters, X, X_new).numpy()
    V = solve_triangular(np.linalg.cholesky(K), cross, lower=True)
    return 1.0 - (V**2).sum(axis=0) / hyperparameters.amplitude**2


def test_bounds_hold_with_a_length_scale_a_dimension(problem_like):
    lengths = (0.3, 1.0, 2.5, 9.0)
    problem = problem_like(n_train=60, n_pool=300, length_scale=lengths)
    exact = variances(problem.hyperparameters, problem.train_X, problem.pool_X)
    bounds = FirstBounds(problem.hyperparameters, problem.train_X, rows=10).of(problem.pool_X)
    assert (bounds >= exact).all()


class Points:
    """A file of a pool that is as it was when it was checked."""

    def __init__(self, rows: int) -> None:
        self.rows, self.stamp = rows, "the same"

    def __len__(self) -> int:
        return self.rows


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be kept in .*name another folder"):
        save_bounds(tmp_path / "file", "key", Points(3), np.zeros(3, np.float32))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("noise_std", [0.3, 1e-3])
def test_what_some_labels_leave_bounds_what_all_leave(problem_like, kernel, noise_std):
    problem = problem_like(n_train=60, n_pool=300, kernel=kernel, noise_std=noise_std)
    # Candidates that have been labelled under another id are where a bound is hardest to keep.
    X = np.concatenate([problem.pool_X, problem.train_X])
    exact = variances(problem.hyperparameters, problem.train_X, X)
    for rows in (1, 10, 60):
        bounds = FirstBounds(problem.hyperparameters, problem.train_X, rows=rows).of(X)
        assert bounds.dtype == np.float32
        assert (bounds >= exact).all()
    # All rows leave what is exact, but for the slack and the rounding to float32 (6e-8).
    assert (bounds - exact).max() < 1e-5


def test_the_points_that_say_most_come_first(problem_like):
    problem = problem_like(n_train=200, n_pool=500, d=2)
    rng, exact = np.random.default_rng(0), []
    for _ in range(5):
        some = problem.train_X[rng.choice(200, 20, replace=False)]
        exact.append(variances(problem.hyperparameters, some, problem.pool_X).mean())
    chosen = FirstBounds(problem.hyperparameters, problem.train_X, rows=20)
    assert chosen.of(problem.pool_X).mean() < min(exact)


def test_labelled_points_that_are_equal_and_have_no_noise_are_no_obstacle(problem_like):
    problem = problem_like(noise_std=0.0)
    twice = np.concatenate([problem.train_X, problem.train_X])
    bounds = FirstBounds(problem.hyperparameters, twice, rows=60).of(problem.pool_X)
    exact = variances(problem.hyperparameters, problem.train_X, problem.pool_X)
    assert (bounds >= exact).all()


def test_noise_that_the_posterior_had_to_add_is_in_the_bounds(problem_like):
    problem = problem_like(noise_std=1e-3)
    plain, jittered = (
        FirstBounds(problem.hyperparameters, problem.train_X, jitter=jitter)
        for jitter in (0.0, 0.2)
    )
    assert (jittered.of(problem.pool_X) > plain.of(problem.pool_X)).all()
    assert jittered.fingerprint() != plain.fingerprint()


def test_rounding_goes_up():
    numbers = np.array([0.0, 0.1, 1 / 3, 1e-30, 7.0])
    assert (rounded_up(numbers).astype(np.float64) > numbers).all()


def test_bounds_on_disk_come_back_or_are_refused(tmp_path):
    bounds = np.linspace(0, 1, 50, dtype=np.float32)
    assert load_bounds(tmp_path / "b", "key", Points(50)) is None
    save_bounds(tmp_path / "b", "key", Points(50), bounds)
    np.testing.assert_array_equal(load_bounds(tmp_path / "b", "key", Points(50)), bounds)
    assert load_bounds(tmp_path / "b", "another key", Points(50)) is None
    (file,) = (tmp_path / "b").iterdir()
    content = bytearray(file.read_bytes())
    # A bit of an exponent: a bound that has become too small would hide a candidate.
    content[-1] ^= 0x40
    file.write_bytes(content)
    with pytest.raises(DataError, match="is damaged; remove it"):
        load_bounds(tmp_path / "b", "key", Points(50))


def test_bounds_in_a_folder_that_is_only_read_serve_for_a_copied_file_once_it_is_checked(
    tmp_path, monkeypatch
):
    bounds = np.linspace(0, 1, 5, dtype=np.float32)
    save_bounds(tmp_path, "key", Points(5), bounds)
    copied, checked = Points(5), []
    copied.stamp, copied.check_content = "elsewhere", lambda: checked.append(1)

    def is_only_read(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", is_only_read)
    np.testing.assert_array_equal(load_bounds(tmp_path, "key", copied), bounds)
    assert checked == [1]
