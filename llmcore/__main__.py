"""`python -m llmcore` is the command `llmcore`."""

from __future__ import annotations

import sys

from llmcore.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
