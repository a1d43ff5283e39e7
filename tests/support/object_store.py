"""A server on loopback that speaks S3, in a process of its own or in this one, and its addresses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

BUCKET = "bucket"


@dataclass
class ObjectStore:
    """moto's S3 server; it forgets nothing when it is stopped and started again."""

    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request, without its query."""

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server: Any = ThreadedMotoServer(
            ip_address="127.0.0.1", port=self.port, verbose=False
        )
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        served = self._server._server.app

        def counted(environ: dict[str, Any], respond: Any) -> Any:
            self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            return served(environ, respond)

        self._server._server.app = counted

    def stop(self) -> None:
        self._server.stop()

    def uri(self, path: str) -> str:
        query = f"endpoint_override=127.0.0.1%3A{self.port}&region=us-east-1&scheme=http"
        return f"s3://{BUCKET}/{path}?{query}"

    def n_written(self, below: str) -> int:
        """How many objects were put below a path; not pyarrow's marks of directories."""
        return sum(
            method == "PUT" and path.startswith(f"/{BUCKET}/{below}") and not path.endswith("/")
            for method, path in self.requests
        )


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A running server with an empty bucket; credentials are in the environment within the block."""
    from pyarrow.fs import S3FileSystem

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wh1sper")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        store = ObjectStore()
        store.start()
        S3FileSystem(
            endpoint_override=f"127.0.0.1:{store.port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        ).create_dir(BUCKET)
        yield store
        store.stop()
