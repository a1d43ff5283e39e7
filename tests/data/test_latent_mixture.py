"""Latents drawn like real ones: their moments, their seeds, and files that hold none."""

from __future__ import annotations

import tracemalloc
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpnet_ray.campaign.latent_writer import LatentWriter, PoolPart
from gpnet_ray.data import latent_mixture
from gpnet_ray.data.latent_mixture import LatentMixture, read_sample
from gpnet_ray.errors import DataError
from gpnet_ray.latent_columns import latent_column
from gpnet_ray.seeds import generator

NO_NETWORK = {"network_fingerprint": None}


def two_clouds(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centre = np.where(rng.random(n)[:, None] < 0.3, 5.0, -1.0)
    correlated = rng.normal(size=(n, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 0.2, 0.0], [0, 0, 0.1]])
    return (centre + correlated).astype(np.float32)


@pytest.fixture(scope="module")
def mixture() -> LatentMixture:
    return LatentMixture.fit(two_clouds(2000), seed=1)


def test_drawn_latents_have_the_moments_of_the_real_ones(mixture: LatentMixture) -> None:
    real, drawn = two_clouds(2000), mixture.draw(100_000, seed=0, stream=0)
    assert drawn.dtype == np.float32
    # A step of EM gives a mixture the mean and covariance of its data (plus the regularisation); what is left
    # is the scatter of 100,000 draws, 0.009 for the mean at a standard deviation of 2.9: four times that.
    assert drawn.mean(axis=0) == pytest.approx(real.mean(axis=0), abs=0.04)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(real.T), atol=0.1)
    # The clouds are kept apart, which one Gaussian would not do; the rarer has three tenths.
    assert (drawn[:, 2] > 2).mean() == pytest.approx((real[:, 2] > 2).mean(), abs=0.01)
    assert ((drawn[:, 2] > 0) & (drawn[:, 2] < 4)).mean() < 0.001


def test_each_gaussian_has_its_own_covariance() -> None:
    factors = np.array([[[1.0, 0.0], [0.9, 0.1]], [[0.2, 0.0], [-0.3, 0.5]]])
    means = np.array([[-50.0, 0.0], [50.0, 0.0]])
    mixture = LatentMixture(np.array([0.5, 0.5]), means, factors, n_rows=0, converged=True)
    drawn = mixture.draw(20_000, seed=0, stream=0)
    for k, cloud in enumerate((drawn[drawn[:, 0] < 0], drawn[drawn[:, 0] > 0])):
        # 10,000 draws: the largest variance, 1, is known to 1.4 %; four times that.
        np.testing.assert_allclose(np.cov(cloud.T), factors[k] @ factors[k].T, atol=0.06)


def test_a_stream_is_the_same_again_and_no_other(mixture: LatentMixture) -> None:
    again = LatentMixture.fit(two_clouds(2000), seed=1)
    assert again.fingerprint == mixture.fingerprint
    first = mixture.draw(50, seed=0, stream=0)
    np.testing.assert_array_equal(first, again.draw(50, seed=0, stream=0))
    for other in ({"seed": 0, "stream": 1}, {"seed": 1, "stream": 0}):
        assert not np.isin(first, mixture.draw(50, **other)).any()


def test_latents_come_from_lists_of_either_kind(tmp_path: Path) -> None:
    latents = two_clouds(5)
    fixed = pa.table({"latent": latent_column(latents)})
    loose = pa.table({"latent": pa.array(latents.tolist(), pa.list_(pa.float64()))})
    fingerprints = set()
    for name, table in (("fixed", fixed), ("loose", loose)):
        pq.write_table(table, tmp_path / name)
        sample = read_sample(tmp_path / name, seed=0)
        np.testing.assert_array_equal(sample.latents, latents)
        fingerprints.add(sample.fingerprint)
    assert len(fingerprints) == 1


def test_of_very_many_latents_some_are_kept_and_all_are_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, step = 20_000, 2_000
    latents = two_clouds(n)
    with LatentWriter(tmp_path / "pool", {"kind": "drawn", "layer": "readout_0"} | NO_NETWORK) as w:
        for start in range(0, n, step):
            column = latent_column(latents[start : start + step])
            ids = [f"m-{row}" for row in range(start, start + step)]
            points = pa.table({"material_id": ids, "latent": column})
            w.write(PoolPart(points, (), n_done=start + step))
        w.finish()
    pq.write_table(pa.table({"latent": latent_column(latents)}), tmp_path / "file.parquet")
    # Python lists of 8192 rows would hide in which batch a row is.
    monkeypatch.setattr(latent_mixture, "ROWS_AT_ONCE", 512)
    monkeypatch.setattr(latent_mixture, "MOST_ROWS", 300)
    tracemalloc.start()
    sample = read_sample(tmp_path / "pool", seed=3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The numbers of all rows to choose among are 160 kB; an object a row would be 2 MB and more.
    assert peak < 1_000_000
    from_file = read_sample(tmp_path / "file.parquet", seed=3)
    expected = sha256(latents.astype("<f4").tobytes() + b"(20000, 3)").hexdigest()
    assert sample.fingerprint == from_file.fingerprint == expected
    assert (sample.layer, from_file.layer) == ("readout_0", None)
    chosen = generator(3, "rows of the latent mixture").choice(n, 300, replace=False)
    np.testing.assert_array_equal(sample.latents, latents[np.sort(chosen)])
    np.testing.assert_array_equal(from_file.latents, sample.latents)
    assert not np.array_equal(read_sample(tmp_path / "pool", seed=4).latents, sample.latents)


def test_files_without_usable_latents_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said_of(column: str, values: list[object]) -> str:
        pq.write_table(pa.table({column: values}), tmp_path / "file.parquet")
        with pytest.raises(DataError) as error:
            read_sample(tmp_path / "file.parquet", seed=0)
        return str(error.value)

    assert "did you mean 'latents'" in said_of("latents", [[1.0]])
    assert "vectors of one length" in said_of("latent", [[1.0], [1.0, 2.0]])
    assert "finite numbers" in said_of("latent", [[1.0], [float("nan")]])
    assert "one length" in said_of("latent", [[1.0], None])
    monkeypatch.setattr(latent_mixture, "ROWS_AT_ONCE", 1)
    assert "one length: 1 and 2" in said_of("latent", [[1.0], [1.0, 2.0]])
    assert "has no rows" in said_of("latent", [])
    assert "finite numbers" in said_of("latent", [1.0, 2.0])
    with pytest.raises(DataError, match="a Parquet file with a column 'latent'"):
        read_sample(tmp_path / "nowhere.parquet", seed=0)
    with pytest.raises(DataError, match=r"319 latents are too few .* at least 320"):
        LatentMixture.fit(two_clouds(319), seed=0)
