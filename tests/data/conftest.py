from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure


@pytest.fixture
def crystals() -> dict[str, Structure]:
    """Three small oxides (two in the caesium chloride structure) with ids that are no positions."""
    body_centred = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return {
        "mp-9": Structure(Lattice.cubic(4.21), ["Mg", "O"], body_centred),
        "mp-2": Structure(Lattice.cubic(4.81), ["Ca", "O"], body_centred),
        "mp-5": Structure(
            Lattice.cubic(3.905),
            ["Sr", "Ti", "O", "O", "O"],
            [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]],
        ),
    }


@pytest.fixture
def energies() -> dict[str, float]:
    return {"mp-9": -3.05, "mp-2": -3.29, "mp-5": -3.55}
