"""The child process in which `llmcore tune` measures: it loads the model once, and opens a context for each candidate.

trial_process.py starts it as `python -m llmcore.tuning.trial_child FD`, where FD is one end of a socket pair. The first frame is
a TrialJob, each further one a TrialCommand. A crash or the kernel's out-of-memory killer ends this process, not the tuning.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from llmcore import log
from llmcore.config import EngineConfig, attach_paths
from llmcore.errors import LlmcoreError, UnsupportedError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kernels import decide_kernels
from llmcore.llama.model import Model
from llmcore.machine.child_process import forbid_core_files
from llmcore.machine.threads import decide_threads
from llmcore.protocol.framing import Channel
from llmcore.startup.resolve import decide_limits, open_context
from llmcore.startup.step_timing import DEPTH, FILL, TURN_PROMPT, Clock, StepTimer, can_fill
from llmcore.startup.trial_result import COLD_PROMPT, Candidate, Figures
from llmcore.tuning.trial_messages import TrialCommand, TrialJob, TrialReply

N_ROWS = 8
N_CTX_MIN = 128

# A prompt takes at most this part of the context.
_PROMPT_SHARE = 1 / 4
# Cells reserved for steps of one token.
_SINGLE_STEPS = 16
# A prompt that took less is measured twice.
_BRIEF_S = 0.5


def serving_default(model: Model, config: EngineConfig) -> Candidate:
    """Returns the settings of the context that an engine for `model` opens without a profile. The measurements of open_context are
    kept as at a start. Raises what open_context raises."""
    threads = decide_threads(config.threads, config.threads_batch).counts
    context, _ = open_context(config, model, decide_limits(config, model), threads)
    with contextlib.closing(context):
        params = context.params
        return Candidate(**{name: getattr(params, name) for name in Candidate.__struct_fields__})


def measure(model: Model, job: TrialJob, candidate: Candidate, *, clock: Clock = time.perf_counter) -> Figures:
    """Measures one candidate in a context as large as that of serving. Raises what Context raises, and UnsupportedError for a
    context that is too small to measure in."""
    if job.n_ctx < N_CTX_MIN:
        raise UnsupportedError(f"a context of {job.n_ctx} tokens is too small to measure in", param="n_ctx")
    params = ContextParams(n_ctx=job.n_ctx, n_slots=job.n_slots, **msgspec.structs.asdict(candidate))
    begun_s, waited_before_s = clock(), waited_s()
    with StepTimer(Context(model, params), clock) as timer:
        n_cold, n_prompt = min(COLD_PROMPT, job.n_ctx), min(TURN_PROMPT, int(job.n_ctx * _PROMPT_SHARE))
        cold_s = _prompt_s(timer, n_cold, timer.clear)
        timer.clear()
        n_cells = 0
        if can_fill(model):
            n_cells = min(DEPTH, job.n_ctx - n_prompt - 2 * FILL - _SINGLE_STEPS) // FILL * FILL
            timer.fill(n_cells)
        timer.step(1)  # touches memory for the first time
        decode_s = min(timer.step(1) for _ in range(4))
        prompt_s = _prompt_s(timer, n_prompt, (lambda: timer.rewind(n_prompt)) if n_cells else None)
        n_rows = min(N_ROWS, job.n_slots, candidate.n_batch)
        rows_s = min(timer.rows(n_rows) for _ in range(3))
        waited = max(waited_s() - waited_before_s, 0.0) / (clock() - begun_s)
    return Figures(
        n_cells=n_cells,
        decode_s=decode_s,
        n_rows=n_rows,
        rows_s=rows_s,
        prompt_token_s=prompt_s / n_prompt,
        cold_token_s=cold_s / n_cold,
        waited=waited,
    )


def _prompt_s(timer: StepTimer, n: int, forget: Callable[[], None] | None) -> float:
    """Measures a prompt of n tokens. Returns its seconds; of a short prompt, which is noisy, the better of two if it can be removed
    from the cache by `forget`."""
    seconds = timer.prompt(n)
    if seconds < _BRIEF_S and forget is not None:
        forget()
        seconds = min(seconds, timer.prompt(n))
    return seconds


def waited_s(tasks: Path = Path("/proc/self/task")) -> float:
    """Seconds in which threads of this process were ready but had no CPU, summed over threads; 0 if the kernel has no schedstat."""
    waited_ns = 0
    for each in tasks.glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            waited_ns += int(each.read_text().split()[1])
    return waited_ns / 1e9


def serve(channel: Channel[TrialCommand], job: TrialJob) -> None:
    """Loads the model and answers commands until the parent closes the socket."""
    config = job.config
    try:
        blas = config.blas == "on"
        model = Model(
            config.model_path, mmap=config.mmap, repack=config.repack, blas=blas, kernels=decide_kernels(config)
        )
    except LlmcoreError as error:
        channel.send(TrialReply(code=error.code, message=error.message))
        return
    with model:
        channel.send(TrialReply())
        for command in channel:
            channel.send(_reply(model, job, command))


def _reply(model: Model, job: TrialJob, command: TrialCommand) -> TrialReply:
    try:
        if command.candidate is None:
            return TrialReply(candidate=serving_default(model, job.config))
        return TrialReply(figures=measure(model, job, command.candidate))
    except LlmcoreError as error:
        return TrialReply(code=error.code, message=error.message)


def main() -> None:
    # The terminal sends Ctrl-C to the whole process group; only the parent may end this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    forbid_core_files()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # the kernel kills this process first if memory runs out
    log.configure("error")
    with socket.socket(fileno=int(sys.argv[1])) as sock, contextlib.suppress(OSError, EOFError):
        job = Channel[TrialJob](sock, TrialJob).receive()
        job = msgspec.structs.replace(job, config=attach_paths(job.config, job.paths))
        serve(Channel[TrialCommand](sock, TrialCommand), job)
    os._exit(0)  # threads of native code may still run


if __name__ == "__main__":
    main()
