"""What a driver script prints says in a line what it is."""

from __future__ import annotations

from support.ask_tell import crystals
from support.pools import hand_made_surrogate


def test_datasets_networks_and_surrogates_print_in_a_line_and_not_all_they_hold() -> None:
    surrogate = hand_made_surrogate()
    network = (
        f"NetworkState({surrogate.network.fingerprint()[:12]}, energy in eV/atom, 1 blocks of 16-8-4,"
        " layer readout_0, "
    )
    rest = "energy in eV/atom, {}, source 'rock salts')"
    assert str(crystals(0, 12, labelled=True)) == "MaterialsDataset(12 materials, " + rest.format(
        "with targets"
    )
    assert "no targets" in repr(crystals(0, 12, labelled=False))
    assert str(surrogate.network).startswith(network)
    n_weights = sum(weights.size for weights in surrogate.network.weights.values())
    assert str(surrogate.network).endswith(f"{n_weights:,} weights)")
    assert str(surrogate).startswith(
        f"Surrogate(300 labelled materials, latents of width 8, laplacian kernel, {network}"
    )
