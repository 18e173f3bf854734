#!/usr/bin/env python3
"""Runs `llmcore pull` in images and init containers: fetches the model MODEL_NAME into MODEL_DIR.

    download_model.py [NAME] [options of `llmcore pull`]

NAME (or MODEL_NAME, if the first argument is not a name) is what `llmcore pull` accepts. Without both, the default model
is fetched.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from llmcore.commands.cli import main


def arguments(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Returns the command line of `llmcore`."""
    name = environ.get("MODEL_NAME", "")
    has_name = bool(argv) and not argv[0].startswith("-")
    return ["pull", *([name] if name and not has_name else []), *argv]


if __name__ == "__main__":
    sys.exit(main(arguments(sys.argv[1:], os.environ)))
