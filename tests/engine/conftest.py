"""Chat templates of all families, and answers within their constraints."""

from tests.llama.conftest import default_vocabulary, templates, writer

__all__ = ["default_vocabulary", "templates", "writer"]
