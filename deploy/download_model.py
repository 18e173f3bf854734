#!/usr/bin/env python3
"""`llmcore pull` for images and init containers: brings the model that MODEL_NAME names into MODEL_DIR.

    download_model.py [NAME] [options of `llmcore pull`]

NAME (or MODEL_NAME, where no name is given first) is whatever `llmcore pull` takes; without both, the default model comes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from llmcore.commands.cli import main


def arguments(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """The command line of `llmcore`."""
    name = environ.get("MODEL_NAME", "")
    has_name = bool(argv) and not argv[0].startswith("-")
    return ["pull", *([name] if name and not has_name else []), *argv]


if __name__ == "__main__":
    sys.exit(main(arguments(sys.argv[1:], os.environ)))
