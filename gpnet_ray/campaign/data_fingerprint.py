"""What a run's data are known by: the crystals as they were read, and not what is computed from them.

Which of two equally long bonds comes first, and the last digits of a lattice that was given by its angles, depend on
the processor (its width of vectors); a run has to be gone on with on another machine.
"""

from __future__ import annotations

from gpnet_ray.campaign.preparation import Problem
from gpnet_ray.data.crystal_hash import crystal_parts, hash_parts

__all__ = ["DataFingerprint", "data_fingerprint"]

_KIND = "crystals"


class DataFingerprint(str):
    """The hash as it stands in a journal; ``of_bonds`` stands in journals of before, and is the same data."""

    __slots__ = ("of_bonds",)
    of_bonds: str

    def __new__(cls, content: str, of_bonds: str) -> DataFingerprint:
        """From both hashes."""
        fingerprint = super().__new__(cls, content)
        fingerprint.of_bonds = of_bonds
        return fingerprint

    def __reduce__(self) -> tuple[type[DataFingerprint], tuple[str, str]]:
        """How a copy is made."""
        return DataFingerprint, (str(self), self.of_bonds)

    def is_that_of(self, journaled: object) -> bool:
        """Whether a journal speaks of the same data."""
        return journaled in (str(self), self.of_bonds)

    @staticmethod
    def is_of_crystals(journaled: str) -> bool:
        """Whether a journaled hash is not one of bonds."""
        return journaled.startswith(f"{_KIND}-")


def data_fingerprint(problem: Problem) -> DataFingerprint:
    """Hash ids, crystals with their global features, and targets."""
    dataset, graphs = problem.dataset, problem.graphs
    ids = "\n".join(dataset.ids).encode()
    targets = b"" if dataset.targets is None else dataset.targets
    state = (graphs.state,) if graphs.global_features else ()
    crystals = (part for structure in dataset.structures for part in crystal_parts(structure))
    bonds = (
        graphs.atomic_numbers,
        graphs.atom_offsets,
        graphs.bond_sources,
        graphs.bond_targets,
        graphs.bond_lengths_angstrom,
    )
    content = f"{_KIND}-{hash_parts(ids, *crystals, targets, *state)}"
    return DataFingerprint(content, of_bonds=hash_parts(ids, *bonds, targets, *state))
