"""A chain of words in which each word has one successor: the text of a model whose answers are known (chain_model.py).

A prompt can contain the answer with a share of its tokens replaced, so that drafts from the prompt are accepted at any rate.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from llmcore.gguf.header import GgufArray, read_header

# A token that is a space and a word, as byte-pair and SentencePiece vocabularies write it.
_WORD = re.compile("(Ġ|▁)[a-z]{2,}".encode())
# Words follow one another at this distance, so that neighbours in the vocabulary, which look alike, are far apart in the text.
_STRIDE = 7919
# Tokens that a prompt repeats behind a replaced one, so that a drafter finds its place in the text again.
N_REPEATED = 4


@dataclass(frozen=True)
class ChainPrompt:
    """A prompt, and the tokens that the chain model generates behind it."""

    tokens: tuple[int, ...]
    answer: tuple[int, ...]


class Chain:
    """All words of a vocabulary in one cycle. Tokens that are not words have no successor."""

    def __init__(self, vocabulary: Path) -> None:
        """Reads the words of a GGUF file. Raises ValueError if it has fewer than the stride."""
        array = read_header(vocabulary).metadata["tokenizer.ggml.tokens"]
        assert isinstance(array, GgufArray)
        words = [token for token, text in enumerate(array.strings()) if _WORD.fullmatch(text)]
        if len(words) <= _STRIDE:
            raise ValueError(f"{vocabulary}: its vocabulary has only {len(words)} plain words")
        if len(words) % _STRIDE == 0:  # else the stride, a prime, reaches every word
            words.pop()
        self.tokens = tuple(words[i * _STRIDE % len(words)] for i in range(len(words)))

    def __len__(self) -> int:
        return len(self.tokens)

    def part(self, start: int, n: int) -> tuple[int, ...]:
        """Returns n tokens of the cycle from place `start` on, which may be any whole number."""
        return tuple(self.tokens[i % len(self)] for i in range(start, start + n))

    def prompt(
        self, start: int, n_answer: int, acceptance: float, *, seed: int = 0, n_repeated: int = N_REPEATED
    ) -> ChainPrompt:
        """Returns a prompt whose answer begins at place `start`.

        The prompt contains the answer, with each token replaced with a chance of 1 - acceptance. A replaced token ends a run. The
        next run repeats the last n_repeated tokens, with the right one at the end. Later runs stand before earlier ones: so at each
        place the longest match and the latest one predict the same token, and are right with that chance. With n_repeated=0, all
        is one run, and a drafter must find its place again by itself.
        """
        chance = random.Random(f"{seed} {start}")
        lead = self.part(start - max(n_repeated, N_REPEATED), max(n_repeated, N_REPEATED))
        answer = self.part(start, n_answer)
        known = (*lead, *answer)
        runs = [list(lead)]
        for i, token in enumerate(answer, len(lead)):
            if chance.random() < acceptance:
                runs[-1].append(token)
            else:
                runs[-1].append(self._other(start, chance))
                if n_repeated:
                    runs.append(list(known[i + 1 - n_repeated : i + 1]))
        text = [token for run in reversed(runs) for token in run]
        between = [self._other(start, chance) for _ in range(N_REPEATED)]
        return ChainPrompt((*text, *between, *lead), answer)

    def _other(self, start: int, chance: random.Random) -> int:
        """Returns a word far from the answer at `start`."""
        quarter = len(self) // 4
        return self.part(start + quarter + chance.randrange(2 * quarter), 1)[0]
