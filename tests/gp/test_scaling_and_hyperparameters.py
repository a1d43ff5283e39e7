"""Scaling of latents and the hyperparameters' file form."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA

from gpnet_ray.config_layers import load_config
from gpnet_ray.errors import InputError
from gpnet_ray.gp.hyperparameters import Hyperparameters
from gpnet_ray.gp.scaling import LatentScaler

TRAIN = np.array([[0.0, 5.0, 1.0], [2.0, 5.0, 3.0], [4.0, 5.0, 11.0]], dtype=np.float32)


def test_min_max_brings_the_train_rows_into_the_unit_cube():
    scaled = LatentScaler.fit(TRAIN, "min-max").transform(TRAIN)
    assert scaled.dtype == np.float64
    # The second dimension never varies: it is shifted and not divided by zero.
    assert scaled.tolist() == [[0, 0, 0], [0.5, 0, 0.2], [1, 0, 1]]


def test_standard_has_zero_mean_and_unit_deviation_and_none_changes_nothing():
    scaled = LatentScaler.fit(TRAIN, "standard").transform(TRAIN)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 0, 1], rtol=1e-15)
    assert LatentScaler.fit(TRAIN, "none").transform(TRAIN).tolist() == TRAIN.tolist()


def test_only_the_train_rows_decide_the_scale():
    scaler = LatentScaler.fit(TRAIN, "min-max")
    assert scaler.transform([[8.0, 6.0, 1.0]]).tolist() == [[2.0, 1.0, 0.0]]


@pytest.mark.parametrize("how", ["none", "min-max", "standard"])
def test_a_projection_is_that_of_scikit_learns_pca_on_the_scaled_train_rows(how):
    rng = np.random.default_rng(1)
    train = rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)) + 3
    other = rng.normal(size=(9, 6))
    scaler = LatentScaler.fit(train, how)
    pca = PCA(n_components=2).fit(scaler.transform(train))
    projected = LatentScaler.fit(train, how, projection="pca-2")
    for points in (train, other):
        # The centre is folded into the offset: another order of float64 operations.
        expected = pca.transform(scaler.transform(points))
        np.testing.assert_allclose(projected.transform(points), expected, atol=1e-12)
    # A row alone has the bits that it has in a crowd.
    assert projected.transform(other[3:4])[0].tolist() == projected.transform(other)[3].tolist()


def test_a_projection_on_more_axes_than_there_are_is_refused():
    with pytest.raises(InputError, match=r"pca-3 needs 3 train rows.*2 rows of 3"):
        LatentScaler.fit(TRAIN[:2], "none", projection="pca-3")
    with pytest.raises(InputError, match="did you mean 'pca-2'"):
        LatentScaler.fit(TRAIN, "none", projection="pca2")


@pytest.mark.parametrize("name", ["tsne", "t-sne-2", "t-SNE"])
def test_tsne_is_refused_for_the_gp_with_the_reason(name):
    with pytest.raises(InputError, match=r"t-SNE .* cannot transform new ones"):
        load_config(overrides={"gp.latent_projection": name})


@pytest.mark.parametrize("projection", ["none", "pca-3"])
def test_scaler_survives_json_to_the_last_digit(projection):
    rng = np.random.default_rng(0)
    scaler = LatentScaler.fit(rng.normal(size=(7, 5)), "standard", projection=projection)
    assert LatentScaler.from_json(json.loads(json.dumps(scaler.to_json()))) == scaler


def test_latents_that_cannot_be_used_are_refused_with_the_row():
    scaler = LatentScaler.fit(TRAIN, "min-max")
    with pytest.raises(InputError, match="2 wide, expected 3"):
        scaler.transform(np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"in 1 of 3 rows \(first: row 2\)"):
        scaler.transform([[0, 0, 0], [1, 1, 1], [2, np.nan, 2]])
    with pytest.raises(InputError, match="did you mean 'min-max'"):
        LatentScaler.fit(TRAIN, "minmax")
    with pytest.raises(InputError, match="no train latents"):
        LatentScaler.fit(np.empty((0, 3)), "min-max")


@pytest.mark.parametrize("length_scale", [0.3, (0.1, 2.0)])
def test_hyperparameters_survive_json(length_scale):
    numbers = Hyperparameters("matern32", 1.0 / 3.0, length_scale, 0.0, -7.1)
    assert Hyperparameters.from_json(json.loads(json.dumps(numbers.to_json()))) == numbers


def test_whole_numbers_are_as_good_as_fractions():
    whole = Hyperparameters("laplacian", 1, [2, 3], 0, -7)
    assert repr(whole) == repr(Hyperparameters("laplacian", 1.0, (2.0, 3.0), 0.0, -7.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": "matern-32"}, "did you mean 'matern32'"),
        ({"amplitude": 0.0}, "amplitude 0.0"),
        ({"length_scale": float("nan")}, "length scale nan"),
        ({"length_scale": (1.0, -1.0)}, "length scale"),
        ({"noise_std": -1e-3}, "noise_std -0.001"),
        ({"mean": float("inf")}, "mean inf"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(change, message):
    numbers = {
        "kernel": "rbf",
        "amplitude": 1.0,
        "length_scale": 1.0,
        "noise_std": 0.1,
        "mean": 0.0,
    }
    with pytest.raises(InputError, match=message):
        Hyperparameters(**{**numbers, **change})


def test_a_file_that_lacks_an_entry_is_refused():
    with pytest.raises(InputError, match="lack 'mean'"):
        Hyperparameters.from_json(
            {"kernel": "rbf", "amplitude": 1, "length_scale": 1, "noise_std": 0}
        )
    with pytest.raises(InputError, match="lacks 'offset'"):
        LatentScaler.from_json({"how": "none", "projection": "none", "axes": None})
