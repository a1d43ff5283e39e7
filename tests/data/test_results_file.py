"""What users write into the form, and what they get wrong: refused by line, the rest is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpnet_ray.data.results_file import FormRow, Result, form_text, read_ids, read_results
from gpnet_ray.errors import DataError

UNIT = "eV/atom"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "results.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_form_comes_back_as_all_open(tmp_path: Path) -> None:
    rows = [FormRow('mp-1,"x"', "MgO", 0.25, -3.0, "mp-1.poscar"), FormRow("b", "CaO", 1, 2, "")]
    results = read_results(write(tmp_path, form_text(rows, unit=UNIT)), unit=UNIT)
    assert (results.rows, results.refused, results.n_open) == ((), (), 2)


def test_the_form_names_the_conditions_that_a_label_is_asked_for(tmp_path: Path) -> None:
    row = FormRow("a", "MgO", 0.25, -3.0, "", 7, {"pressure_GPa": 0.1 + 0.2, "other": 1.0})
    path = write(tmp_path, form_text([row], unit=UNIT, global_features=["pressure_GPa"]))
    head, line = path.read_text().splitlines()
    assert dict(zip(head.split(","), line.split(","), strict=True))["pressure_GPa"] == repr(
        0.1 + 0.2
    )
    assert "other" not in head
    path.write_text(f"{head}\n{line[:-2]}-3.5,,\n")
    (result,) = read_results(path, unit=UNIT).rows
    assert (result.material_id, result.value) == ("a", -3.5)


def test_values_failures_and_open_rows(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "material_id,unit,value,status,reason,note\n"
        "a,eV/atom,-1.25e0,,,fine\n"
        "b,eV/atom,,failed,SCF diverged,\n"
        "\n"
        "c,eV/atom,,,,running\n"
        'd,eV/atom,,Unconverged,"200 steps,\nstill moving",\n'
        "e,eV/atom, 2 ,ok,,\n",
    )
    results = read_results(path, unit=UNIT)
    assert results.refused == ()
    assert (results.n_open, results.open_ids) == (1, ("c",))
    assert results.rows == (
        Result(2, "a", "ok", -1.25, ""),
        Result(3, "b", "failed", None, "SCF diverged"),
        Result(6, "d", "unconverged", None, "200 steps,\nstill moving"),
        # The row above spans lines 6 and 7.
        Result(8, "e", "ok", 2.0, ""),
    )


def test_a_failure_says_which_request_it_answers_and_the_latest_counts(tmp_path: Path) -> None:
    asked = [FormRow("a", "MgO", 0.25, -3.0, "", request) for request in (2, 11)]
    head, *lines = form_text([*asked, FormRow("b", "CaO", 1, 2, "")], unit=UNIT).splitlines()
    filled = [f"{line[:-2]},failed,crash" for line in lines]
    path = write(tmp_path, "\n".join([head, *filled, ""]))
    first, second = read_results(path, unit=UNIT).rows
    assert (first.material_id, first.line, first.request) == ("a", 3, 11)
    assert (second.material_id, second.request) == ("b", None)
    path.write_text(path.read_text().replace(",11,", ",11.0,"))
    assert read_results(path, unit=UNIT).rows[0].request == 11
    path.write_text(path.read_text().replace(",11.0,", ",eleven,"))
    (row,) = read_results(path, unit=UNIT).refused
    assert (row.line, "'eleven' is no whole number" in row.reason) == (3, True)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,eV/atom,minus one,,", "'minus one' is not a finite number"),
        ("a,eV/atom,nan,,", "'nan' is not a finite number"),
        ("a,eV/atom,inf,,", "'inf' is not a finite number"),
        ("a,eV,-1.0,,", "the unit is eV and has to be eV/atom"),
        ("a,,-1.0,,", "no unit"),
        ("a,eV/atom,-1,25,,", "6 cells where the head names 5"),
        ("a,eV/atom,-1.0,failed,crash", "leave one of them empty"),
        ("a,eV/atom,,failed,", "without a reason"),
        ("a,eV/atom,,,crash", "a reason without a status"),
        ("a,eV/atom,,ok,", "status ok without a value"),
        ("a,eV/atom,,faild,crash", "did you mean 'failed'"),
        (",eV/atom,-1.0,,", "no material_id"),
        ("a,eV/atom,-1.0,,crash", "leave one of them empty"),
        ("a,eV/atom,-1.0,ok,crash", "leave one of them empty"),
        ("a,eV/atom,-3_06,,", "'-3_06' has an underscore"),
        ("a,eV/atom,-3,06,", "write -3.06, or -3.0 where 06 is the cell of the column 'status'"),
        ("a,eV/atom", "2 cells where the head names 5, so value is missing"),
    ],
)
def test_a_wrong_row_is_refused_by_its_line_and_the_others_are_read(
    tmp_path: Path, row: str, said: str
) -> None:
    path = write(
        tmp_path, f"material_id,unit,value,status,reason\nx,eV/atom,1,,\n{row}\ny,eV/atom,2,,\n"
    )
    results = read_results(path, unit=UNIT)
    assert [(r.material_id, r.value) for r in results.rows] == [("x", 1.0), ("y", 2.0)]
    (refused,) = results.refused
    assert refused.line == 3
    assert said in refused.reason


@pytest.mark.parametrize(
    ("head", "row", "said"),
    [
        ("material_id,value,reason", "a,-3,06", "write -3.06"),
        ("material_id,value,note", "a,-3,06", "write -3.06"),
        ("material_id,value,note", "a,+3,06e-1", r"write \+3.06e-1"),
        ("material_id,value,note", "a,-1,234.56", r"write -1234.56, or -1.0 where 234.56 is"),
        ("material_id,value,note", "a,1,234.", r"write 1234., or 1.0"),
        ("material_id,value,note", "a,-1,234", r"write -1.234, -1234, or -1.0 where 234 is"),
        ("material_id,value,reason", "a,-3,crash", "the value -3 and the reason 'crash'"),
        ("value,material_id", "-3.5", "so material_id is missing"),
        ("material_id,note,value", "a,running", "so value is missing"),
    ],
)
def test_a_row_that_a_comma_too_many_or_too_few_has_shifted_is_refused(
    tmp_path: Path, head: str, row: str, said: str
) -> None:
    results = read_results(write(tmp_path, f"{head}\n{row}\n"), unit=UNIT, stated_unit="eV/atom")
    assert results.rows == ()
    (refused,) = results.refused
    assert refused.line == 2
    assert re.search(said, refused.reason)


@pytest.mark.parametrize(
    "row", ["a,-3,fine", "a,-3.0,06", "a,-3e0,06", "a,-3,", "a,-3", "a,-3,0.6"]
)
def test_what_stands_in_a_column_of_the_users_own_is_passed_over(tmp_path: Path, row: str) -> None:
    path = write(tmp_path, f"material_id,value,note\n{row}\n")
    results = read_results(path, unit=UNIT, stated_unit="eV/atom")
    assert [r.value for r in results.rows] == [-3.0]


def test_the_same_answer_twice_counts_once_and_of_two_answers_none(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "material_id,unit,value,status,reason\n"
        "a,eV/atom,1.0,,\nb,eV/atom,2,,\na,eV/atom,1.00,,\nb,eV/atom,2.5,,\nc,eV/atom,3,,\n"
        "c,eV/atom,,failed,crash\n",
    )
    results = read_results(path, unit=UNIT)
    assert [(r.line, r.material_id, r.value) for r in results.rows] == [(2, "a", 1.0)]
    assert [(r.line, r.material_id) for r in results.refused] == [
        (3, "b"),
        (5, "b"),
        (6, "c"),
        (7, "c"),
    ]
    assert "line 5" in results.refused[0].reason


def test_the_unit_can_be_stated_for_a_file_without_one_but_not_another_unit(tmp_path: Path) -> None:
    path = write(tmp_path, "material_id,value\na,1.5\n")
    assert "no unit" in read_results(path, unit=UNIT).refused[0].reason
    stated = read_results(path, unit=UNIT, stated_unit="eV/atom")
    assert [r.value for r in stated.rows] == [1.5]
    with pytest.raises(DataError, match="not in kJ/mol"):
        read_results(path, unit=UNIT, stated_unit="kJ/mol")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "material_id"),
        ("id,value\na,1\n", "'material_id'"),
        ("material_id,energy\na,1\n", "'value'"),
        ("material_id,value,value\na,1,2\n", "2 columns are called 'value'"),
        ("material_id,unit,value,Unit\na,eV/atom,1,eV\n", "2 columns are called 'unit'"),
        ("material_id,value,status,status\na,1,,failed\n", "2 columns are called 'status'"),
        ("material_id;value\na;1\n", "semicolons"),
        ('material_id,value\na,"1\n', "no CSV"),
    ],
)
def test_a_file_that_is_no_form_is_refused_as_a_whole(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_results(write(tmp_path, text), unit=UNIT)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        read_results(tmp_path / "none.csv", unit=UNIT)
    (tmp_path / "table.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(DataError, match=r"table\.csv cannot be read"):
        read_results(tmp_path / "table.csv", unit=UNIT)


def test_a_file_saved_by_a_spreadsheet_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes("material_id,unit,value\r\na,eV/atom,1\r\n".encode("utf-8-sig"))
    assert [r.value for r in read_results(path, unit=UNIT).rows] == [1.0]


def test_ids_are_read_from_any_file_that_names_them(tmp_path: Path) -> None:
    rows = [FormRow("mp-1", "MgO", 0.25, -3.0, ""), FormRow("b,c", "", 1, 2, "")]
    assert read_ids(write(tmp_path, form_text(rows, unit=UNIT))) == ("mp-1", "b,c")
    assert read_ids(write(tmp_path, "material_id,unit,unit,value\na\nb,,,-3\n")) == ("a", "b")
    assert read_ids(write(tmp_path, "why,Material_ID\ntoxic,a\n\n,b\n,a\n")) == ("a", "b")
    with pytest.raises(DataError, match="line 3: no material_id"):
        read_ids(write(tmp_path, "why,material_id\ntoxic,a\ntoxic\n"))
    with pytest.raises(DataError, match="'material_id' and one has to be"):
        read_ids(write(tmp_path, "id\na\n"))
