"""Where a configuration comes from, and how a fault in it is told.

A preset (``presets/*.yaml``), a user's YAML file and command-line options are laid over each other in
this order and validated once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources as importlib_resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gpnet_ray.config import Config
from gpnet_ray.errors import InputError, nearest_name_hint
from gpnet_ray.storage.settings import NOT_TO_BE_SHOWN

__all__ = ["load_config", "preset_names"]


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = importlib_resources.files("gpnet_ray") / "presets"
    return sorted(
        p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")
    )


def load_config(
    *,
    preset: str | None = None,
    file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Lay a preset, a YAML file and dotted overrides (``{"training.epochs": 30}``) over the defaults.

    Raises:
        InputError: unknown preset or key (with the nearest valid name), a value of the wrong kind,
            a file that is missing or is not a YAML mapping.
    """
    tree: dict[str, Any] = {}
    if preset is not None:
        if preset not in preset_names():
            raise InputError(
                f"unknown preset {preset!r}: {nearest_name_hint(preset, preset_names())}"
            )
        source = importlib_resources.files("gpnet_ray") / "presets" / f"{preset}.yaml"
        _merge(tree, _parse_yaml(source.read_text("utf-8"), where=f"preset {preset}"))
    if file is not None:
        file = Path(file)
        if not file.is_file():
            raise InputError(f"configuration file {file} does not exist; give --config a YAML file")
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"configuration file {file} cannot be read: {error}") from None
        _merge(tree, _parse_yaml(text, where=str(file)))
    for key, value in (overrides or {}).items():
        branch: Any = value
        for part in reversed(key.split(".")):
            branch = {part: branch}
        _merge(tree, branch)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise InputError(_explain(error)) from None


def _parse_yaml(text: str, *, where: str) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(
            f"{where} holds a {type(content).__name__}; a mapping of sections is needed"
        )
    # A section with nothing in it (``selection:``) changes nothing.
    return {key: value for key, value in content.items() if value is not None}


def _merge(tree: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value


def _explain(error: ValidationError) -> str:
    """One line a fault, with the nearest valid name for an unknown key or choice."""
    lines = []
    for fault in error.errors():
        path = [str(part) for part in fault["loc"]]
        where, value = ".".join(path), fault.get("input")
        if fault["type"] == "extra_forbidden":
            hint = nearest_name_hint(path[-1], _section_fields(path[:-1]))
            lines.append(f"unknown configuration key {where!r}: {hint}")
        elif fault["type"] == "literal_error":
            hint = nearest_name_hint(str(value), _literal_choices(fault["ctx"]["expected"]))
            named = path[-2] if path[-1].isdigit() else path[-1]
            singular = "strategy" if named == "strategies" else named
            lines.append(f"{where}: unknown {singular} {value!r}: {hint}")
        elif fault["type"] == NOT_TO_BE_SHOWN:
            lines.append(f"{where}: {fault['msg']}")
        elif fault["type"] == "value_error":
            # A rule of our own, whose words hold the value that matters; the input may be the whole configuration.
            lines.append(f"{where or 'configuration'}: {fault['ctx']['error']}")
        else:
            lines.append(f"{where or 'configuration'}: {fault['msg']} (got {value!r})")
    return "\n".join(lines)


def _literal_choices(expected: str) -> Sequence[str]:
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]


def _section_fields(path: Sequence[str]) -> Sequence[str]:
    section: type[BaseModel] = Config
    for part in path:
        annotation = section.model_fields[part].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return list(section.model_fields)
