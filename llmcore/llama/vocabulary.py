"""A model's vocabulary: special tokens, tokenize and detokenize."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from llmcore.errors import InvalidRequestError, ModelError, NativeError
from llmcore.llama.ffi.arrays import Int32Array, address_of, function_address
from llmcore.llama.ffi.library import Library
from llmcore.llama.handle import BorrowedHandle, Handle, HandleOwner

_NO_TOKEN = -1
# The shim's count where a text has no tokens, or tokens have no text.
_FAILED = -(2**31)


class Vocabulary(HandleOwner):
    """The part of a model that turns text into tokens and back. Read-only after loading, so any thread may use it."""

    path: str
    _lib: Library
    _vocab: BorrowedHandle | None = None
    n_vocab: int

    def _set_vocabulary(self, model: Handle) -> None:
        self._vocab = BorrowedHandle.create(model, self._lib.llama_model_get_vocab(model))
        self.n_vocab = self._lib.llama_vocab_n_tokens(self._vocab)

    def close(self) -> None:
        super().close()
        self._vocab = None

    @property
    def vocab(self) -> BorrowedHandle:
        """The native vocabulary. Raises the errors of `handle`."""
        return self._checked(self._vocab)

    # --- Special tokens -----------------------------------------------------------------------------------------------

    def _special(self, function: Callable[[BorrowedHandle], int]) -> int | None:
        token = function(self.vocab)
        return None if token == _NO_TOKEN else int(token)

    @property
    def bos(self) -> int | None:
        """Beginning-of-sequence token id, or None."""
        return self._special(self._lib.llama_vocab_bos)

    @property
    def eos(self) -> int | None:
        """End-of-sequence token id, or None."""
        return self._special(self._lib.llama_vocab_eos)

    @property
    def sep(self) -> int | None:
        """Separator token id, or None."""
        return self._special(self._lib.llama_vocab_sep)

    @property
    def adds_bos(self) -> bool:
        """True if tokenize(add_special=True) puts BOS first."""
        return bool(self._lib.llama_vocab_get_add_bos(self.vocab))

    @property
    def adds_eos(self) -> bool:
        """True if tokenize(add_special=True) puts EOS last."""
        return bool(self._lib.llama_vocab_get_add_eos(self.vocab))

    @property
    def adds_sep(self) -> bool:
        """True if a separator stands between two texts, in addition to EOS."""
        return bool(self._lib.llama_vocab_get_add_sep(self.vocab))

    @property
    def infill(self) -> tuple[int, int, int] | None:
        """Token ids of the fill-in-the-middle markers prefix, suffix and middle; None if the model was not trained for it."""
        lib = self._lib
        found = [
            self._special(each) for each in (lib.llama_vocab_fim_pre, lib.llama_vocab_fim_suf, lib.llama_vocab_fim_mid)
        ]
        prefix, suffix, middle = found
        return None if prefix is None or suffix is None or middle is None else (prefix, suffix, middle)

    def is_end(self, token: int) -> bool:
        """True if a token ends the answer (EOS, EOT and similar)."""
        self.check_tokens((token,))
        return bool(self._lib.llama_vocab_is_eog(self.vocab, token))

    def is_control(self, token: int) -> bool:
        self.check_tokens((token,))
        return bool(self._lib.llama_vocab_is_control(self.vocab, token))

    # --- Text to tokens -----------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Returns the token ids of a text.

        Args:
            add_special: put BOS first and EOS last if the model expects them.
            parse_special: read special tokens such as `<|im_start|>` in the text as the tokens that they name. Otherwise they are
                plain text, as they must be in text from users.
        """
        ids: list[int] = self.token_ids(text, add_special=add_special, parse_special=parse_special).tolist()
        return ids

    def token_ids(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> Int32Array:
        """Returns the token ids of a text as int32[n_tokens]. See tokenize()."""
        lib, vocab = self._lib, self.vocab
        data = _utf8(text)
        tokens = np.empty(len(data) + 4, np.int32)
        n = lib.lc_tokenize(vocab, data, len(data), address_of(tokens), len(tokens), add_special, parse_special)
        if n < 0:
            if n == _FAILED:
                raise self._vocabulary_error() or InvalidRequestError("the text has more than 2**31 tokens")
            tokens = np.empty(-n, np.int32)
            n = lib.lc_tokenize(vocab, data, len(data), address_of(tokens), len(tokens), add_special, parse_special)
        if n < 0:
            raise self._vocabulary_error() or NativeError("llama_tokenize asked for a larger buffer twice")
        return tokens[:n]

    def tokens_at_least(self, text: str) -> int:
        """Returns a lower bound on the number of tokens of a text, without tokenizing it; 0 if this tokenizer has no bound."""
        longest, uncounted = self._token_bytes
        return -(-len(_utf8(text).translate(None, uncounted)) // longest) if longest else 0

    @cached_property
    def _token_bytes(self) -> tuple[int, bytes]:
        """Length of the longest text of a token (0: no bound), and the bytes that may become no token at all."""
        counted = np.zeros(256, np.uint8)
        longest: int = self._lib.lc_token_bytes_max(self.vocab, address_of(counted))
        return longest, bytes(np.flatnonzero(counted == 0).tolist())

    # --- Tokens to text -----------------------------------------------------------------------------------------------

    def detokenize(self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = False) -> str:
        """Returns the text of tokens; bytes that are not UTF-8 become U+FFFD.

        Args:
            remove_special: leave out the BOS and EOS that tokenize(add_special=True) adds.
            unparse_special: write special tokens as their text (`<|im_start|>`) instead of leaving them out.
        """
        return self.detokenize_bytes(tokens, remove_special=remove_special, unparse_special=unparse_special).decode(
            "utf-8", "replace"
        )

    def detokenize_bytes(
        self, tokens: Sequence[int], *, remove_special: bool = False, unparse_special: bool = False
    ) -> bytes:
        """Returns the bytes of tokens. See detokenize()."""
        self.check_tokens(tokens)
        ids = np.asarray(tokens, np.int32)
        size = 8 * len(ids) + 16
        while True:
            buffer = np.empty(size, np.uint8)
            n = self._lib.lc_detokenize(
                self.vocab, address_of(ids), len(ids), address_of(buffer), size, remove_special, unparse_special
            )
            if n >= 0:
                return buffer[:n].tobytes()
            if n == _FAILED:
                raise self._vocabulary_error() or InvalidRequestError("the text has more than 2**31 bytes")
            size = -n

    def token_bytes(self, token: int, *, special: bool = False) -> bytes:
        """Returns the bytes of one token within a text; b"" for a special token unless `special`."""
        self.check_tokens((token,))
        size = 64
        while True:
            buffer = np.empty(size, np.uint8)
            n = self._lib.lc_token_to_piece(self.vocab, token, address_of(buffer), size, special)
            if n >= 0:
                return buffer[:n].tobytes()
            if n == _FAILED:
                raise self._vocabulary_error() or NativeError(f"llama.cpp has no text for token {token}")
            size = -n

    # --- Checks -------------------------------------------------------------------------------------------------------

    def check_tokens(self, tokens: Iterable[int]) -> None:
        """Raises InvalidRequestError for a token id that is not in the vocabulary."""
        # llama.cpp aborts the process for such an id.
        self.handle  # noqa: B018  raises ClosedError
        n_vocab = self.n_vocab
        if not isinstance(tokens, Iterable):
            raise InvalidRequestError(f"tokens must be a sequence, got {type(tokens).__name__}", param="tokens")
        for token in tokens:
            if not isinstance(token, (int, np.integer)):
                raise InvalidRequestError(f"a token is an integer, got {token!r}", param="tokens")
            if not 0 <= token < n_vocab:
                raise InvalidRequestError(
                    f"token {token} is not in the vocabulary (0 to {n_vocab - 1})", param="tokens"
                )

    def _vocabulary_error(self) -> ModelError | None:
        """Returns the error of this thread's last native call; None if it did not fail."""
        reason = self._lib.last_error()
        return ModelError(f"the vocabulary of {self.path} is faulty: {reason}", param="model_path") if reason else None

    @property
    def tokenizer_addresses(self) -> tuple[BorrowedHandle, int]:
        """Addresses of the native vocabulary and of a function like llama_tokenize, for other native code, which must keep the
        vocabulary alive."""
        return self.vocab, function_address(self._lib.lc_tokenize_or_none)


def _utf8(text: str) -> bytes:
    if not isinstance(text, str):
        raise InvalidRequestError(f"the text must be a string, got {type(text).__name__}", param="text")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"the text is not valid Unicode: {error.reason} at character {error.start}") from None
