"""Writes the Python API as pages, from the docstrings: `make docs`.

    python docs/reference.py [FOLDER]      by default build/docs

A warning of pdoc is an error.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc
import pdoc.render

import llmcore

# Modules with names that users meet beside those of `import llmcore`, which are on the first page.
MODULES = (
    *("library.answering", "library.async_answering", "library.completion", "library.events", "library.options"),
    *("library.scoring", "library.beam_search", "messages", "errors", "hub.model_store"),
)


def write_reference(folder: Path) -> None:
    """Writes the pages; index.html leads to them."""
    for name in llmcore.__all__:  # they are loaded when they are first used, and pdoc looks without using them
        setattr(llmcore, name, getattr(llmcore, name))
    pdoc.render.configure(docformat="google", footer_text=f"llmcore {llmcore.__version__}")
    pdoc.pdoc("llmcore", r"!llmcore\.", *(f"llmcore.{each}" for each in MODULES), output_directory=folder)


if __name__ == "__main__":
    warnings.simplefilter("error")
    # A TypedDict copies the fields of its bases, so pdoc cannot see where they come from.
    warnings.filterwarnings("ignore", message=r"Cannot determine where llmcore\.library\.options\.")
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "build" / "docs"
    write_reference(target)
    print(target / "index.html")
