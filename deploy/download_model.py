#!/usr/bin/env python3
"""Fetch a model into MODEL_DIR: the same as `llmcore pull`, whose arguments it takes."""

from __future__ import annotations

import sys

from llmcore.cli import main

if __name__ == "__main__":
    sys.exit(main(["pull", *sys.argv[1:]]))
