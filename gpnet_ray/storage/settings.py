"""Where a run is kept a second time: the section ``storage`` of the configuration."""

from __future__ import annotations

from typing import Final

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from gpnet_ray.config_section import NotNegative, Section
from gpnet_ray.errors import InputError
from gpnet_ray.storage.uri import StorageUri

__all__ = ["NOT_TO_BE_SHOWN", "StorageConfig"]

NOT_TO_BE_SHOWN: Final = "not to be shown"
"""Type of the fault of a value that may hold a secret, which messages do not repeat."""


class StorageConfig(Section):
    """A second place for the run, for when the disk of the driver's machine may go."""

    uri: str | None = None
    """A path (NFS), ``s3://bucket/path`` or ``gs://bucket/path``; the run lies below it by its name. Credentials come from
    the environment."""
    give_up_after_seconds: NotNegative = 600.0
    """How long a storage that is away is tried again before the run stops."""

    @field_validator("uri")
    @classmethod
    def _can_be_kept_in_a_file(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                StorageUri.parse(value)
            except InputError as error:
                raise PydanticCustomError(NOT_TO_BE_SHOWN, "{why}", {"why": str(error)}) from None
        return value
