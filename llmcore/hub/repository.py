"""Pulls models of any repository of the hub, named by a reference, into MODEL_DIR/OWNER/NAME/, all at one commit.

A branch or tag is resolved to a commit, which is then downloaded and recorded. Files that are here are used without asking the
hub if the reference names their commit, and, with a notice, if the hub cannot be asked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmcore.errors import ConfigError, DownloadError
from llmcore.hub import client, model_store, provenance
from llmcore.hub.provenance import Provenance
from llmcore.hub.reference import HubFile, Reference, choose
from llmcore.hub.registry import HubSource, KnownModel
from llmcore.hub.transfer import DownloadProgress, Notify, SourceError, UnreachableError
from llmcore.machine.os_text import name_as_path


def pull_reference(
    reference: Reference, folder: Path, *, progress: DownloadProgress, notify: Notify, python: str = sys.executable
) -> Path:
    """Pulls the files that a reference means into the folder of models. Returns the path to load: for a split model, its first
    part.

    Raises ConfigError if the reference means no file or several, DownloadError as model_store.pull() does.
    """
    home = folder.joinpath(*reference.repo.split("/"))
    here = _here(reference, home)
    files = _plan(reference, here, notify, python)
    models = {home / name_as_path(each.file): _model(each) for each in files}
    if len(models) > 1:
        _require_space(models, folder, str(reference))
    for each, (path, model) in zip(files, models.items(), strict=True):
        model_store.pull(model, path.parent, progress=progress, notify=notify, python=python)
        # model_store.pull() records no branch, and nothing for a file that was there already.
        if each.sha256 and here.get(each.file) != each:
            provenance.write(path, each)
    return next(iter(models))


def find_reference(reference: Reference, folder: Path) -> Path | None:
    """Returns the path to load of what a reference means among the files that were pulled from its repository, or None. Does not
    use the network."""
    home = folder.joinpath(*reference.repo.split("/"))
    here = _here(reference, home)
    try:
        return home / name_as_path(_chosen(here.values(), reference)[0].file)
    except ConfigError:  # no file of that name or quantization, or several
        return None


def _here(reference: Reference, home: Path) -> dict[str, Provenance]:
    """Returns the files that were pulled from the repository at the requested revision, by their path in it."""
    return {
        each.file: each
        for path, each in provenance.below(home)
        if path == home / name_as_path(each.file)
        and each.repo == reference.repo
        and reference.revision in ("", each.revision, each.asked)
    }


def _plan(reference: Reference, here: Mapping[str, Provenance], notify: Notify, python: str) -> tuple[Provenance, ...]:
    """Returns the files to pull. Asks the hub if it has to."""
    # Without a quantization or file, the choice depends on all files of the repository.
    if reference.is_pinned and (reference.quant or reference.file):
        try:
            return _chosen(here.values(), reference)
        except ConfigError:
            pass  # not here yet
    try:
        listing = client.list_files(reference.repo, reference.revision, python=python, notify=notify)
    except UnreachableError as error:
        try:
            files = _chosen(here.values(), reference)
        except ConfigError:
            raise _cannot_ask(reference, error) from None
        notify(f"cannot ask the hub ({error}): taking {files[0].file} of {files[0].revision}, which is here")
        return files
    except SourceError as error:
        raise _cannot_ask(reference, error) from None
    asked = "" if reference.is_pinned else reference.revision
    found = (
        Provenance(reference.repo, listing.commit, file.path, file.size_bytes, file.sha256, asked)
        for file in listing.files
    )
    return _chosen(found, reference)


def _chosen(found: Iterable[Provenance], reference: Reference) -> tuple[Provenance, ...]:
    """Returns the files that the reference means. Raises ConfigError if it means none or several models."""
    by_path = {each.file: each for each in found}
    files = [HubFile(each.file, each.size_bytes, each.sha256) for each in by_path.values()]
    return tuple(by_path[file.path] for file in choose(files, reference))


def _cannot_ask(reference: Reference, error: SourceError) -> DownloadError:
    return DownloadError(f"cannot fetch {reference}: {error}")


def _model(each: Provenance) -> KnownModel:
    return KnownModel(
        name=f"{each.repo}/{each.file}",
        file=Path(each.file).name,
        sources=(HubSource(each.repo, each.file, each.revision),),
        size_bytes=each.size_bytes,
        sha256=each.sha256,
    )


def _require_space(models: Mapping[Path, KnownModel], folder: Path, name: str) -> None:
    """Checks the space for all parts of a split model before the first is pulled. Raises DownloadError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise model_store.write_error(error, folder) from None
    need = sum(
        model.size_bytes - model_store.kept_bytes(model, path.parent)
        for path, model in models.items()
        if not path.exists()
    )
    model_store.require_space(folder, need, name)
