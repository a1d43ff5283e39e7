"""What an arm picked more often than random picks would have: elements, formulas, stoichiometries.

Random picks without replacement hold a given kind of material a hypergeometrically distributed number of
times; that is what the counts are compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gpnet_ray.errors import InputError

__all__ = ["Enriched", "Enrichment", "enrichment"]

FEWEST_IN_POOL = 2
"""A formula or stoichiometry that the pool holds once can be picked or not; that says nothing of a kind."""


@dataclass(frozen=True)
class Enriched:
    """How often materials of one kind were picked, and how often random picks would have held them.

    Attributes:
        name: The element, formula or stoichiometry.
        n_pool: Materials of this kind in the pool.
        n_picked: Those of them that were picked.
        expected: Mean of the hypergeometric distribution.
        low: Its 2.5 % quantile.
        high: Its 97.5 % quantile.
        deviation: ``n_picked − expected`` in its standard deviations; 0 where that is 0.
        p_value: Probability of ``n_picked`` or more by chance. Of many kinds some are small by chance:
            compare it with 0.05 over the number tested (Bonferroni).
    """

    name: str
    n_pool: int
    n_picked: int
    expected: float
    low: float
    high: float
    deviation: float
    p_value: float

    @property
    def ratio(self) -> float:
        """Picked over expected: 2.0 is twice as often as by chance."""
        return self.n_picked / self.expected


@dataclass(frozen=True)
class Enrichment:
    """Kinds of material in the picks of one arm, by standard deviations above chance (``deviation``).

    Attributes:
        n_pool: Materials in the pool.
        n_picked: Materials picked from it.
        elements: Every element of the pool; a material counts once for each of its elements.
        formulas: Reduced formulas that the pool holds at least twice (polymorphs).
        stoichiometries: Anonymous formulas, such as ABC3 for SrTiO3, that the pool holds at least twice.
    """

    n_pool: int
    n_picked: int
    elements: tuple[Enriched, ...]
    formulas: tuple[Enriched, ...]
    stoichiometries: tuple[Enriched, ...]


def enrichment(pool: Mapping[str, str], picked: Sequence[str]) -> Enrichment:
    """Compare the picks of an arm with random picks from the same pool.

    Args:
        pool: Reduced formula of every material that could be picked, by id.
        picked: Ids that were picked, each once.

    Raises:
        InputError: no picks, an id twice, or one that is not in the pool.
    """
    strange = [i for i in picked if i not in pool]
    if not picked or strange or len(set(picked)) != len(picked):
        what = f"hold {strange[0]!r}, which is not in the pool" if strange else "name an id twice"
        raise InputError(
            f"{len(picked)} picks {what if picked else 'are nothing to compare'}; give each picked id"
            " of the pool once"
        )
    chosen = [pool[i] for i in picked]

    def compared(kinds: dict[str, tuple[str, ...]], fewest: int) -> tuple[Enriched, ...]:
        in_pool = _counted(pool.values(), kinds)
        in_picks = _counted(chosen, kinds)
        names = [name for name, n in in_pool.items() if n >= fewest]
        counts = [(in_pool[name], in_picks[name]) for name in names]
        return _compared(names, counts, n_pool=len(pool), n_picked=len(picked))

    kinds = {formula: _kinds(formula) for formula in set(pool.values())}
    return Enrichment(
        n_pool=len(pool),
        n_picked=len(picked),
        elements=compared({f: elements for f, (elements, _) in kinds.items()}, 1),
        formulas=compared({f: (f,) for f in kinds}, FEWEST_IN_POOL),
        stoichiometries=compared(
            {f: (anonymous,) for f, (_, anonymous) in kinds.items()}, FEWEST_IN_POOL
        ),
    )


def _kinds(formula: str) -> tuple[tuple[str, ...], str]:
    """Elements and anonymous formula of a formula."""
    from pymatgen.core import Composition

    composition = Composition(formula)
    elements = tuple(element.symbol for element in composition.elements)
    return elements, str(composition.anonymized_formula)


def _counted(formulas: Iterable[str], kinds: Mapping[str, tuple[str, ...]]) -> Counter[str]:
    return Counter(kind for formula in formulas for kind in kinds[formula])


def _compared(
    names: Sequence[str], counts: Sequence[tuple[int, int]], *, n_pool: int, n_picked: int
) -> tuple[Enriched, ...]:
    from scipy import stats

    if not names:
        return ()
    of_pool, of_picks = np.array(counts, dtype=np.int64).T
    chance = stats.hypergeom(n_pool, of_pool, n_picked)
    # SciPy works out the kurtosis along with the variance, which kinds that all or none have lack.
    with np.errstate(divide="ignore", invalid="ignore"):
        expected, spread = chance.mean(), chance.std()
    surplus = of_picks - expected
    deviation = np.divide(surplus, spread, out=np.zeros_like(surplus), where=spread > 0)
    columns = (expected, chance.ppf(0.025), chance.ppf(0.975), deviation, chance.sf(of_picks - 1))
    rows = zip(
        names, of_pool.tolist(), of_picks.tolist(), *(c.tolist() for c in columns), strict=True
    )
    return tuple(sorted((Enriched(*row) for row in rows), key=lambda e: (-e.deviation, e.name)))
