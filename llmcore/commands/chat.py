"""Talk to a model in the terminal."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable

from llmcore import config, log
from llmcore.errors import ContextLengthError, printable
from llmcore.library.llm import LLM
from llmcore.machine.options import add_flags

HELP = "Type a message. /reset forgets the conversation, /exit (or Ctrl-D) ends; Ctrl-C interrupts an answer."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--system", default="", help="a system prompt")
    parser.add_argument("--temperature", type=float, default=0.7, help="0 takes the most probable token (default: 0.7)")
    parser.add_argument(
        "--max-tokens", type=int, default=None, help="longest answer (default: to the end of the context)"
    )
    add_flags(parser, config.EngineConfig)


def run(args: argparse.Namespace) -> int:
    log.configure("warning")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    engine = config.load(config.EngineConfig, vars(args), os.environ)
    options = {name: value for name, value in vars(engine).items() if name != "model_path"}
    with LLM(engine.model_path or None, **options) as llm:
        if sys.stdin.isatty():
            print(f"{llm.model.description}. {HELP}")
        Conversation(llm, printable(args.system), args.temperature, args.max_tokens).run(input)
    return 0


class Conversation:
    """A conversation in the terminal: its messages so far, and the loop that extends them."""

    def __init__(self, llm: LLM, system: str, temperature: float, max_tokens: int | None) -> None:
        self._llm = llm
        self._system = [{"role": "system", "content": system}] if system else []
        self._temperature = temperature
        self._max_tokens = max_tokens
        self.messages = list(self._system)

    def run(self, read: Callable[[str], str]) -> None:
        """Reads and answers messages until /exit or the end of input."""
        while True:
            try:
                text = printable(read("> " if sys.stdin.isatty() else "")).strip()
            except (EOFError, KeyboardInterrupt):
                return
            if text == "/exit":
                return
            if text == "/reset":
                self.messages = list(self._system)
            elif text == "/help":
                print(HELP)
            elif text:
                self._turn(text)

    def _turn(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})
        answer = ""
        try:
            for piece in self._llm.chat(
                self.messages, stream=True, temperature=self._temperature, max_tokens=self._max_tokens
            ):
                answer += piece
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            print(" [interrupted]", end="")
        except ContextLengthError as error:
            self.messages.pop()
            print(f"{error.message}; /reset starts anew", file=sys.stderr)
            return
        print()
        self.messages.append({"role": "assistant", "content": answer})
