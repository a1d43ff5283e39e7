"""What a driver reads from the GP's actors has to load where TensorFlow is not wanted."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from gpnet_ray.gp.fit_records import FitResult, FitStep
from gpnet_ray.gp.messages import Block, PlannedCycle, PosteriorSnapshot, Proposal, Touched
from gpnet_ray.gp.scaling import LatentScaler
from gpnet_ray.gp.selection import plan_cycles
assert FitResult.__module__ == FitStep.__module__ == "gpnet_ray.gp.fit_records"
assert "tensorflow" not in sys.modules and "ray" not in sys.modules
"""


def test_messages_and_fit_results_load_without_tensorflow():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
