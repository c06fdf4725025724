"""Which handler answers which path; the same table is what /openapi.json is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web

from mailculator.web.admin.answers import Refusal
from mailculator.web.admin.asking import Call

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One path and method.

    Arguments:
        path: with parameters in braces, as OpenAPI writes it.
        open: answers without a session.
        acts: changes something, so that the page's own script must ask for it, and somebody must answer for it.
    """

    method: str
    path: str
    handle: Handler
    open: bool = False
    acts: bool = False


class Routes:
    """Finds routes. HEAD is answered as GET."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.all = tuple(routes)
        self._by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._by_path.setdefault(route.path, {})[route.method] = route

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route of a path as it stands in the request, and the parameters in it. Errors: Refusal."""
        asked = raw_path.partition("?")[0].split("/")
        for path, methods in self._by_path.items():
            parameters = _match(path.split("/"), asked)
            if parameters is not None:
                route = methods.get("GET" if method == "HEAD" else method)
                if route is None:
                    allowed = sorted({*methods, "HEAD"} if "GET" in methods else methods)
                    raise Refusal(405, "This is not done here.", headers={"Allow": ", ".join(allowed)})
                return route, parameters
        raise Refusal(404, "There is nothing here.")


def _match(pattern: Sequence[str], asked: Sequence[str]) -> dict[str, str] | None:
    """Part by part, each decoded by itself: an id may hold a slash."""
    if len(pattern) != len(asked):
        return None
    parameters = {}
    for part, given in zip(pattern, asked, strict=True):
        if part.startswith("{"):
            value = unquote(given, errors="surrogateescape")
            if not value:
                return None
            parameters[part[1:-1]] = value
        elif part != given:
            return None
    return parameters
