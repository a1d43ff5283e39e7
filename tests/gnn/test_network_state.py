from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpnet_ray.config import NetworkConfig
from gpnet_ray.errors import InputError
from gpnet_ray.gnn.architecture import weight_shapes
from gpnet_ray.gnn.network_state import NETWORK_FILE, NetworkState, load_network_state
from gpnet_ray.gnn.records import KeptEpoch

READ_IN_NEW_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from gpnet_ray.gnn.network_state import load_network_state
state = load_network_state(Path(sys.argv[1]))
assert "tensorflow" not in sys.modules
np.savez(sys.argv[2], **state.weights)
print(state.fingerprint(), repr(state.target_mean), repr(state.target_scale), state.target, state.unit)
"""


@pytest.fixture
def state(tiny_network) -> NetworkState:
    rng = np.random.default_rng(0)
    return NetworkState(
        config=tiny_network,
        weights={
            name: rng.standard_normal(shape).astype(np.float32)
            for name, shape in weight_shapes(tiny_network).items()
        },
        target_mean=-2.0123456789012345,
        target_scale=1 / 3,
        target="formation_energy_per_atom",
        unit="eV/atom",
    )


def weights_file(folder: Path) -> Path:
    (path,) = folder.glob("*.npz")
    return path


def test_a_new_process_reads_exactly_what_was_written(state, tmp_path):
    state.save(tmp_path / "network")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            READ_IN_NEW_PROCESS,
            str(tmp_path / "network"),
            str(tmp_path / "w.npz"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    fingerprint, mean, scale, target, unit = done.stdout.split()
    assert fingerprint == state.fingerprint()
    assert (float(mean), float(scale)) == (state.target_mean, state.target_scale)
    assert (target, unit) == (state.target, state.unit)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as read:
        assert set(read.files) == set(state.weights)
        for name in read.files:
            assert np.abs(read[name] - state.weights[name]).max() == 0.0


def test_what_was_held_out_is_kept_and_is_no_part_of_what_predicts(state, tmp_path):
    kept = dataclasses.replace(state, held_out_ids=("b", "a"), kept=KeptEpoch(7, 0.125))
    kept.save(tmp_path / "network")
    read = load_network_state(tmp_path / "network")
    assert read.held_out_ids == ("b", "a")
    assert read.kept == KeptEpoch(7, 0.125)
    assert read.held_out(["a", "c", "b"]).tolist() == [True, False, True]
    assert read.fingerprint() == state.fingerprint()
    # Networks that were saved before it was kept: nothing is known to be held out.
    description = json.loads((tmp_path / "network" / NETWORK_FILE).read_text())
    del description["held_out_ids"], description["kept"]
    (tmp_path / "network" / NETWORK_FILE).write_text(json.dumps(description))
    older = load_network_state(tmp_path / "network")
    assert (older.held_out_ids, older.kept) == ((), None)


def test_the_fingerprint_tells_any_two_networks_apart(state):
    name = "readout_1/bias"
    changed = {**state.weights, name: state.weights[name] + np.float32(1e-6)}
    others = [
        dataclasses.replace(state, weights=changed),
        dataclasses.replace(state, target_mean=state.target_mean + 1e-12),
        dataclasses.replace(state, unit="meV/atom"),
        dataclasses.replace(state, config=state.config.model_copy(update={"set2set_passes": 7})),
    ]
    assert len({state.fingerprint(), *(other.fingerprint() for other in others)}) == 5


def test_saving_again_replaces_the_network_and_leaves_no_rubbish(state, tmp_path):
    state.save(tmp_path)
    changed = {name: w + np.float32(1) for name, w in state.weights.items()}
    second = dataclasses.replace(state, weights=changed)
    second.save(tmp_path)
    assert load_network_state(tmp_path).fingerprint() == second.fingerprint()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_crash_while_saving_leaves_the_old_network_whole(state, tmp_path, monkeypatch):
    state.save(tmp_path)
    changed = {name: w + np.float32(1) for name, w in state.weights.items()}
    replace = Path.replace

    def crash_at_the_description(self: Path, target: Path) -> Path:
        if Path(target).name == NETWORK_FILE:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", crash_at_the_description)
    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(state, weights=changed).save(tmp_path)
    assert load_network_state(tmp_path).fingerprint() == state.fingerprint()


def damage_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop(path: Path, key: str) -> None:
    description = json.loads(path.read_text())
    del description[key]
    path.write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / NETWORK_FILE).unlink(), "network.json; name the folder"),
        (lambda f: weights_file(f).unlink(), "npz; name the folder"),
        (lambda f: damage_byte(weights_file(f)), "npz is damaged"),
        (
            lambda f: weights_file(f).write_bytes(weights_file(f).read_bytes()[:-50]),
            "npz is damaged",
        ),
        (lambda f: (f / NETWORK_FILE).write_text("{"), "network.json is damaged"),
        (lambda f: edit(f / NETWORK_FILE, format="other"), "not a network of gpnet_ray"),
        (lambda f: edit(f / NETWORK_FILE, version=99), "format version 99"),
        (lambda f: drop(f / NETWORK_FILE, "unit"), "lacks unit"),
        (
            lambda f: edit(f / NETWORK_FILE, config={"n_blocks": 0}),
            "no valid network configuration",
        ),
        (lambda f: edit(f / NETWORK_FILE, target_scale="wide"), "not a number"),
        (lambda f: edit(f / NETWORK_FILE, target_scale=0.0), "scale positive"),
        (
            lambda f: edit(f / NETWORK_FILE, config=NetworkConfig(n_blocks=1).model_dump()),
            "network.json.*do not fit",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_the_file_is_named(state, tmp_path, spoil, message):
    folder = tmp_path / "my-network"
    state.save(folder)
    spoil(folder)
    with pytest.raises(InputError, match=message) as error:
        load_network_state(folder)
    assert str(folder) in str(error.value)


def test_a_pickle_is_never_read(state, tmp_path):
    state.save(tmp_path)
    path = weights_file(tmp_path)
    np.savez(path, **{"readout_0/kernel": np.array([{"an": "object"}], dtype=object)})
    from hashlib import sha256

    edit(tmp_path / NETWORK_FILE, weights_sha256=sha256(path.read_bytes()).hexdigest())
    with pytest.raises(InputError, match="not a file of weights"):
        load_network_state(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("readout_0/bias"), "missing readout_0/bias"),
        (lambda w: w.update(extra=w["readout_0/bias"]), "not expected extra"),
        (
            lambda w: w.update({"readout_0/bias": np.zeros(3, np.float32)}),
            r"readout_0/bias.*\(3,\)",
        ),
        (lambda w: w.update({"readout_2/bias": np.array([np.nan], np.float32)}), "NaN"),
    ],
)
def test_weights_have_to_fit_the_configuration(state, change, message):
    weights = dict(state.weights)
    change(weights)
    with pytest.raises(InputError, match=message):
        dataclasses.replace(state, weights=weights)
