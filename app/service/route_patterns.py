"""Patterns of the routes, by which requests are logged and counted."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute, Route


class RoutePatterns:
    """Maps request paths to route patterns. Paths are unbounded; patterns are few, so they can be values of a metric label."""

    UNKNOWN = "unknown"

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        known = [route for route in routes if isinstance(route, Route)]
        self._plain_paths = {route.path for route in known if not route.param_convertors}
        self._routes_with_parameters = [route for route in known if route.param_convertors]

    def match(self, path: str) -> str:
        """Returns the pattern of the first route that matches, or UNKNOWN."""
        if path in self._plain_paths:
            return path
        matching = (route for route in self._routes_with_parameters if route.path_regex.match(path))
        return next((route.path_format for route in matching), self.UNKNOWN)
