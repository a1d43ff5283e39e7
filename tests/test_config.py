"""The configuration: layers in their order, and errors that name the nearest valid name."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpnet_ray.config import Config
from gpnet_ray.config_layers import load_config, preset_names
from gpnet_ray.errors import InputError


def test_overrides_lie_over_file_over_preset_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("training: {epochs: 7}\nselection: {cycles: 9}\n")
    config = load_config(preset="paper", file=file, overrides={"selection.cycles": 11})
    assert config.split.n_train == 1800  # preset
    assert config.training.epochs == 7  # file over preset
    assert config.selection.cycles == 11  # override over file
    assert config.training.batch_size == Config().training.batch_size  # default


def test_paper_preset_has_the_papers_settings() -> None:
    config = load_config(preset="paper")
    assert config.gp.kernel == "laplacian"
    assert (config.gp.initial_amplitude, config.gp.initial_length_scale) == (1.0, 1.0)
    assert config.selection.batch_size == 1
    assert config.selection.cycles == 1500
    assert 10455 - config.split.n_train - config.split.n_test == 7195


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid(name: str) -> None:
    assert load_config(preset=name) is not None


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"trainin.epochs": 3}, "did you mean 'training'"),
        ({"training.epoch": 3}, "did you mean 'epochs'"),
        ({"gp.kernel": "laplacain"}, "did you mean 'laplacian'"),
        ({"network.layer": "readout_3"}, "did you mean 'readout_"),
        ({"selection.strategies": ["max-sgma"]}, "unknown strategy 'max-sgma': did you mean 'max-"),
        ({"selection.strategies": ["random", "random"]}, "name each once"),
        ({"selection.strategies": []}, "at least one strategy"),
        ({"training.epochs": 0}, "training.epochs"),
        ({"gp.noise_std": float("nan")}, "gp.noise_std"),
        ({"name": "../elsewhere"}, "name"),
        ({"network.global_features": ["a", "a"]}, "global features ['a', 'a']"),
        ({"network.global_features": ["Value"]}, "global feature 'Value'"),
        ({"network.global_features": ["id"]}, "global feature 'id'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(overrides: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as error:
        load_config(overrides=overrides)
    assert said in str(error.value)
    assert "Value error" not in str(error.value)  # words of pydantic's own
    assert error.value.exit_code == 2


def test_unknown_preset_and_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'paper'"):
        load_config(preset="papr")
    with pytest.raises(InputError, match="does not exist"):
        load_config(file=tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1")
    with pytest.raises(InputError, match="not valid YAML"):
        load_config(file=broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        load_config(file=broken)
    broken.write_text("selection:\n")
    assert load_config(file=broken) == load_config(file=str(broken)) == Config()
    broken.write_text("- 1\n")
    with pytest.raises(InputError, match="mapping"):
        load_config(file=broken)


def test_science_sees_what_changes_numbers_and_nothing_else() -> None:
    base = load_config().science()
    assert load_config(overrides={"seed": 1}).science() == {**base, "seed": 1}
    assert load_config(overrides={"gp.kernel": "rbf"}).science() == {**base, "gp.kernel": "rbf"}
    free = {"resources.shards": 7, "name": "x", "data.dataset": "elsewhere/oxides.parquet"}
    assert load_config(overrides=free).science() == base


def test_frozen_embeddings_and_training_from_scratch_exclude_each_other() -> None:
    frozen = {"training.freeze_atom_embeddings": True}
    with pytest.raises(InputError, match=r"retraining\.start to warm"):
        load_config(overrides=frozen)
    load_config(overrides={**frozen, "retraining.start": "warm"})


def test_run_folder_is_named_after_the_dataset() -> None:
    config = load_config(overrides={"runs_dir": "r"})
    assert config.run_dir("a/oxides.json.gz") == Path("r/oxides")
    assert config.run_dir("hypothetical oxides") == Path("r/hypothetical-oxides")
    assert load_config(overrides={"name": "mine"}).run_dir("x.csv") == Path("runs/mine")
    with pytest.raises(InputError, match="--name"):
        config.run_dir("data/.oxides.parquet")
