from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpnet_ray.errors import InputError
from gpnet_ray.gnn.checkpoint import TrainingCheckpoint, load_checkpoint
from gpnet_ray.gnn.records import EpochRecord


@pytest.fixture
def checkpoint() -> TrainingCheckpoint:
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((4, 300)).astype(np.float32)
    history = tuple(EpochRecord(i, 1e-3 / i, 1 / 3, 0.1 * i, 0.7) for i in (1, 2, 3))
    return TrainingCheckpoint("abc", history, 1, 0.1, *arrays)


def test_what_is_read_is_what_was_written_to_the_last_bit(checkpoint, tmp_path):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path)
    read = load_checkpoint(path)
    for field in dataclasses.fields(checkpoint):
        written = getattr(checkpoint, field.name)
        if isinstance(written, np.ndarray):
            assert getattr(read, field.name).tobytes() == written.tobytes()
        else:
            assert getattr(read, field.name) == written
    assert list(tmp_path.iterdir()) == [path]


def test_the_driver_that_writes_checkpoints_and_curves_needs_no_tensorflow():
    code = "import sys, gpnet_ray.gnn.checkpoint, gpnet_ray.campaign.stages; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_crash_while_writing_leaves_the_checkpoint_before(checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path)

    def crash(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            dataclasses.replace(checkpoint, best_epoch=3).save(path)
    assert load_checkpoint(path).best_epoch == 1


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def change_a_weight(path: Path) -> None:
    """As flip_a_bit, but with the zip's own checksum made to fit."""
    rewrite(path, weights=lambda w: w + np.float32(1))


def drop_an_array(path: Path) -> None:
    rewrite(path, first_moment=None)


def put_in_a_pickle(path: Path) -> None:
    rewrite(path, weights=lambda w: np.array([{"an": "object"}], dtype=object))


def of_another_version(path: Path) -> None:
    def newer(description: np.ndarray) -> np.ndarray:
        text = description.tobytes().replace(b'"version": 1', b'"version": 9')
        return np.frombuffer(text, dtype=np.uint8)

    rewrite(path, description=newer)


def rewrite(path: Path, **changes) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    for name, change in changes.items():
        value = arrays.pop(name)
        if change is not None:
            arrays[name] = change(value)
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (Path.unlink, "there is no training checkpoint"),
        (cut, "is damaged"),
        (flip_a_bit, "is damaged"),
        (change_a_weight, "damaged.*checksum"),
        (drop_an_array, "is damaged.*first_moment"),
        (put_in_a_pickle, "is damaged"),
        (of_another_version, "version 9"),
        (lambda path: path.write_text("no zip"), "is damaged"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_to_do(checkpoint, tmp_path, spoil, message):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save(path)
    spoil(path)
    with pytest.raises(InputError, match=message) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)
    assert "from the start" in str(error.value)
