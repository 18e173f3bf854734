"""Messages of llguidance in this project's words. Pure."""

from __future__ import annotations

import re

_TOO_COMPLEX = "it is too complex"

# Parts of llguidance's messages, in the order in which they are looked for, and what they mean.
_MEANINGS = (
    (r"NoExtension", "nothing can match it"),
    (r"minLength \((\d+)\) is greater than maxLength \((\d+)\)", r"no text has at least \1 characters and at most \2"),
    (r"minItems \((\d+)\) is greater than maxItems \((\d+)\)", r"no array has at least \1 items and at most \2"),
    (
        r"min(?:imum)?Properties .* (?:is greater than|>) ",
        "no object has that many properties and no more than are allowed",
    ),
    (r"minProperties > maxProperties|required > maxProperties", "no object has so many and so few properties"),
    (r"min/maxProperties only supported", "with properties that are not required, only 0 and 1 are supported"),
    (r"oneOf constraints are not supported", "its alternatives may overlap: use anyOf, or leave out strict"),
    (r"patternProperty regexes", "two of its patterns may match the same name"),
    (
        r"circular references with sibling keys",
        "a reference within itself that has keywords beside it is not supported",
    ),
    (
        r"Unsatisfiable|unsatisfiable|incompatible|Regex is empty|is not satisfi|Empty range|Invalid range",
        "no value satisfies it",
    ),
    (r"Failed to generate regex|[Nn]umber bounds|ounds", "no number with these bounds can be held"),
    (r"Unable to determine if regex is empty", "its pattern or format together with its lengths is too complex"),
    (r"Unimplemented keys: (.*)", r"these keywords are not supported: \1"),
    (r"too large|too complex|too big|limit|fuel|exceeded|overflow|[Tt]oo many|stack level", _TOO_COMPLEX),
)
_REGEX_ERROR = re.compile(
    r"regex parse error:\n    (?P<source>[^\n]*)\n    (?P<mark> *\^+)\s*\nerror: (?P<problem>[^\n]*)"
)
_PLACE = re.compile(r"^(?:at )?(?P<line>\d+)\((?P<column>\d+)\): (?P<problem>[^\n]*)")


def in_words(message: str) -> str:
    """Returns what a message means, without the library's own terms and quotations; an empty one stays empty."""
    if not message:
        return ""
    if found := _REGEX_ERROR.search(message):
        return f"{found['problem']} (character {len(found['mark'].rstrip('^')) + 1} of {found['source'][:100]!r})"
    if (found := _PLACE.match(message)) and "JSON schema" not in found["problem"]:
        problem = re.sub(
            r"[Ll]ookarounds? not supported yet.*", "this kind of anchor is not supported", found["problem"]
        )
        return f"line {found['line']}, column {found['column']}: {problem}"
    for pattern, meaning in _MEANINGS:
        if found := re.search(pattern, message):
            return found.expand(meaning)
    return "it cannot be compiled"
