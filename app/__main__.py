"""Runs `python -m llmcore_app`, which is the same as `llmcore serve`."""

from __future__ import annotations

import sys

from .serve import main

sys.exit(main(sys.argv[1:]))
