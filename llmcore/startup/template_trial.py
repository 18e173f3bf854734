"""Tries a chat template in a child process with limits of memory and time: a template is a program that comes with the model.

    python -m llmcore.startup.template_trial < template.jinja

Rendering is bounded anyway (native/fixes/bounded_jinja.h), compiling is not: a source nested 100,000 levels deep crashes the
process. A template that has passed is remembered in the user's cache folder and not tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import resource
import signal
import subprocess
import sys
from pathlib import Path

from llmcore.errors import InvalidRequestError, LlmcoreError
from llmcore.llama.chat import ChatTemplate
from llmcore.llama.ffi.library import load_library
from llmcore.machine.child_process import exit_words, forbid_core_files, run_module
from llmcore.machine.user_folders import cache_folder
from llmcore.messages import ChatPrompt

_FOLDER = "chat-templates"
_REFUSED = 3  # exit status of a child that wrote the reason to standard output

# Memory of the child beyond what it uses once the libraries are loaded.
_MEMORY_BYTES = 2 << 30
_CPU_S = 10
_WALL_S = 60.0

_MESSAGES = (
    b'[{"role":"user","content":"Hello."},{"role":"assistant","content":"Hello."},{"role":"user","content":"Why?"}]'
)
_TOOLS = (
    b'[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}]'
)


def try_template(source: str, *, python: str = sys.executable, folder: Path | None = None) -> str | None:
    """Returns the reason why a template must not be compiled in this process, None if there is none. Its output is not examined.

    Args:
        python: the interpreter (for tests).
        folder: of marks for templates that have passed; by default, in the user's cache folder.
    """
    folder = folder or _default_folder()
    mark = None if folder is None else folder / _digest(source)
    if mark is not None and mark.exists():
        return None
    problem = _in_child(source, python)
    if problem is None and mark is not None:
        with contextlib.suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    return problem


def _default_folder() -> Path | None:
    cache = cache_folder()
    return None if cache is None else cache / _FOLDER


def _digest(source: str) -> str:
    """Digest of the template and of the library's build: another build may accept other templates."""
    library = str(load_library().build_info())
    return hashlib.sha256(f"{library}\0{source}".encode("utf-8", "surrogatepass")).hexdigest()


def _in_child(source: str, python: str) -> str | None:
    data = source.encode("utf-8", "replace")
    try:
        done = run_module("llmcore.startup.template_trial", data, timeout_s=_WALL_S, python=python)
    except subprocess.TimeoutExpired:
        return f"compiling it takes more than {_WALL_S:.0f} s"
    except OSError:
        return None  # no process can be started; rendering is bounded all the same
    if done.returncode == 0:
        return None
    if done.returncode == _REFUSED:
        return done.stdout.decode("utf-8", "replace")
    if done.returncode == -signal.SIGXCPU:
        return f"compiling it takes more than {_CPU_S} s"
    return f"compiling it ended a process with {exit_words(done.returncode)}"


def _limit() -> None:
    """Limits memory and CPU time of this process."""
    forbid_core_files()
    with open("/proc/self/statm") as file:
        n_bytes = int(file.read().split()[0]) * resource.getpagesize()
    _lower(resource.RLIMIT_AS, n_bytes + _MEMORY_BYTES)
    _lower(resource.RLIMIT_CPU, int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + _CPU_S)


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def main() -> int:
    source = sys.stdin.buffer.read().decode("utf-8", "replace")
    load_library()
    _limit()
    try:
        with ChatTemplate(None, source) as template:
            for tools in (b"", _TOOLS):
                with contextlib.suppress(InvalidRequestError):  # it may refuse such messages
                    template.render(ChatPrompt(_MESSAGES, tools=tools))
    except LlmcoreError as error:
        sys.stdout.write(error.message)
        return _REFUSED
    except MemoryError:
        sys.stdout.write("compiling it takes too much memory")
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
