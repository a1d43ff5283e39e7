"""Where run folders are kept: a local path, ``file://``, ``s3://`` or ``gs://``, and never a secret in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from gpnet_ray.errors import InputError

__all__ = ["StorageUri"]

OPTIONS = {
    "s3": ("endpoint_override", "scheme", "region", "tls_ca_file_path"),
    "gs": ("endpoint_override", "scheme", "retry_limit_seconds"),
}
"""What may stand behind the ``?``: of what pyarrow understands, all that is neither a secret nor makes
or removes buckets."""

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, or the machine's role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or the machine's service account",
}


@dataclass(frozen=True)
class StorageUri:
    """A checked address; ``str()`` gives it back.

    Attributes:
        scheme: ``s3``, ``gs``, or empty for a path.
        path: ``bucket/key``, or a path on this machine.
        query: Options for pyarrow, sorted.
    """

    scheme: str
    path: str
    query: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> StorageUri:
        """Read an address.

        Raises:
            InputError: it is of a kind that is not supported, names no bucket, has an unknown option, or
                holds credentials. A message never repeats a secret.
        """
        if "://" not in text:
            if not text.strip():
                raise InputError(f"the storage is empty; {_EXAMPLES}")
            return cls("", text)
        parts = urlsplit(text)
        if parts.scheme == "file":
            return cls("", _local_path(parts))
        if parts.scheme not in OPTIONS:
            raise InputError(f"storage of kind {parts.scheme!r} is not supported; {_EXAMPLES}")
        _check_no_credentials(parts)
        if not parts.netloc:
            raise InputError(f"storage {text!r} names no bucket; {_EXAMPLES}")
        path = f"{parts.netloc}/{parts.path.strip('/')}".rstrip("/")
        return cls(parts.scheme, path, tuple(sorted(parse_qsl(parts.query))))

    def child(self, name: str) -> StorageUri:
        """The address of what lies below.

        >>> str(StorageUri.parse("s3://bucket/runs?region=eu-west-1").child("oxides"))
        's3://bucket/runs/oxides?region=eu-west-1'
        """
        return replace(self, path=f"{self.path.rstrip('/')}/{name}")

    def __str__(self) -> str:
        if not self.scheme:
            return self.path
        query = f"?{urlencode(self.query)}" if self.query else ""
        return f"{self.scheme}://{self.path}{query}"


_EXAMPLES = "give a path (an NFS mount, say), s3://bucket/path or gs://bucket/path"


def _local_path(parts: SplitResult) -> str:
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise InputError(
            "a file:// URI of another machine is no path on this one; write file:///path"
        )
    return str(Path(parts.path))


def _check_no_credentials(parts: SplitResult) -> None:
    """Refuse what would end up in ``config.yaml`` and in logs."""
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    advice = f"Credentials come from {CREDENTIALS[parts.scheme]}"
    if "@" in parts.netloc or any("@" in value for value in options.values()):
        raise InputError(
            f"a storage URI is written into config.yaml and must hold no user or password. {advice}"
        )
    unknown = sorted(options.keys() - set(OPTIONS[parts.scheme]))
    if unknown:
        raise InputError(
            f"the storage URI has the option {unknown[0]!r}, which may not stand there. Valid:"
            f" {', '.join(OPTIONS[parts.scheme])}. {advice}"
        )
