"""What a driver script has given, looked at before anything is done with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pickle import PicklingError

from gpnet_ray.campaign.surrogate import Surrogate
from gpnet_ray.config import Config
from gpnet_ray.data.dataset import MaterialsDataset
from gpnet_ray.errors import InputError

__all__ = [
    "check_is_config",
    "check_is_dataset",
    "check_is_oracle",
    "check_is_surrogate",
    "sending",
]


def check_is_dataset(dataset: object, *, what: str = "a dataset") -> None:
    """Refuse a path, a table and whatever else is no dataset.

    Raises:
        InputError: says how one is made.
    """
    how = 'read one with read_dataset("oxides.parquet", target="e_form", unit="eV/atom")'
    _check_is(dataset, MaterialsDataset, f"{what} is wanted", how)


def check_is_config(config: object) -> None:
    """Refuse a mapping, a path and whatever else are no settings.

    Raises:
        InputError: says how they are made.
    """
    how = 'make one with load_config(overrides={"seed": 1}) or load_config(file="run.yaml")'
    _check_is(config, Config, "settings are wanted as a Config", how)


def check_is_surrogate(surrogate: object) -> None:
    """Refuse a path, a network alone and whatever else is no surrogate.

    Raises:
        InputError: says how one is read.
    """
    how = "read one with load_surrogate(FOLDER), which gives None where the folder holds a network alone"
    _check_is(surrogate, Surrogate, "a surrogate is wanted", how)


def check_is_oracle(oracle: object) -> None:
    """Refuse what nobody can ask for labels.

    Raises:
        InputError: names what it lacks.
    """
    lacks = [name for name in ("name", "unit") if not isinstance(getattr(oracle, name, None), str)]
    lacks += [] if callable(getattr(oracle, "label", None)) else ["label"]
    if lacks:
        raise InputError(
            f"{_shown(oracle)} is no oracle: it lacks {' and '.join(lacks)}. An oracle has a name and a unit"
            " (texts) and a method label(ids, structures), which gives a list of LabelOutcome"
        )


@contextmanager
def sending(oracle: object) -> Iterator[None]:
    """Send an oracle to other processes within the block.

    Raises:
        InputError: it cannot be copied; says what of it, in a line instead of Ray's forty.
    """
    try:
        yield
    except (TypeError, AttributeError, PicklingError) as error:
        why = str(error.__cause__ or error).strip().splitlines()[:1]
        raise InputError(
            f"the oracle {_shown(oracle)} cannot be sent to the labellers, which are processes of their own:"
            f" {' '.join(why)}. Make what cannot be copied (locks, connections, open files, calculators) in its method"
            " label and not in its constructor"
        ) from None


def _check_is(value: object, kind: type, wanted: str, how: str) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{wanted}, not {_shown(value)}; {how}")


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:60] + '…'} ({type(value).__name__})"
