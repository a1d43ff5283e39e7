"""Every charge-balanced choice of cations for the sites of a prototype, in an order that a seed decides.

A sublattice holds one cation (an *ideal* decoration) or two of different elements, ordered over its
sites (a *mixed* one: double perovskites, ordered spinels, …). The choices are counted rather than
listed, so that a million can be drawn without repetition and without memory of those drawn before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, permutations, product
from typing import TypeAlias

from gpnet_ray.data.ions import IONS, OXIDE_CHARGE, Ion, ions_for
from gpnet_ray.data.permutation import permuted_indices
from gpnet_ray.data.prototype_cells import prototype_cell
from gpnet_ray.data.prototypes import ANION, Prototype

__all__ = ["Decoration", "Filling", "decorations"]

Filling: TypeAlias = tuple[tuple[Ion, int], ...]
"""The cations of one sublattice, each with its number of sites."""


@dataclass(frozen=True)
class Decoration:
    """A choice of cations.

    Attributes:
        prototype: the structure type.
        ordering: name of its supercell; empty for the primitive cell.
        fillings: one for each cation sublattice, in the order of ``prototype.coordination``.
    """

    prototype: Prototype
    ordering: str
    fillings: tuple[Filling, ...]

    @property
    def name(self) -> str:
        """``perovskite-Sr-Ti``, or ``perovskite.elpasolite-Ba-MgW`` for an ordered mixture."""
        kind = f"{self.prototype.name}.{self.ordering}" if self.ordering else self.prototype.name
        return "-".join((kind, *(_filling_name(filling) for filling in self.fillings)))

    def occupations(self) -> Iterator[tuple[Ion, int, tuple[int, ...]]]:
        """Yield every cation, its coordination number and its sites in the cell."""
        cell = prototype_cell(self.prototype.name, self.ordering)
        for (sublattice, coordination), filling in zip(
            self.prototype.coordination.items(), self.fillings, strict=True
        ):
            begin = 0
            for ion, number in filling:
                yield ion, coordination, cell.sites[sublattice][begin : begin + number]
                begin += number


def decorations(prototype: Prototype, *, mixed: bool, seed: int) -> Iterator[Decoration]:
    """Yield the decorations of a prototype that make sense, each once, in a seeded order.

    Args:
        prototype: the structure type.
        mixed: those with two cations on at least one sublattice, rather than the ideal ones.
        seed: decides the order alone.
    """
    blocks = list(_blocks(prototype, mixed=mixed))
    ends = list(accumulate(block.size for block in blocks))
    if not ends:
        return
    purpose = f"{'mixed' if mixed else 'ideal'} decorations of {prototype.name}"
    for index in permuted_indices(ends[-1], seed=seed, purpose=purpose):
        number = bisect_right(ends, index)
        block = blocks[number]
        fillings = block.fillings_at(index - (ends[number] - block.size))
        if _is_sensible(prototype, fillings):
            yield Decoration(prototype, block.ordering, fillings)


@dataclass(frozen=True)
class _Block:
    """All combinations of one filling from each list; their charges balance the oxide ions."""

    ordering: str
    choices: tuple[Sequence[Filling], ...]

    @property
    def size(self) -> int:
        size = 1
        for choice in self.choices:
            size *= len(choice)
        return size

    def fillings_at(self, index: int) -> tuple[Filling, ...]:
        chosen = []
        for choice in self.choices:
            index, position = divmod(index, len(choice))
            chosen.append(choice[position])
        return tuple(chosen)


def _blocks(prototype: Prototype, *, mixed: bool) -> Iterator[_Block]:
    orderings = ("", *prototype.supercells) if mixed else ("",)
    for ordering in orderings:
        cell = prototype_cell(prototype.name, ordering)
        charge = -OXIDE_CHARGE * len(cell.sites[ANION])
        for mixing in product((False, True), repeat=len(prototype.coordination)):
            if any(mixing) != mixed:
                continue
            by_charge = [
                _fillings_by_charge(number, len(cell.sites[sublattice]), mixed=is_mixed)
                for (sublattice, number), is_mixed in zip(
                    prototype.coordination.items(), mixing, strict=True
                )
            ]
            for charges in product(*(sorted(table) for table in by_charge)):
                if sum(charges) == charge:
                    choices = (table[q] for table, q in zip(by_charge, charges, strict=True))
                    yield _Block(ordering, tuple(choices))


def _fillings_by_charge(
    coordination: int, n_sites: int, *, mixed: bool
) -> dict[int, list[Filling]]:
    table: dict[int, list[Filling]] = defaultdict(list)
    ions = ions_for(coordination)
    if not mixed:
        for ion in ions:
            table[ion.charge * n_sites].append(((ion, n_sites),))
        return table
    for number in range(1, n_sites // 2 + 1):
        rest = n_sites - number
        # With as many sites of either kind, exchanging the two ions gives the same crystal.
        pairs = combinations(ions, 2) if number == rest else permutations(ions, 2)
        for one, other in pairs:
            if one.symbol != other.symbol:
                filling = tuple(sorted(((one, number), (other, rest)), key=_site_order))
                table[one.charge * number + other.charge * rest].append(filling)
    return table


def _site_order(entry: tuple[Ion, int]) -> tuple[int, str]:
    ion, number = entry
    return number, ion.symbol


def _is_sensible(prototype: Prototype, fillings: tuple[Filling, ...]) -> bool:
    """Leave out what another decoration stands for already, and large ions on the smaller site."""
    if not _has_the_commonest_charges(prototype, fillings):
        return False
    if len(fillings) == 1:
        return True
    first, second = prototype.coordination.values()
    if prototype.interchangeable:
        return _exchange_order(fillings[0]) < _exchange_order(fillings[1])
    return first <= second or _mean_radius(fillings[0]) > _mean_radius(fillings[1])


def _exchange_order(filling: Filling) -> tuple[int, str]:
    # By the elements' commonest charges, not by those that they have here: Fe2+ Ce4+ and Fe3+ Ce3+
    # would otherwise both be made, one as Fe-Ce and one as Ce-Fe, and be one crystal.
    charge = sum(_OF_ELEMENT[ion.symbol][0].charge * number for ion, number in filling)
    return charge, _filling_name(filling)


def _mean_radius(filling: Filling) -> float:
    total = sum(ion.octahedral_radius * number for ion, number in filling)
    return total / sum(number for _, number in filling)


def _has_the_commonest_charges(prototype: Prototype, fillings: tuple[Filling, ...]) -> bool:
    """Whether no other charges of the same elements on the same sites balance and are commoner."""
    slots = [
        (ion, number, coordination)
        for filling, coordination in zip(fillings, prototype.coordination.values(), strict=True)
        for ion, number in filling
    ]
    if all(len(_OF_ELEMENT[ion.symbol]) == 1 for ion, _, _ in slots):
        return True
    alternatives = (
        [other for other in _OF_ELEMENT[ion.symbol] if other.fits(coordination)]
        for ion, _, coordination in slots
    )
    numbers = [number for _, number, _ in slots]
    charge = sum(ion.charge * number for ion, number, _ in slots)
    balanced = (
        ions
        for ions in product(*alternatives)
        if sum(ion.charge * number for ion, number in zip(ions, numbers, strict=True)) == charge
    )
    commonest = min(
        balanced,
        key=lambda ions: (
            sum(ion.rank * number for ion, number in zip(ions, numbers, strict=True)),
            [ion.charge for ion in ions],
        ),
    )
    return commonest == tuple(ion for ion, _, _ in slots)


def _filling_name(filling: Filling) -> str:
    smallest = min(number for _, number in filling)
    return "".join(
        ion.symbol + (str(number // smallest) if number != smallest else "")
        for ion, number in filling
    )


def _ions_of_elements() -> dict[str, tuple[Ion, ...]]:
    table: dict[str, tuple[Ion, ...]] = {}
    for ion in IONS:
        table[ion.symbol] = (*table.get(ion.symbol, ()), ion)
    return table


_OF_ELEMENT = _ions_of_elements()
