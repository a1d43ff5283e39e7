from __future__ import annotations

import dataclasses
import json
import math
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from gpnet_ray.errors import OracleError
from gpnet_ray.oracles.protocol import LabelOutcome
from gpnet_ray.oracles.settings import TableConfig
from gpnet_ray.oracles.table import TableOracle


def test_labels_come_by_id_and_in_order():
    oracle = TableOracle({"a": 1.5, "b": -2.0}, unit="eV")
    outcomes = oracle.label(["b", "a"], [None, None])
    assert [(o.material_id, o.status, o.value) for o in outcomes] == [
        ("b", "ok", -2.0),
        ("a", "ok", 1.5),
    ]
    assert oracle.unit == "eV"


def test_a_missing_or_nan_label_has_failed_with_a_reason():
    oracle = TableOracle({"a": math.nan, "b": 1.0}, unit="eV")
    missing, nan, fine = oracle.label(["x", "a", "b"], [None] * 3)
    assert (missing.status, missing.value) == ("failed", None)
    assert "not in the table" in missing.reason
    assert (nan.status, nan.value) == ("failed", None)
    assert "nan" in nan.reason
    assert fine.status == "ok"


def test_ids_and_structures_must_match():
    with pytest.raises(OracleError, match="2 ids but 1 structures"):
        TableOracle({}, unit="eV").label(["a", "b"], [None])


@pytest.mark.parametrize(
    ("status", "value", "reason", "tries", "seconds"),
    [
        ("ok", None, "", 1, 0.0),
        ("ok", math.nan, "", 1, 0.0),
        ("ok", math.inf, "", 1, 0.0),
        ("failed", None, "", 1, 0.0),
        ("failed", 1.0, "why", 1, 0.0),
        ("unconverged", 1.0, "why", 1, 0.0),
        ("done", 1.0, "", 1, 0.0),
        ("ok", 1.0, "", 0, 0.0),
        ("ok", 1.0, "", 1, -1.0),
        ("ok", 1.0, "", 1, math.nan),
        ("ok", "1.0", "", 1, 0.0),
        ("ok", [1.0], "", 1, 0.0),
        ("ok", b"3.5", "", 1, 0.0),
        ("ok", bytearray(b"3.5"), "", 1, 0.0),
        ("ok", memoryview(b"3.5"), "", 1, 0.0),
        ("ok", np.bytes_(b"3.5"), "", 1, 0.0),
        ("ok", np.array("3.5"), "", 1, 0.0),
        ("ok", True, "", 1, 0.0),
        ("ok", np.bool_(True), "", 1, 0.0),
        ("ok", np.array([True]), "", 1, 0.0),
        ("ok", np.array([1.0, 2.0]), "", 1, 0.0),
        ("ok", 1j, "", 1, 0.0),
        ("ok", np.complex64(1), "", 1, 0.0),
        ("ok", 10**400, "", 1, 0.0),
        pytest.param("ok", 10**5000, "", 1, 0.0, id="5,001 digits"),
        ("ok", 1.0, "", 1, True),
        ("ok", 1.0, "", 1, b"3.5"),
        ("ok", 1.0, "", 1.5, 0.0),
        ("ok", 1.0, "", 1, None),
    ],
)
def test_an_outcome_that_contradicts_itself_is_refused(status, value, reason, tries, seconds):
    with pytest.raises(OracleError, match="m-1"):
        LabelOutcome("m-1", status, value, reason, tries, seconds)


def test_an_oracle_may_answer_in_numpy_scalars():
    outcome = LabelOutcome("m-1", "ok", np.float32(1.5), "", np.int64(2), np.float64(0.25))
    assert json.loads(json.dumps(dataclasses.asdict(outcome))) == {
        "material_id": "m-1",
        "status": "ok",
        "value": 1.5,
        "reason": "",
        "tries": 2,
        "seconds": 0.25,
    }
    with pytest.raises(OracleError, match="m-1"):
        LabelOutcome("m-1", "ok", np.float32(np.nan), "", 1, 0.0)


@pytest.mark.parametrize(
    "value", [-3, np.int32(-3), np.array(-3.0), np.longdouble(-3), Decimal(-3), Fraction(-3)]
)
def test_a_real_number_of_any_kind_is_a_label(value):
    found = LabelOutcome("m-1", "ok", value, "", 1, 0.0).value
    assert (found, type(found)) == (-3.0, float)


IDS = [f"m-{n}" for n in range(300)]


def laboratory(seed: int = 0, **simulated: float) -> TableOracle:
    values = dict.fromkeys(IDS, 1.0)
    return TableOracle(values, unit="eV", simulated=TableConfig(**simulated), seed=seed)


def test_simulated_failures_depend_on_the_id_and_the_seed_alone():
    def failed(oracle: TableOracle, ids: list[str]) -> set[str]:
        outcomes = oracle.label(ids, [None] * len(ids))
        return {o.material_id for o in outcomes if o.status == "failed"}

    expected = failed(laboratory(failure_rate=0.2), IDS)
    # 300 draws of 0.2: mean 60, standard deviation 6.9; five of them are allowed.
    assert 25 < len(expected) < 95
    one_by_one = laboratory(failure_rate=0.2)
    assert {i for i in reversed(IDS) if failed(one_by_one, [i])} == expected
    assert failed(laboratory(seed=1, failure_rate=0.2), IDS) != expected
    (outcome,) = laboratory(failure_rate=0.999).label(["m-0"], [None])
    assert "simulated failure" in outcome.reason


def test_simulated_durations_have_the_asked_mean_and_spread(monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    ids = [f"m-{n}" for n in range(3000)]
    outcomes = laboratory(mean_seconds=10.0, std_seconds=5.0).label(ids, [None] * len(ids))
    assert [o.seconds for o in outcomes] == slept
    # Of 3000 draws, mean and standard deviation are good to 0.09 and 0.12; five of each are allowed.
    assert np.mean(slept) == pytest.approx(10.0, abs=0.45)
    assert np.std(slept) == pytest.approx(5.0, abs=0.6)
    again = laboratory(mean_seconds=10.0, std_seconds=5.0)
    assert again.label(ids[7:8], [None])[0].seconds == slept[7]
    with_failures = laboratory(mean_seconds=10.0, std_seconds=5.0, failure_rate=0.5)
    assert with_failures.label(ids[7:8], [None])[0].seconds == slept[7]
