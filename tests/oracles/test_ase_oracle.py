"""The ASE oracle against ASE called by hand."""

from __future__ import annotations

import json
import pickle
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.label_folders import LabelFolders

pytest.importorskip("ase", reason="ase is not installed (gpnet-ray[ase])")

from ase import Atoms
from ase.calculators.calculator import Calculator, FileIOCalculator, SCFError
from ase.calculators.emt import EMT
from ase.calculators.mixing import MixedCalculator
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


PROGRAM = """
import json, sys, time
from pathlib import Path
here = Path(sys.argv[0]).parent
if (here / sys.argv[1]).exists():
    sys.exit(0)
waits = int((here / "labellers").read_text())
def all_have(step):
    (here / f"{step}.{sys.argv[2]}").touch()
    end = time.monotonic() + 30
    while len(list(here.glob(f"{step}.*"))) < waits and time.monotonic() < end:
        time.sleep(0.01)
all_have("begun")
energy = -sum(json.loads(Path("dft.in").read_text()))
Path("dft.out").write_text(json.dumps(energy))
all_have("written")
"""
"""A DFT program: reads its input, writes its output, in the folder in which it is started.

With several labellers, all write their input before one reads it, and their output before one ends. Where
a file of the name that it is given lies beside it, it ends with code 0 and has written nothing.
"""


class FileDFT(FileIOCalculator):
    """A calculator as ASE's own are: input file, program, output file, all in its ``directory``."""

    implemented_properties = ("energy", "free_energy")

    def __init__(self, program, silent="silent", **keywords) -> None:
        argv = [sys.executable, str(program), silent, "NAME"]
        super().__init__(command=shlex.join(argv), **keywords)

    def write_input(self, atoms, properties=None, system_changes=None) -> None:
        super().write_input(atoms, properties, system_changes)
        Path(self.directory, "dft.in").write_text(json.dumps(atoms.numbers.tolist()))
        self.command = self.command.replace("NAME", str(atoms.symbols))

    def read_results(self) -> None:
        energy = float(json.loads(Path(self.directory, "dft.out").read_text()))
        self.results = {"energy": energy, "free_energy": energy}


class Hides(Calculator):
    """Holds another calculator where nobody can find it."""

    implemented_properties = ("energy",)

    def __init__(self, program) -> None:
        super().__init__()
        inner = FileDFT(program)
        self.ask = lambda atoms: inner.get_property("energy", atoms.copy())

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": self.ask(atoms)}


WHOLE = ("Au", "Cu")
WRAPPED = {
    "bare": lambda program: FileDFT(program),
    "mixed": lambda program: MixedCalculator(
        FileDFT(program), FileDFT(program, "second"), 0.5, 0.5
    ),
    "elsewhere": lambda program: MixedCalculator(
        FileDFT(program, directory=program.parent), Scripted(), 1.0, 1.0
    ),
    "hidden": lambda program: Hides(program),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Make an oracle that runs ``PROGRAM``, in processes that share their current folder."""
    import ase.calculators.emt

    program = tmp_path / "shared" / "dft.py"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    (program.parent / "labellers").write_text("1")
    monkeypatch.chdir(program.parent)

    def made(wrapped, **options) -> AseOracle:
        maker = lambda: WRAPPED[wrapped](program)  # noqa: E731  monkeypatch wants a value
        monkeypatch.setattr(ase.calculators.emt, "Wrapped", maker, raising=False)
        references = dict.fromkeys(WHOLE, 0.0)
        return oracle_of(tmp_path, "ase.calculators.emt:Wrapped", references=references, **options)

    return made


def element(symbol: str) -> Structure:
    return Structure(Lattice.cubic(4.0), [symbol], [[0, 0, 0]])


ENERGIES = {"Cu": -29.0, "Au": -79.0}


@pytest.mark.parametrize("wrapped", ["bare", "elsewhere", "hidden"])
def test_labellers_at_work_at_the_same_time_do_not_read_each_others_files(files, wrapped):
    oracle = files(wrapped)
    Path("labellers").write_text("2")
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as labellers:
        asked = {i: labellers.submit(oracle.label, [i], [element(i)]) for i in ENERGIES}
        found = {i: answer.result()[0] for i, answer in asked.items()}
    assert {i: (o.value, o.reason) for i, o in found.items()} == {
        i: (energy, "") for i, energy in ENERGIES.items()
    }


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("wrapped", list(WRAPPED))
def test_a_program_that_writes_nothing_gives_no_energy_of_the_crystal_before(files, wrapped, reuse):
    oracle = files(wrapped, reuse_calculator=reuse)
    (first,) = oracle.label(["first"], [element("Cu")])
    assert first.value == ENERGIES["Cu"]
    Path("silent").touch()
    (outcome,) = oracle.label(["second"], [element("Au")])
    assert (outcome.status, outcome.value) == ("failed", None)
    assert "dft.out" in outcome.reason


def test_a_wrapped_program_that_writes_nothing_gives_no_energy_of_the_one_beside_it(files):
    oracle = files("mixed")
    Path("second").touch()
    (outcome,) = oracle.label(["Cu"], [element("Cu")])
    assert (outcome.status, outcome.value) == ("failed", None)


@pytest.mark.parametrize("silent", [False, True])
def test_after_a_label_the_process_is_where_it_was(files, silent):
    before = Path.cwd()
    oracle = files("hidden")
    if silent:
        Path("silent").touch()
    (outcome,) = oracle.label(["Cu"], [element("Cu")])
    assert outcome.status == ("failed" if silent else "ok")
    assert Path.cwd() == before
    assert not list(before.glob("dft.[io]*"))
