"""`python -m llmcore_app`, the same as `llmcore serve`."""

from __future__ import annotations

import sys

from .serve import command

sys.exit(command(sys.argv[1:]))
