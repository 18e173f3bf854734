#!/usr/bin/env python3
"""Entry point of the image: runs `llmcore` with the container's arguments, `serve` by default.

Serving does not use the network. If PULL_MODEL is set (to the name of a known model, or to `default`), `llmcore pull` runs before
`serve`, which then serves the fetched model unless MODEL_PATH names another file. At the end this process becomes `llmcore` by
exec, which is thus process 1: it receives the signals and reaps orphans.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import MutableMapping, Sequence

from llmcore.commands import cli
from llmcore.hub import model_store

NO_MODEL = """\
llmcore: there is no model in {folder}. Any of these helps:
  fetch the default one into the volume, once:    run this image with the argument `pull` and the same volume
  fetch it before serving:                        PULL_MODEL=default (or the name of another: `pull --list`)
  serve a file of your own:                       mount it, and set MODEL_PATH to its path in the container"""


def main(argv: Sequence[str], environ: MutableMapping[str, str]) -> int:
    """Returns an exit status after an error. Otherwise llmcore replaces this process."""
    if argv[:1] == ["serve"] and not {"-h", "--help"} & set(argv):
        if environ.get("PULL_MODEL"):
            status = pull(environ)
            if status:
                return status
        elif not names_a_model(argv, environ) and model_store.default_model_path(environ) is None:
            print(NO_MODEL.format(folder=model_store.model_dir(environ)), file=sys.stderr)
            return 1
    os.execvpe("llmcore", ["llmcore", *argv], environ)


def names_a_model(argv: Sequence[str], environ: MutableMapping[str, str]) -> bool:
    is_flag = any(word.split("=")[0] == "--model-path" for word in argv)
    return is_flag or bool(environ.get("LLMCORE_MODEL_PATH") or environ.get("MODEL_PATH"))


def pull(environ: MutableMapping[str, str]) -> int:
    """Fetches the model PULL_MODEL, and makes it the model to serve unless MODEL_PATH is set. Returns the exit status."""
    name = environ["PULL_MODEL"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = cli.main(["pull", *([] if name == "default" else [name])])
    if status == 0 and not names_a_model([], environ):
        environ["MODEL_PATH"] = printed.getvalue().splitlines()[-1]
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
