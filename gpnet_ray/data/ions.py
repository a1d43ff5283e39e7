"""Cations of oxides in their common oxidation states, with Shannon's radii.

Source: R. D. Shannon, Acta Cryst. A32, 751 (1976), ionic radii (O2- in sixfold coordination:
1.40 Å), high spin where both are given, square-planar and pyramidal sites left out; as tabulated in
pymatgen. The numbers stand here so that a material's id means the same crystal with every release.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["IONS", "OXIDE_CHARGE", "OXIDE_RADIUS_ANGSTROM", "Ion", "ions_for"]

OXIDE_CHARGE = -2
OXIDE_RADIUS_ANGSTROM = 1.40

_SLOPE_BEYOND_TABLE = 0.05
"""Growth of an ionic radius (Å) with each further neighbour, as between Shannon's VIII and XII."""

_COORDINATIONS_BEYOND_TABLE = 3
"""How far beyond its largest tabulated coordination number an ion is put (perovskite A sites)."""

_SMALLEST_RADIUS_RATIO = {2: 0.0, 4: 0.08, 6: 0.37, 7: 0.62, 8: 0.52, 9: 0.70, 12: 0.85}
"""Smallest cation/oxide radius ratio by coordination number: Pauling's first rule, kept loose."""


@dataclass(frozen=True)
class Ion:
    """A cation.

    Attributes:
        symbol: element.
        charge: formal charge in units of e.
        rank: 0 for the most common oxidation state of the element in oxides, then 1, 2.
        radii: pairs of (coordination number, ionic radius in Å), ascending.
    """

    symbol: str
    charge: int
    rank: int
    radii: tuple[tuple[int, float], ...]

    def radius(self, coordination: int) -> float:
        """Return the ionic radius in Å: tabulated, interpolated, or a little beyond the table.

        Raises:
            ValueError: coordination below the smallest that is tabulated.
        """
        numbers, values = zip(*self.radii, strict=True)
        if coordination < numbers[0]:
            raise ValueError(
                f"{self.symbol}{self.charge}+ has no radius for coordination {coordination}; "
                f"the smallest tabulated is {numbers[0]}"
            )
        beyond: int = max(0, coordination - numbers[-1])
        tabulated = float(np.interp(coordination, numbers, values))
        return tabulated + _SLOPE_BEYOND_TABLE * beyond

    @property
    def octahedral_radius(self) -> float:
        """Ionic radius in Å at the tabulated coordination number that is nearest to six."""
        radius: float = min(self.radii, key=lambda pair: abs(pair[0] - 6))[1]
        return radius

    def fits(self, coordination: int) -> bool:
        """Say whether the ion is found, or nearly, with so many oxide neighbours."""
        numbers = [number for number, _ in self.radii]
        if not numbers[0] <= coordination <= numbers[-1] + _COORDINATIONS_BEYOND_TABLE:
            return False
        ratio = self.radius(coordination) / OXIDE_RADIUS_ANGSTROM
        return ratio >= _SMALLEST_RADIUS_RATIO[coordination]


# element, charge, {coordination number: ionic radius / Å}; of one element the most common charge first.
_TABLE: tuple[tuple[str, int, dict[int, float]], ...] = (
    ("Li", 1, {4: 0.59, 6: 0.76, 8: 0.92}),
    ("Na", 1, {4: 0.99, 5: 1.0, 6: 1.02, 7: 1.12, 8: 1.18, 9: 1.24, 12: 1.39}),
    ("K", 1, {4: 1.37, 6: 1.38, 7: 1.46, 8: 1.51, 9: 1.55, 10: 1.59, 12: 1.64}),
    ("Rb", 1, {6: 1.52, 7: 1.56, 8: 1.61, 9: 1.63, 10: 1.66, 11: 1.69, 12: 1.72, 14: 1.83}),
    ("Cs", 1, {6: 1.67, 8: 1.74, 9: 1.78, 10: 1.81, 11: 1.85, 12: 1.88}),
    ("Cu", 2, {4: 0.57, 5: 0.65, 6: 0.73}),
    ("Cu", 1, {2: 0.46, 4: 0.6, 6: 0.77}),
    ("Ag", 1, {2: 0.67, 4: 1.0, 5: 1.09, 6: 1.15, 7: 1.22, 8: 1.28}),
    ("Tl", 1, {6: 1.5, 8: 1.59, 12: 1.7}),
    ("Be", 2, {3: 0.16, 4: 0.27, 6: 0.45}),
    ("Mg", 2, {4: 0.57, 5: 0.66, 6: 0.72, 8: 0.89}),
    ("Ca", 2, {6: 1.0, 7: 1.06, 8: 1.12, 9: 1.18, 10: 1.23, 12: 1.34}),
    ("Sr", 2, {6: 1.18, 7: 1.21, 8: 1.26, 9: 1.31, 10: 1.36, 12: 1.44}),
    ("Ba", 2, {6: 1.35, 7: 1.38, 8: 1.42, 9: 1.47, 10: 1.52, 11: 1.57, 12: 1.61}),
    ("Zn", 2, {4: 0.6, 5: 0.68, 6: 0.74, 8: 0.9}),
    ("Cd", 2, {4: 0.78, 5: 0.87, 6: 0.95, 7: 1.03, 8: 1.1, 12: 1.31}),
    ("Pb", 2, {6: 1.19, 7: 1.23, 8: 1.29, 9: 1.35, 10: 1.4, 11: 1.45, 12: 1.49}),
    ("Pb", 4, {4: 0.65, 5: 0.73, 6: 0.775, 8: 0.94}),
    ("Fe", 3, {4: 0.49, 5: 0.58, 6: 0.645, 8: 0.78}),
    ("Fe", 2, {4: 0.63, 6: 0.78, 8: 0.92}),
    ("Co", 2, {4: 0.58, 5: 0.67, 6: 0.745, 8: 0.9}),
    ("Co", 3, {6: 0.61}),
    ("Ni", 2, {4: 0.55, 5: 0.63, 6: 0.69}),
    ("Mn", 2, {4: 0.66, 5: 0.75, 6: 0.83, 7: 0.9, 8: 0.96}),
    ("Mn", 3, {5: 0.58, 6: 0.645}),
    ("Mn", 4, {4: 0.39, 6: 0.53}),
    ("Sn", 4, {4: 0.55, 5: 0.62, 6: 0.69, 7: 0.75, 8: 0.81}),
    ("Al", 3, {4: 0.39, 5: 0.48, 6: 0.535}),
    ("Ga", 3, {4: 0.47, 5: 0.55, 6: 0.62}),
    ("In", 3, {4: 0.62, 6: 0.8, 8: 0.92}),
    ("Sc", 3, {6: 0.745, 8: 0.87}),
    ("Y", 3, {6: 0.9, 7: 0.96, 8: 1.019, 9: 1.075}),
    ("La", 3, {6: 1.032, 7: 1.1, 8: 1.16, 9: 1.216, 10: 1.27, 12: 1.36}),
    ("Ce", 4, {6: 0.87, 8: 0.97, 10: 1.07, 12: 1.14}),
    ("Ce", 3, {6: 1.01, 7: 1.07, 8: 1.143, 9: 1.196, 10: 1.25, 12: 1.34}),
    ("Pr", 3, {6: 0.99, 8: 1.126, 9: 1.179}),
    ("Nd", 3, {6: 0.983, 8: 1.109, 9: 1.163, 12: 1.27}),
    ("Sm", 3, {6: 0.958, 7: 1.02, 8: 1.079, 9: 1.132, 12: 1.24}),
    ("Eu", 3, {6: 0.947, 8: 1.066, 9: 1.12}),
    ("Eu", 2, {6: 1.17, 7: 1.2, 8: 1.25, 9: 1.3, 10: 1.35}),
    ("Gd", 3, {6: 0.938, 7: 1.0, 8: 1.053, 9: 1.107}),
    ("Tb", 3, {6: 0.923, 7: 0.98, 8: 1.04, 9: 1.095}),
    ("Dy", 3, {6: 0.912, 7: 0.97, 8: 1.027, 9: 1.083}),
    ("Ho", 3, {6: 0.901, 8: 1.015, 9: 1.072, 10: 1.12}),
    ("Er", 3, {6: 0.89, 7: 0.945, 8: 1.004, 9: 1.062}),
    ("Tm", 3, {6: 0.88, 8: 0.994, 9: 1.052}),
    ("Yb", 3, {6: 0.868, 7: 0.925, 8: 0.985, 9: 1.042}),
    ("Lu", 3, {6: 0.861, 8: 0.977, 9: 1.032}),
    ("Bi", 3, {5: 0.96, 6: 1.03, 8: 1.17}),
    ("V", 5, {4: 0.355, 5: 0.46, 6: 0.54}),
    ("V", 3, {6: 0.64}),
    ("V", 4, {5: 0.53, 6: 0.58, 8: 0.72}),
    ("Cr", 3, {6: 0.615}),
    ("Rh", 3, {6: 0.665}),
    ("Si", 4, {4: 0.26, 6: 0.4}),
    ("Ge", 4, {4: 0.39, 6: 0.53}),
    ("Ti", 4, {4: 0.42, 5: 0.51, 6: 0.605, 8: 0.74}),
    ("Ti", 3, {6: 0.67}),
    ("Zr", 4, {4: 0.59, 5: 0.66, 6: 0.72, 7: 0.78, 8: 0.84, 9: 0.89}),
    ("Hf", 4, {4: 0.58, 6: 0.71, 7: 0.76, 8: 0.83}),
    ("Th", 4, {6: 0.94, 8: 1.05, 9: 1.09, 10: 1.13, 11: 1.18, 12: 1.21}),
    ("U", 4, {6: 0.89, 7: 0.95, 8: 1.0, 9: 1.05, 12: 1.17}),
    ("Ru", 4, {6: 0.62}),
    ("Ir", 4, {6: 0.625}),
    ("Te", 6, {4: 0.43, 6: 0.56}),
    ("Mo", 6, {4: 0.41, 5: 0.5, 6: 0.59, 7: 0.73}),
    ("Mo", 4, {6: 0.65}),
    ("W", 6, {4: 0.42, 5: 0.51, 6: 0.6}),
    ("Re", 6, {6: 0.55}),
    ("P", 5, {4: 0.17, 5: 0.29, 6: 0.38}),
    ("As", 5, {4: 0.335, 6: 0.46}),
    ("Sb", 5, {6: 0.6}),
    ("Nb", 5, {4: 0.48, 6: 0.64, 7: 0.69, 8: 0.74}),
    ("Ta", 5, {6: 0.64, 7: 0.69, 8: 0.74}),
)


def _ions() -> tuple[Ion, ...]:
    seen: dict[str, int] = {}
    ions = []
    for symbol, charge, radii in _TABLE:
        rank = seen.get(symbol, 0)
        seen[symbol] = rank + 1
        ions.append(Ion(symbol, charge, rank, tuple(sorted(radii.items()))))
    return tuple(ions)


IONS: tuple[Ion, ...] = _ions()


def ions_for(coordination: int) -> tuple[Ion, ...]:
    """Return the cations that fit a site with so many oxide neighbours."""
    return tuple(ion for ion in IONS if ion.fits(coordination))
