"""Importing the package and asking for help load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "ray", "pymatgen", "pandas", "matplotlib", "sklearn")


@pytest.mark.parametrize("module", ["gpnet_ray", "gpnet_ray.cli"])
def test_import_is_light(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_driver_imports_no_tensorflow() -> None:
    code = (
        "import sys, gpnet_ray.campaign.campaign, gpnet_ray.report.page, gpnet_ray.data.readers,"
        " gpnet_ray.data.hypothetical_oxides, gpnet_ray.oracles.ionic;"
        " print([m for m in ('tensorflow', 'tf_keras', 'keras', 'megnet') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_had() -> None:
    import gpnet_ray

    for name in gpnet_ray.__all__:
        assert getattr(gpnet_ray, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gpnet_ray.nothing
