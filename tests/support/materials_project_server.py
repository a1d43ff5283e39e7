"""A stand-in for the Materials Project's server on loopback: the requests that mp-api makes, and no others."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

KEY = "k" * 31 + "7"
KNOWN = {
    "elements",
    "deprecated",
    "batch_id_not_eq",
    "energy_above_hull_min",
    "energy_above_hull_max",
    *("_fields", "_limit", "_page", "_per_page", "_sort_fields"),
}


class StandIn:
    """Serves summaries; ``before`` may answer a request itself, with a status and a body."""

    def __init__(self, materials: list[dict[str, Any]]) -> None:
        self.materials, self.database_version = materials, "2026.10.1"
        self.before: Callable[[dict[str, str]], tuple[int, dict[str, Any]] | None] = lambda _: None
        self.asked: list[dict[str, str]] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlparse(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                status, body = stand_in.answer(url.path, query, self.headers.get("x-api-key", ""))
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, query: dict[str, str], key: str) -> tuple[int, dict[str, Any]]:
        if path == "/heartbeat":
            return 200, {
                "version": "0.87.3",
                "db_version": self.database_version,
                "access_controlled_batch_ids": [],
            }
        if path != "/materials/summary/":
            return 404, {"detail": f"nothing at {path}"}
        if key != KEY:
            # As careless as a server can be: the key is in what it says.
            return 401, {"message": f"Invalid authentication credentials: {key}"}
        self.asked.append(query)
        unknown = set(query) - KNOWN
        if unknown:
            return 400, {"detail": f"unknown parameters: {sorted(unknown)}"}
        return self.before(query) or (200, self._page(query))

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        wanted = set(query["elements"].split(","))
        highest = float(query.get("energy_above_hull_max", "inf"))
        found = [
            material
            for material in self.materials
            if wanted <= set(material["elements"])
            and material["energy_above_hull"] <= highest
            and not ("batch_id_not_eq" in query and material["gnome"])
        ]
        if query.get("_sort_fields") == "material_id":
            found.sort(key=lambda material: material["material_id"])
        size = int(query.get("_per_page", query.get("_limit", 100)))
        first = (int(query.get("_page", 1)) - 1) * size
        fields = query.get("_fields", "material_id").split(",")
        page = [{name: m[name] for name in fields} for m in found[first : first + size]]
        return {"data": page, "meta": {"total_doc": len(found)}}
