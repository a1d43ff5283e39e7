"""What a run ran on: package versions and the machine, for its record."""

from __future__ import annotations

import os
import platform
from importlib import metadata

from gpnet_ray import __version__

__all__ = ["machine", "versions"]

PACKAGES = (
    "ray",
    "megnet",
    "tensorflow",
    "tf-keras",
    "tensorflow-probability",
    "pymatgen",
    "numpy",
    "pyarrow",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    installed = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "gpnet_ray": __version__, **installed}


def machine() -> dict[str, str | int]:
    """The driver's machine, without anything that names a person or a host."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count() or 0,
    }
