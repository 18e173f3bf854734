"""The HTTP service: OpenAI-compatible routes over llmcore's AsyncEngine. Installed as `llmcore_app`."""
