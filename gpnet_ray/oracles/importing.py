"""Objects of other packages, named by import path in the configuration."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from gpnet_ray.errors import InputError, nearest_name_hint

__all__ = ["import_object", "make_object"]


def import_object(path: str, *, setting: str) -> Any:
    """Import what ``module:Name`` names.

    Args:
        path: such as ``ase.calculators.emt:EMT``.
        setting: where the path stands in the configuration, for messages.

    Raises:
        InputError: not such a path, or the module or the name in it does not exist.
    """
    module_name, separator, name = path.partition(":")
    if not (module_name and separator and name.isidentifier()):
        raise InputError(f"{setting}: {path!r} is no import path module:Name")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"{setting}: {module_name} cannot be imported ({error}); check the name, or install its"
            " package into the environment of gpnet-ray"
        ) from error
    if not hasattr(module, name):
        classes = [n for n, value in vars(module).items() if isinstance(value, type)]
        raise InputError(
            f"{setting}: {module_name} has no {name!r}: {nearest_name_hint(name, classes)}"
        )
    return getattr(module, name)


def make_object(path: str, keywords: Mapping[str, Any], *, setting: str) -> Any:
    """Make an object of the class at an import path; nested ``{object: …, keywords: …}`` are made first.

    Raises:
        InputError: the class cannot be imported or refuses its arguments.
    """
    made = {key: _made_value(value, setting=f"{setting}.{key}") for key, value in keywords.items()}
    maker = import_object(path, setting=setting)
    try:
        return maker(**made)
    # The class is anybody's and may refuse its arguments with an exception of any type.
    except Exception as error:
        raise InputError(
            f"{setting}: {path} cannot be made with the keywords {sorted(keywords)}:"
            f" {type(error).__name__}: {error}"
        ) from error


def _made_value(value: Any, *, setting: str) -> Any:
    """Make the object that a mapping describes; any other value is itself."""
    if isinstance(value, Mapping) and "object" in value and set(value) <= {"object", "keywords"}:
        return make_object(value["object"], value.get("keywords", {}), setting=setting)
    return value
