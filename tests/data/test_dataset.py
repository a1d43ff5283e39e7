from __future__ import annotations

import numpy as np
import pytest

from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.errors import DataError, InputError


def make(crystals, **changes):
    fields = {
        "ids": tuple(crystals),
        "structures": tuple(crystals.values()),
        "targets": np.array([1.0, 2.0, 3.0]),
        "target": "energy",
        "unit": "eV",
        "source": "memory",
        "label_note": "made up",
    }
    return MaterialsDataset(**{**fields, **changes})


def test_select_follows_the_ids_and_not_the_rows(crystals):
    part = make(crystals).select(["mp-5", "mp-9"])
    assert part.ids == ("mp-5", "mp-9")
    assert part.targets.tolist() == [3.0, 1.0]
    assert part.formulas() == {"mp-5": "SrTiO3", "mp-9": "MgO"}
    assert part.structures == (crystals["mp-5"], crystals["mp-9"])


def test_targets_cannot_be_changed_from_outside(crystals):
    targets = np.array([1.0, 2.0, 3.0])
    dataset = make(crystals, targets=targets)
    targets[0] = 99.0
    assert dataset.targets[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        dataset.targets[0] = 99.0


def test_formulas_leave_charges_out(crystals):
    charged = crystals["mp-9"].copy()
    charged.add_oxidation_state_by_element({"Mg": 2, "O": -2})
    dataset = make(crystals, structures=(charged, crystals["mp-2"], crystals["mp-5"]))
    assert dataset.formulas()["mp-9"] == "MgO"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": ("a", "b", "a")}, "duplicate ids: a"),
        ({"ids": ("a", "", "c")}, "no id in row 2"),
        ({"ids": ("a", "b")}, "2 ids but 3 structures"),
        ({"ids": (), "structures": (), "targets": None}, "no materials are left"),
        ({"targets": np.array([1.0, 2.0])}, r"shape \(2,\), expected \(3,\)"),
        ({"targets": np.array([1.0, np.nan, 3.0])}, r"mp-2 \(row 2: nan\)"),
        ({"targets": np.array([np.inf, 1.0, 3.0])}, r"mp-9 \(row 1: inf\)"),
    ],
)
def test_what_cannot_be_a_dataset_is_refused(crystals, changes, message):
    with pytest.raises(DataError, match=message):
        make(crystals, **changes)


def test_a_single_text_is_not_read_letter_by_letter(crystals):
    dataset = make(crystals, ids=("a", "b", "c"))
    with pytest.raises(InputError, match=r"not the text 'cab'; give a list: \['cab'\]"):
        dataset.select("cab")
    with pytest.raises(InputError, match=r"an id is a text, not 7 \(int\)"):
        dataset.select(["a", 7])


def test_unknown_or_repeated_ids_cannot_be_selected(crystals):
    dataset = make(crystals)
    with pytest.raises(DataError, match="'mp-77'"):
        dataset.select(["mp-77"])
    with pytest.raises(DataError, match="duplicate ids: mp-9"):
        dataset.select(["mp-9", "mp-9"])
