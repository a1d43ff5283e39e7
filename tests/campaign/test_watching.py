"""What can be looked at while a loop goes on, and TensorBoard's curves of an arm."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.event_files import curves

from gpnet_ray.campaign import watching
from gpnet_ray.campaign.arm_record import ArmResult, CurvePoint, Pick
from gpnet_ray.campaign.run_folder import RunFolder
from gpnet_ray.campaign.tensorboard import CycleCurves
from gpnet_ray.campaign.watching import RunWatch
from gpnet_ray.oracles.protocol import LabelOutcome


def arm_after(cycles: int, *, strategy: Any = "max-sigma", known: bool = True) -> ArmResult:
    """An arm whose numbers tell the cycle; the network is trained again after cycle 2."""
    points = [CurvePoint(c, 10 + c, int(c > 2)) for c in range(cycles + 1)]
    if cycles >= 2:
        points.insert(3, CurvePoint(2, 12, 1))
    values = np.arange(len(points), dtype=np.float64)
    outcomes = [LabelOutcome(f"mp-{c}", "ok", -1.0, "", 1, 0.5) for c in range(1, cycles + 1)]
    return ArmResult(
        strategy=strategy,
        picks=tuple(Pick(c, 1.0 / c, None, outcome) for c, outcome in enumerate(outcomes, 1)),
        curve=tuple(points),
        test={name: values + n for n, name in enumerate(("mae", "rmse", "r2", "coverage_2sigma"))},
        unlabelled=dict.fromkeys(("mae", "rmse", "r2", "coverage_2sigma"), values * 2)
        if known
        else None,
        n_unlabelled=tuple(range(len(points))) if known else None,
        test_before=(("t",), np.zeros(1), np.ones(1)),
        test_after=(("t",), np.zeros(1), np.ones(1)),
        retrainings=(),
        jitter=0.0,
        n_clipped=0,
    )


def test_an_arm_s_curves_have_every_cycle_once_whatever_was_written_before(tmp_path: Path) -> None:
    interrupted = CycleCurves(tmp_path)
    interrupted.add(arm_after(1))
    interrupted.close()
    curve = CycleCurves(tmp_path)
    for cycles in (1, 1, 4):
        curve.add(arm_after(cycles))
    curve.close()
    read = curves(tmp_path)
    # After cycle 2 the error of the old network and of the new one.
    assert read["test/mae"] == [(0, 0.0), (1, 1.0), (2, 2.0), (2, 3.0), (3, 4.0), (4, 5.0)]
    assert read["unlabelled/mae"][-1] == (4, 10.0)
    # float32 in the file.
    assert dict(read["pick/sigma"]) == pytest.approx({1: 1, 2: 1 / 2, 3: 1 / 3, 4: 1 / 4}, rel=1e-7)
    assert {"test/rmse", "test/r2", "test/coverage_2sigma", "labelled"} < set(read)


def test_what_is_not_known_is_left_out_of_the_curves(tmp_path: Path) -> None:
    curve = CycleCurves(tmp_path)
    curve.add(arm_after(1, known=False))
    curve.close()
    assert "unlabelled/mae" not in curves(tmp_path)


def test_the_tables_follow_the_loop_every_few_seconds_with_the_arms_that_have_ended(
    tmp_path: Path,
) -> None:
    formulas = {f"mp-{c}": "NaCl" for c in range(1, 10)} | {"t": "MgO"}
    dataset = SimpleNamespace(unit="eV/atom", formulas=lambda: formulas)
    context = SimpleNamespace(folder=RunFolder(tmp_path))
    now = [0.0]
    watch = RunWatch(
        context,  # type: ignore[arg-type]
        SimpleNamespace(dataset=dataset),  # type: ignore[arg-type]
        {"t": -2.0},
        clock=lambda: now[0],
    )

    def grown(arm: ArmResult) -> None:
        watch.grown(lambda: SimpleNamespace(result=lambda: arm))  # type: ignore[arg-type,return-value]

    def picks() -> list[tuple[str, int]]:
        rows = pq.read_table(tmp_path / "picks.parquet").to_pylist()
        return [(row["strategy"], row["cycle"]) for row in rows]

    grown(arm_after(1))
    assert not (tmp_path / "picks.parquet").exists()
    now[0] += watching.EVERY_SECONDS
    grown(arm_after(2))
    assert picks() == [("max-sigma", 1), ("max-sigma", 2)]
    watch.ended(arm_after(3))
    now[0] += watching.EVERY_SECONDS
    grown(arm_after(1, strategy="random"))
    assert picks() == [*(("max-sigma", c) for c in (1, 2, 3)), ("random", 1)]
    assert len(pq.read_table(tmp_path / "metrics.parquet")) == 5 + 2
    assert {path.name for path in (tmp_path / "tensorboard").iterdir()} == {"max-sigma", "random"}
