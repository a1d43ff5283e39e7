"""The ASE oracle against ASE called by hand."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.label_folders import LabelFolders

pytest.importorskip("ase", reason="ase is not installed (gpnet-ray[ase])")

from ase import Atoms
from ase.calculators.calculator import Calculator, SCFError
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from gpnet_ray.oracles.ase_oracle import AseOracle

EMT_PATH = "ase.calculators.emt:EMT"
REFERENCES = {"Cu": -0.01, "Au": 0.002}


def copper_gold(a: float = 3.75, rattle: float = 0.1) -> Structure:
    draw = np.random.default_rng(0)
    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    crystal = Structure(Lattice.cubic(a), ["Au", "Cu", "Cu", "Cu"], sites)
    for number in range(4):
        crystal.translate_sites(number, draw.normal(scale=rattle, size=3), frac_coords=False)
    return crystal


def by_hand(crystal: Structure) -> Atoms:
    atoms = Atoms("AuCu3", positions=crystal.cart_coords, cell=crystal.lattice.matrix, pbc=True)
    atoms.calc = EMT()
    return atoms


def formation_energy(total: float) -> float:
    return (total - REFERENCES["Au"] - 3 * REFERENCES["Cu"]) / 4


def oracle_of(tmp_path, calculator: str = EMT_PATH, **options) -> AseOracle:
    folders = LabelFolders(tmp_path / "labels")
    options.setdefault("references", REFERENCES)
    return AseOracle(calculator, folders=folders, **options)


def test_a_single_point_is_what_ase_gives_by_hand(tmp_path):
    crystal = copper_gold()
    (outcome,) = oracle_of(tmp_path).label(["cu3au"], [crystal])
    assert outcome.status == "ok"
    # The same sums in the same order: rounding of the positions alone.
    expected = formation_energy(by_hand(crystal).get_potential_energy())
    assert outcome.value == pytest.approx(expected, abs=1e-10)
    assert list((tmp_path / "labels").iterdir()) == []


@pytest.mark.parametrize("relax", ["positions", "cell"])
def test_a_relaxation_is_what_ase_gives_by_hand(tmp_path, relax):
    crystal = copper_gold()
    options = {"optimizer": "LBFGS", "force_tolerance_ev_per_angstrom": 0.02}
    (outcome,) = oracle_of(tmp_path, relax=relax, **options).label(["cu3au"], [crystal])
    atoms = by_hand(crystal)
    before = atoms.get_potential_energy()
    optimizer = LBFGS(FrechetCellFilter(atoms) if relax == "cell" else atoms, logfile=None)
    assert optimizer.run(fmax=0.02, steps=200)
    after = atoms.get_potential_energy()
    assert after < before - 0.01
    # The same steps from positions that differ by rounding.
    assert outcome.value == pytest.approx(formation_energy(after), abs=1e-8)


def test_a_relaxation_that_uses_up_its_steps_is_unconverged(tmp_path):
    (outcome,) = oracle_of(tmp_path, relax="positions", max_steps=2).label(["x"], [copper_gold()])
    assert (outcome.status, outcome.value) == ("unconverged", None)
    assert "after 2 steps of BFGS" in outcome.reason


def test_charges_of_the_crystal_do_not_matter(tmp_path):
    crystal = copper_gold()
    charged = crystal.copy().add_oxidation_state_by_element({"Au": -3, "Cu": 1})
    first, second = oracle_of(tmp_path).label(["a", "b"], [crystal, charged])
    assert first.value == second.value


def test_one_bad_crystal_is_an_outcome_with_its_reason(tmp_path):
    # EMT knows metals only; iron has a reference here and no parameters there.
    iron = Structure(Lattice.cubic(2.8), ["Fe"], [[0, 0, 0]])
    oxide = Structure(Lattice.cubic(4.2), ["Cu", "O"], [[0, 0, 0], [0.5] * 3])
    oracle = oracle_of(tmp_path, references={**REFERENCES, "Fe": 0.0})
    bad, unknown, good = oracle.label(["fe", "cuo", "ok"], [iron, oxide, copper_gold()])
    assert bad.status == "failed"
    assert bad.reason.startswith("NotImplementedError")
    assert (unknown.status, unknown.reason) == ("failed", "no reference energy of O")
    assert good.status == "ok"
    assert [f.name for f in (tmp_path / "labels").iterdir()] == ["fe"]
    assert oracle.missing_references([oxide, oxide, iron]) == {"O": 2}


class Scripted(Calculator):
    """Gives what it is told to, and counts how often it is made."""

    implemented_properties = ("energy",)
    made = 0

    def __init__(self, answer=0.0) -> None:
        super().__init__()
        type(self).made += 1
        self.answer = answer

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.answer == "scf":
            raise SCFError("did not converge in 60 iterations")
        self.results = {"energy": float(self.answer)}


@pytest.fixture
def scripted(monkeypatch) -> str:
    import ase.calculators.emt

    monkeypatch.setattr(ase.calculators.emt, "Scripted", Scripted, raising=False)
    monkeypatch.setattr(Scripted, "made", 0)
    return "ase.calculators.emt:Scripted"


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ("scf", "unconverged", "60 iterations"),
        (float("nan"), "failed", "energy of nan"),
        (float("inf"), "failed", "energy of inf"),
    ],
)
def test_no_energy_is_no_label(tmp_path, scripted, answer, status, said):
    (outcome,) = oracle_of(tmp_path, scripted, keywords={"answer": answer}).label(
        ["x"], [copper_gold()]
    )
    assert outcome.status == status
    assert said in outcome.reason


@pytest.mark.parametrize(("reuse", "made"), [(True, 2), (False, 4)])
def test_a_calculator_can_serve_all_labels(tmp_path, scripted, reuse, made):
    oracle = oracle_of(tmp_path, scripted, reuse_calculator=reuse)
    outcomes = oracle.label(["a", "b", "c"], [copper_gold()] * 3)
    assert [o.status for o in outcomes] == ["ok"] * 3
    assert Scripted.made == made  # one of them was made to check the set-up


def test_the_oracle_can_be_sent_to_a_labeller(tmp_path):
    oracle = oracle_of(tmp_path, relax="positions")
    sent = pickle.loads(pickle.dumps(oracle))  # noqa: S301  what Ray does with it
    assert (
        sent.label(["a"], [copper_gold()])[0].value == oracle.label(["a"], [copper_gold()])[0].value
    )


def test_ids_and_structures_must_match(tmp_path):
    with pytest.raises(OracleError, match="2 ids but 1 structures"):
        oracle_of(tmp_path).label(["a", "b"], [copper_gold()])
