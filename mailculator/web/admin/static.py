"""The page's files, read once and handed out from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from aiohttp import web

from mailculator.web.admin.answers import HEAD, Refusal
from mailculator.web.admin.asking import Call

DIRECTORY = Path(__file__).resolve().parents[1] / "static"
START = "index.html"
TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
        ".woff2": "font/woff2",
    }
)
"""What is handed out, by the ends of names; nothing else is."""


@dataclass(frozen=True, slots=True)
class File:
    """A file as it goes out."""

    body: bytes
    content_type: str
    tag: str


class Files:
    """Hands out what lies in a directory, by name."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}

    def read(self, directory: Path = DIRECTORY) -> None:
        """Take up all of them; it blocks."""
        for path in sorted(directory.iterdir()) if directory.is_dir() else ():
            if path.suffix in TYPES and path.is_file():
                body = path.read_bytes()
                tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
                self._files[path.name] = File(body, TYPES[path.suffix], tag)

    async def start(self, call: Call) -> web.StreamResponse:
        """GET /"""
        return self._answer(call.request, START)

    async def asset(self, call: Call) -> web.StreamResponse:
        """GET /assets/{name}"""
        return self._answer(call.request, call.parameters["name"])

    def _answer(self, request: web.BaseRequest, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise Refusal(404, "There is no such file.")
        # To be asked for each time, and answered in a few octets unless this is another version.
        head = {**HEAD, "Cache-Control": "no-cache", "ETag": file.tag}
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")}
        if file.tag in known:
            return web.Response(status=304, headers=head)
        return web.Response(body=file.body, headers={**head, "Content-Type": file.content_type})
