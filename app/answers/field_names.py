"""Names of the engine's parameters in the requests of an endpoint."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from llmcore.errors import InvalidRequestError

from ..http.ignored_fields import join


@dataclass(frozen=True)
class FieldNames:
    """Replaces the engine's parameters in its errors by the fields of the request."""

    prompt: str
    constraint: str = ""
    others: Mapping[str, str] = field(default_factory=dict)  # parameter -> field, where they differ
    has_flat_tools: bool = False  # a tool's fields are beside its type, not in its `function`
    tool_schema: str = "parameters"  # the field of a tool that has its schema

    def keyword(self, path: str) -> str:
        """Returns the field for a keyword in the constraint's schema, or in a tool's."""
        if path.startswith("tools["):
            return functools.reduce(join, self._tool_field(path).split("."), "")
        return functools.reduce(join, path.split("."), self.constraint)

    def _tool_field(self, param: str) -> str:
        if not self.has_flat_tools:
            return param
        return param.replace("].function.", "].", 1).replace("].parameters", f"].{self.tool_schema}", 1)

    def rename(self, error: InvalidRequestError) -> None:
        """Changes the parameter of the error, and its message if that begins with the parameter."""
        param = error.param
        if param is None or param == "tokens":
            error.param = self.prompt
            return
        name, dot, path = param.partition(".")
        if name == "constraint":
            error.param = f"{self.constraint}{dot}{path}"
            return
        error.param = self.others.get(param, param)
        if param.startswith("tools["):
            error.param = self._tool_field(param)
        if error.message.startswith(f"{param}:"):
            error.message = error.param + error.message.removeprefix(param)
