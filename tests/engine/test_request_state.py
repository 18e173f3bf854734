"""State of a request: usage, and log-probabilities that wait for their text."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from llmcore.engine.answer_endings import AnswerEndings
from llmcore.engine.request_state import RequestState
from llmcore.engine.text_stream import TextStream
from llmcore.llama.sampler import Sampler
from llmcore.messages import FinishReason, TokenLogprob
from llmcore.sequence import Sequence


def state(*stops: str) -> RequestState:
    sequence = Sequence("a", [1, 2, 3], n_prompt=3, n_tokens_max=20, arrived_s=10.0)
    no_sampler = cast(Sampler, None)
    return RequestState(sequence, no_sampler, TextStream(stops), False, None, None, n_logprobs=0)


def logprob(token: int) -> TokenLogprob:
    return TokenLogprob(token, b"", -1.0)


def test_it_starts_once_with_what_was_cached_then() -> None:
    each = state()
    each.sequence.n_cached, each.sequence.n_restored = 2, 1
    assert each.start()
    each.sequence.n_cached = each.sequence.n_restored = 0  # it was preempted
    assert not each.start()
    assert (each.n_cached, each.n_restored) == (2, 1)


def test_log_probabilities_come_with_the_text_of_their_tokens() -> None:
    each = state("stop")
    assert each.push(b"a st", logprob(1)) == "a "
    assert [each.token for each in each.logprobs()] == [1], "its token begins in shown text"
    assert each.push(b"o", logprob(2)) == ""
    assert each.logprobs() == ()
    assert each.push(b"ve", logprob(3)) == "stove"
    assert [each.token for each in each.logprobs()] == [2, 3]


def test_of_a_stop_string_no_log_probabilities_are_shown_not_even_at_the_end() -> None:
    each = state("stop")
    each.push(b"a ", logprob(1))
    each.push(b"stop", logprob(2))
    finished = each.end(each.text.finish(), "stop", 12.0)
    assert [each.token for each in finished.logprobs] == [1]


def test_an_answer_that_is_too_short_may_not_stop() -> None:
    each = state("b")
    each.endings = AnswerEndings(n_min=2, mask=np.zeros(1, np.uint32))
    each.sequence.tokens.append(5)  # the first token of the answer
    assert each.sample_request(0).mask is each.endings.mask
    assert each.push(b"ab") == "ab"
    each.sequence.tokens.append(6)
    assert each.sample_request(0).mask is None
    assert each.push(b"ab") == "a"
    assert each.text.stopped


@pytest.mark.parametrize(
    ("data", "reason", "found"), [(b"a stop", "stop", "stop"), (b"a", "stop", ""), (b"stop", "timeout", "")]
)
def test_the_stop_string_that_ended_an_answer_is_told(data: bytes, reason: FinishReason, found: str) -> None:
    each = state("no", "stop")
    each.push(data)
    assert each.end(each.text.finish(), reason, 12.0).stop_string == found


def test_usage_divides_time_into_queue_prefill_and_decode() -> None:
    each = state()
    each.sequence.started_s, each.first_token_s = 11.0, 13.0
    each.sequence.tokens += [7, 8]
    usage = each.usage(17.0)
    assert (usage.queue_s, usage.prefill_s, usage.decode_s) == (1.0, 2.0, 4.0)
    assert (usage.n_prompt, usage.n_generated) == (3, 2)
