"""Opt-in (`pytest -m peer`): greedy output equals, token for token, what llama.cpp's own program prints."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.peers import peer
from llmcore import LLM

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1800)]

N_TOKENS = 32
SUBJECTS = [
    *("the sea", "a red fox", "winter", "bread", "the moon", "a lighthouse", "music", "chess", "rivers", "glass"),
    *("a small village", "trains", "honey", "the desert", "paper", "clocks", "a garden", "thunder", "salt", "silk"),
    *("bicycles", "the stars", "coffee", "maps", "whales"),
]
PROMPTS = [
    f"{beginning} {subject}" for subject in SUBJECTS for beginning in ("Here is what I know about", "Once there was")
]


def test_greedy_output_is_llama_cpps_own(default_model: Path) -> None:
    program = peer("llama-completion")
    different: list[tuple[str, str, str]] = []
    assert len(PROMPTS) == 50
    for prompt in PROMPTS:
        command = [program, "-m", default_model, "-p", prompt, "-n", N_TOKENS, "--temp", 0, "-no-cnv", "-c", 512]
        command += ["-fa", "off", "-t", 2, "--no-display-prompt", "--no-warmup"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
        theirs = re.sub(r" \[end of text\]\n+$", "", done.stdout).removesuffix("\n\n")
        # A fresh one for each prompt: nothing comes from the cache, as in the program.
        with LLM(default_model, n_ctx=512, n_slots=1, threads=2) as llm:
            ours = llm.generate(prompt, temperature=0, max_tokens=N_TOKENS).text
        if ours != theirs:
            different.append((prompt, ours, theirs))
    assert not different
