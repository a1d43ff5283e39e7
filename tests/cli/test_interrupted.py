"""What Ctrl-C says is true of what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import Run

from gpnet_ray.campaign.campaign import Campaign


@pytest.mark.parametrize("has_begun", [False, True])
def test_going_on_is_advised_only_where_something_was_begun(
    run_here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_begun: bool
) -> None:
    def run(_: Campaign, **__: object) -> None:
        if has_begun:
            (tmp_path / "runs" / "mine").mkdir(parents=True)
            (tmp_path / "runs" / "mine" / "journal.jsonl").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Campaign, "run", run)
    done = run_here("run", "--train", "30", "--test", "10", "--cycles", "5", "--name", "mine")
    assert done.returncode == 130
    assert ("--resume" in done.stderr) == has_begun
    assert ("before anything was begun" in done.stderr) != has_begun
