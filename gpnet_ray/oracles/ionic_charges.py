"""Formal charges for crystals that come without: one charge for each element, all balanced."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from gpnet_ray.data.ions import IONS, OXIDE_CHARGE, Ion
from gpnet_ray.oracles.ionic_energy import UnsuitableCrystalError

if TYPE_CHECKING:
    from pymatgen.core import Structure

__all__ = ["with_charges"]


def with_charges(structure: Structure) -> Structure:
    """Return the crystal with an oxidation state on every site.

    A crystal whose sites all carry oxidation states is taken as it is. Otherwise every element
    gets one of its common charges such that the crystal is neutral; of several such choices, the
    one with the commonest charges. Mixed valence (Fe3O4) is not guessed.

    Raises:
        UnsuitableCrystalError: a disordered crystal, no oxygen, an element without common charges, no neutral choice, or
            given charges that do not balance.
    """
    if not structure.is_ordered:
        raise UnsuitableCrystalError("the crystal is disordered")
    given = [getattr(site.specie, "oxi_state", None) for site in structure]
    # Files may state a charge of zero on every site where nothing is known.
    if all(charge is not None for charge in given) and any(given):
        total = sum(charge for charge in given if charge is not None)
        if abs(total) > 1e-6:
            raise UnsuitableCrystalError(f"the oxidation states sum to {total:+g}, not to zero")
        return structure
    charged = structure.copy()
    charged.add_oxidation_state_by_element(_balanced(structure))
    return charged


def _balanced(structure: Structure) -> dict[str, int]:
    amounts = structure.composition.get_el_amt_dict()
    oxide = amounts.pop("O", 0.0)
    formula = structure.composition.reduced_formula
    if not oxide or not amounts:
        raise UnsuitableCrystalError(f"{formula} is no oxide; the ionic model covers oxides only")
    choices = [_ions_of(symbol) for symbol in amounts]
    balanced = [
        ions
        for ions in product(*choices)
        if abs(
            sum(ion.charge * n for ion, n in zip(ions, amounts.values(), strict=True))
            + OXIDE_CHARGE * oxide
        )
        < 1e-6
    ]
    if not balanced:
        raise UnsuitableCrystalError(
            f"oxidation states missing: no common charges, one an element, balance in {formula}"
        )
    commonest = min(
        balanced,
        key=lambda ions: (sum(ion.rank for ion in ions), [ion.charge for ion in ions]),
    )
    return {"O": OXIDE_CHARGE, **{ion.symbol: ion.charge for ion in commonest}}


def _ions_of(symbol: str) -> list[Ion]:
    ions = [ion for ion in IONS if ion.symbol == symbol]
    if not ions:
        raise UnsuitableCrystalError(
            f"oxidation states missing, and the ionic model knows no charge of {symbol}"
        )
    return ions
