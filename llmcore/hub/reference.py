"""References: parses what a user writes to name files of a repository, and chooses the files that it means. Pure.

    owner/name                          its Q4_K_M, or its only model
    owner/name:Q8_0                     that quantization
    owner/name/path/file.gguf           that file; of a split model, all parts
    https://hub/owner/name/blob/REVISION/path/file.gguf    the address in a browser; also with `resolve` or `tree`

`@REVISION` (a commit, branch or tag) may follow all but a URL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

import msgspec

from llmcore.errors import ConfigError

HUB = "https://huggingface.co"
_HUB_HOSTS = ("huggingface.co", "hf.co")
QUANT_BY_DEFAULT = "Q4_K_M"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
COMMIT_PATTERN = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_PART = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<n>\d{5})")
# GGUF files that are not language models: image projectors, and importance matrices of quantization.
_NO_MODEL = re.compile(r"(?i)(^|[-_.])(mmproj|imatrix)([-_.]|$)")


@dataclass(frozen=True)
class Reference:
    """A repository `owner/name`, and the file or quantization that is wanted; "" stands for a part that is not given."""

    repo: str
    revision: str = ""
    file: str = ""
    quant: str = ""

    @property
    def is_pinned(self) -> bool:
        """True if the revision is a commit."""
        return bool(COMMIT_PATTERN.fullmatch(self.revision))

    def __str__(self) -> str:
        wanted = f"/{self.file}" if self.file else f":{self.quant}" if self.quant else ""
        return self.repo + wanted + (f"@{self.revision}" if self.revision else "")


class HubFile(msgspec.Struct, frozen=True):
    """A file of a repository. `sha256` in hex; "" if the hub names none."""

    path: str
    size_bytes: int
    sha256: str = ""


def parse_reference(text: str, endpoint: str = HUB) -> Reference | None:
    """Parses a reference. Returns None for a plain name, without a slash. Raises ConfigError with the reason.

    `endpoint` is the address of the hub in use; URLs of other hosts are refused.
    """
    hosts = {urlsplit(endpoint).netloc, *(_HUB_HOSTS if endpoint == HUB else ())}
    if text.split("/")[0] in hosts:
        text = "https://" + text
    if "://" in text:
        return _from_url(text, hosts, endpoint)
    if "/" not in text:
        return None
    path, at, revision = text.partition("@")
    if "/" not in path:
        raise _wrong(text, "expected OWNER/NAME")
    owner, name, *rest = path.split("/")
    quant = ""
    if not rest:
        name, colon, quant = name.partition(":")
        if colon and not _WORD.fullmatch(quant):
            raise _wrong(text, f"{quant!r} is no quantization")
    if at and not _REVISION.fullmatch(revision):
        raise _wrong(text, f"{revision!r} is no revision")
    return _checked(Reference(f"{owner}/{name}", revision, "/".join(rest), quant), text)


def _from_url(text: str, hosts: set[str], endpoint: str) -> Reference:
    try:
        url = urlsplit(text)
    except ValueError as error:
        raise _wrong(text, str(error)) from None
    if "@" in url.netloc:
        # Not shown: it may contain a password.
        raise ConfigError("a URL must not hold a user's name or password; set HF_TOKEN", param="name")
    if url.netloc not in hosts or url.scheme not in ("http", "https"):
        raise _wrong(text, f"only files of the hub ({endpoint}) can be pulled; HF_ENDPOINT names another hub")
    segments = [unquote(each) for each in url.path.split("/") if each]
    if len(segments) < 2:
        raise _wrong(text, "expected /OWNER/NAME")
    owner, name, *rest = segments
    if not rest:
        name, _, quant = name.partition(":")
        return _checked(Reference(f"{owner}/{name}", quant=quant), text)
    kind, *rest = rest
    if kind not in ("blob", "resolve", "tree") or not rest:
        raise _wrong(text, "expected /OWNER/NAME/blob/REVISION/FILE.gguf")
    return _checked(Reference(f"{owner}/{name}", rest[0], "/".join(rest[1:])), text)


def _checked(reference: Reference, text: str) -> Reference:
    owner, name = reference.repo.split("/", 1)
    if not _WORD.fullmatch(owner) or not _WORD.fullmatch(name):
        raise _wrong(text, "expected OWNER/NAME")
    if reference.revision and not _REVISION.fullmatch(reference.revision):
        raise _wrong(text, f"{reference.revision!r} is no revision")
    if reference.file and not is_model_path(reference.file):
        raise _wrong(text, f"{reference.file!r} is no path of a .gguf file")
    return reference


def is_model_path(path: str) -> bool:
    """Returns True if a path of a repository may be used below our folder: it is a GGUF file and stays in that folder."""
    parts = path.split("/")
    return path.endswith(".gguf") and all(part.strip(".") and "\\" not in part and part.isprintable() for part in parts)


def at_revision(reference: Reference, revision: str) -> Reference:
    """Returns the reference at the revision that an option names. Raises ConfigError if the reference names another."""
    if reference.revision not in ("", revision):
        raise ConfigError(f"{reference} and --revision {revision} are two revisions", param="revision")
    if not _REVISION.fullmatch(revision):
        raise ConfigError(f"{revision!r} is no revision", param="revision")
    return replace(reference, revision=revision)


def choose(files: Sequence[HubFile], reference: Reference) -> tuple[HubFile, ...]:
    """Chooses the files that a reference means: one, or all parts of a split model, in order.

    Raises ConfigError, listing the choices, for no model, several models, or a split model that lacks a part.
    """
    models = _models(files)
    if reference.file:
        found = [parts for parts in models.values() if any(part.path == reference.file for part in parts)]
    else:
        models = {stem: parts for stem, parts in models.items() if not _NO_MODEL.search(stem.rsplit("/", 1)[-1])}
        found = [parts for stem, parts in models.items() if _has_quant(stem, reference.quant or QUANT_BY_DEFAULT)]
        if not found and not reference.quant and len(models) == 1:
            found = list(models.values())
    if len(found) != 1:
        raise ConfigError(_choice_message(reference, found, models), param="name")
    return _complete(found[0], reference)


def _models(files: Sequence[HubFile]) -> dict[str, list[HubFile]]:
    """Groups GGUF files by their path without `.gguf` and without the number of a part."""
    models: dict[str, list[HubFile]] = {}
    for file in sorted(files, key=lambda each: each.path):
        if is_model_path(file.path):
            stem = file.path.removesuffix(".gguf")
            part = _PART.fullmatch(stem)
            models.setdefault(f"{part['stem']}-of-{part['n']}" if part else stem, []).append(file)
    return models


def _has_quant(stem: str, quant: str) -> bool:
    """Returns True if a path ends with the name of a quantization, optionally followed by the number of parts."""
    return bool(re.search(rf"(?i)(^|[-./]){re.escape(quant)}(-of-\d{{5}})?$", stem))


def _complete(parts: list[HubFile], reference: Reference) -> tuple[HubFile, ...]:
    match = _PART.fullmatch(parts[0].path.removesuffix(".gguf"))
    if match is None:
        return tuple(parts)
    expected = [f"{match['stem']}-{number:05}-of-{match['n']}.gguf" for number in range(1, int(match["n"]) + 1)]
    present = [part.path for part in parts]
    if present != expected:
        missing = ", ".join(path for path in expected if path not in present) or "none, but there are others"
        raise ConfigError(f"{reference.repo} has not all parts of {expected[0]}; missing: {missing}", param="name")
    return tuple(parts)


def _choice_message(reference: Reference, found: list[list[HubFile]], models: dict[str, list[HubFile]]) -> str:
    if not models:
        return f"{reference.repo} has no GGUF model" + (f" {reference.file}" if reference.file else "")
    there = ", ".join(parts[0].path for parts in (found or models.values()))
    if reference.file:
        return f"{reference.repo} has no {reference.file}; there are: {there}"
    quant = reference.quant or QUANT_BY_DEFAULT
    if found:
        return f"{reference.repo} has several of {quant}; name the file, as {reference.repo}/FILE.gguf: {there}"
    return f"{reference.repo} has no {quant}; name one of its files, or its quantization after a colon: {there}"


def _wrong(text: str, why: str) -> ConfigError:
    return ConfigError(f"{text!r} names no model of the hub: {why}", param="name")
