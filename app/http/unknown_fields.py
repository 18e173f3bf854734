"""Unknown fields of request bodies: passed over, and told in the response header X-Llmcore-Ignored.

How a route uses this: declare the request's types with `forbid_unknown_fields=True`, and decode with `read_json()` of body.py,
or with `decode_known()` for JSON that the route has in hand (a msgspec.Raw inside of a body). Both note what they pass over in
`RequestLog.from_scope(request.scope).ignored`; the telemetry middleware tells it. A route that passes over a known field calls
`ignored.add(path, "hint")` itself, before its response starts. Fields that never have an effect are declared as hints (hints.py).

A struct may have a class variable `refused_fields`: unknown fields that would change the answer. They stay an error, unless
their value is among the listed ones:

    class ChatRequest(msgspec.Struct, forbid_unknown_fields=True):
        refused_fields: ClassVar[RefusedFields] = {"use_beam_search": (False,), "input": ()}

Bodies without unknown fields cost nothing: the strict decoder accepts them. Otherwise the fields that no type has are removed
from the JSON, whose other bytes stay as they are, and the rest is decoded strictly again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from .decode import decode
from .errors import ApiError, invalid
from .hints import hints_in
from .ignored_fields import IgnoredFields, join

T = TypeVar("T")
# Names of fields, with the values that change nothing.
RefusedFields = Mapping[str, tuple[Any, ...]]

# Objects of one body in which unknown fields are looked for. More would block the event loop: 20,000 take about 0.1 s.
_N_OBJECTS_MAX = 20_000

# Fields within fields in the path of one unknown field.
_N_LEVELS_TOLD_MAX = 4

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


def decode_known(decoder: msgspec.json.Decoder[T], body: bytes, ignored: IgnoredFields, path: str = "") -> T:
    """Returns `body` as the decoder's type, without unknown fields; these and hints are noted in `ignored`. `path` is the place
    in the request's body. Raises ApiError (400)."""
    try:
        value = decode(decoder, body, path)
    except ApiError as error:
        if error.code != "unknown_parameter" or ignored.refuses_unknown:
            raise
        value = decode(decoder, _Removal(ignored).clean(body, _shape(cast(Hashable, decoder.type)), path), path)
    for hint in hints_in(value, path):
        ignored.add(hint, "hint")
    return value


@dataclass
class _StructShape:
    """Fields of a struct by their names in JSON, with the shapes of those whose values may have structs inside."""

    fields: dict[str, _Shape | None]
    refused: RefusedFields


@dataclass
class _Shape:
    """Structs that a JSON value can be, or can have as items of an array or as values of an object."""

    structs: dict[object, _StructShape] = field(default_factory=dict)  # by tag; None: without one
    tag_field: str = ""
    items: _Shape | None = None
    values: _Shape | None = None


@cache
def _shape(kind: Hashable) -> _Shape:
    return _shape_of(inspect.type_info(kind), {}) or _Shape()


def _shape_of(kind: inspect.Type, known: dict[type, _StructShape]) -> _Shape | None:
    """Returns the shape of a type, or None if there are no structs in it. `known` ends the recursion of recursive types."""
    found = _Shape()
    for each in _alternatives(kind):
        if isinstance(each, inspect.StructType):
            found.structs[each.tag] = _struct_shape(each, known)
            found.tag_field = each.tag_field or ""
        elif isinstance(each, inspect.ListType | inspect.VarTupleType):
            found.items = _shape_of(each.item_type, known)
        elif isinstance(each, inspect.DictType):
            found.values = _shape_of(each.value_type, known)
    return found if found.structs or found.items or found.values else None


def _alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.Metadata):
        yield from _alternatives(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _alternatives(each)
    else:
        yield kind


def _struct_shape(kind: inspect.StructType, known: dict[type, _StructShape]) -> _StructShape:
    if kind.cls not in known:
        shape = known[kind.cls] = _StructShape({}, getattr(kind.cls, "refused_fields", {}))
        shape.fields.update({each.encode_name: _shape_of(each.type, known) for each in kind.fields})
        if kind.tag_field:
            shape.fields[kind.tag_field] = None
    return known[kind.cls]


class _Removal:
    """Removes unknown fields from one body, and notes them."""

    def __init__(self, ignored: IgnoredFields) -> None:
        self._ignored = ignored
        self._n_objects = 0

    def clean(self, raw: bytes, shape: _Shape, path: str) -> bytes:
        """Returns the JSON without unknown fields. Values of another type than expected stay, for the strict decoder."""
        start = raw.lstrip()[:1]
        if start == b"[" and shape.items:
            array: list[msgspec.Raw] = decode(_ARRAY, raw)
            items = [self.clean(bytes(each), shape.items, f"{path}[{index}]") for index, each in enumerate(array)]
            return b"[" + b",".join(items) + b"]"
        if start == b"{" and (shape.structs or shape.values):
            return self._clean_object(raw, shape, path)
        return raw

    def _clean_object(self, raw: bytes, shape: _Shape, path: str) -> bytes:
        self._n_objects += 1
        if self._n_objects > _N_OBJECTS_MAX:
            raise invalid("invalid_value", "The body has too many objects to look for unknown fields in", path or None)
        fields = decode(_OBJECT, raw)
        if shape.values:
            return _encode({name: self.clean(bytes(each), shape.values, path) for name, each in fields.items()})
        struct = shape.structs.get(_tag(fields.get(shape.tag_field)))
        if struct is None:
            return raw
        kept = {}
        for name, value in fields.items():
            if name in struct.fields:
                inner, text = struct.fields[name], bytes(value)
                kept[name] = self.clean(text, inner, join(path, name)) if inner else text
            else:
                self._pass_over(name, bytes(value), struct.refused, path)
        return _encode(kept)

    def _pass_over(self, name: str, value: bytes, refused: RefusedFields, path: str) -> None:
        """Notes an unknown field, unless it is null. Raises ApiError (400) if it would change the answer."""
        if value == b"null":
            return
        param = join(path, name)
        if name in refused:
            if decode(_ANY, value) not in refused[name]:
                problem = f"{param} is not supported by this endpoint, and would change the answer: leave it out"
                raise invalid("unsupported_parameter", problem, param)
            return
        self._ignored.add(_told_path(param, value), "unknown")


def _told_path(path: str, value: bytes) -> str:
    """Returns the path by which an unknown field is told. An object with one field is told by that field (`customer.number`), one
    with several by its own name, so that a large object does not fill the header."""
    for _ in range(_N_LEVELS_TOLD_MAX):
        if not value.startswith(b"{"):
            break
        fields = {name: bytes(raw) for name, raw in decode(_OBJECT, value).items()}
        if len(fields) != 1 or b"null" in fields.values():
            break
        ((name, value),) = fields.items()
        path = join(path, name)
    return path


def _tag(raw: msgspec.Raw | None) -> object:
    """Returns the value of a tag, or None if it is absent or cannot be one."""
    tag = None if raw is None else decode(_ANY, bytes(raw))
    return tag if isinstance(tag, str | int) else None


_ANY = msgspec.json.Decoder(Any)


def _encode(fields: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + value for name, value in fields.items()) + b"}"
