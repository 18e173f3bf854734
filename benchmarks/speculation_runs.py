"""Runs of work with and without speculation: by an engine in this process, or by a server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import structs

from benchmarks.load import Answer, Endpoint, LoadError
from benchmarks.speculation_work import Job
from llmcore.engine.engine import Engine
from llmcore.messages import ChatPrompt, Failed, Finished, GenerateRequest, JsonSchema, Piece, TokensPrompt
from llmcore.sampling import SamplingParams


@dataclass
class Count:
    """Tokens of answers over time: (seconds, tokens so far) after each step that gave some."""

    marks: list[tuple[float, float]] = field(default_factory=list)

    def at(self, at_s: float) -> float:
        """Number of tokens up to a time."""
        return max((n for mark_s, n in self.marks if mark_s <= at_s), default=0.0)


@dataclass(frozen=True)
class Rate:
    """Tokens of answers, and the seconds in which they came."""

    n_tokens: float
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.n_tokens / self.seconds


def joint_rate(counts: Sequence[Count]) -> Rate:
    """Returns the rate of answers that are given at once, while all of them are: after the first token of the last one to begin,
    until the first one ends. Raises LoadError if they never are."""
    start_s = max(each.marks[0][0] for each in counts)
    end_s = min(each.marks[-1][0] for each in counts)
    if end_s <= start_s:
        raise LoadError("the answers did not overlap, or have one token only: make them longer")
    return Rate(sum(each.at(end_s) - each.at(start_s) for each in counts), end_s - start_s)


def total(rates: Iterable[Rate]) -> Rate:
    """Returns the rate of runs one after the other."""
    found = list(rates)
    return Rate(sum(each.n_tokens for each in found), sum(each.seconds for each in found))


@dataclass(frozen=True)
class LocalRun:
    """Answers of an engine in this process. `n_drafted` and `n_accepted` count draft tokens."""

    rate: Rate
    answers: tuple[tuple[int, ...], ...]
    tokens_per_step: float
    n_drafted: int
    n_accepted: int


def run_locally(engine: Engine, jobs: Sequence[Job], n_callers: int, *, name: str, is_speculative: bool) -> LocalRun:
    """Serves jobs, n_callers at a time, to a tenant of its own: nothing is known from earlier runs. Raises LoadError."""
    before, rates, ends = engine.stats(), [], list[Finished]()
    for first in range(0, len(jobs), n_callers):
        group = jobs[first : first + n_callers]
        counts, finished = _serve(engine, group, f"{name}, {first}", is_speculative=is_speculative)
        rates.append(joint_rate(counts))
        ends += finished
    after = engine.stats()
    return LocalRun(
        total(rates),
        tuple(each.tokens for each in ends),
        sum(each.usage.n_generated for each in ends) / sum(each.usage.n_steps for each in ends),
        sum(after.drafted.values()) - sum(before.drafted.values()),
        sum(after.accepted.values()) - sum(before.accepted.values()),
    )


def _serve(
    engine: Engine, jobs: Sequence[Job], name: str, *, is_speculative: bool
) -> tuple[list[Count], list[Finished]]:
    engine.drop_cached_prefixes()
    if len(jobs) > 1:  # prompts are computed before, so that the answers are given at once
        for i, job in enumerate(jobs):
            engine.submit(structs.replace(_request(str(i), job, name, is_speculative=False), max_tokens=1))
        while engine.has_work:
            engine.step()
    counts = {str(i): Count() for i in range(len(jobs))}
    ends: dict[str, Finished] = {}
    for i, job in enumerate(jobs):
        engine.submit(_request(str(i), job, name, is_speculative=is_speculative))
    while engine.has_work:
        outputs = engine.step()
        now_s = time.perf_counter()
        for output in outputs:
            if isinstance(output, Failed):
                raise LoadError(f"the engine in this process: {output.message}")
            if isinstance(output, Piece):
                marks = counts[output.request_id].marks
                marks.append((now_s, (marks[-1][1] if marks else 0) + output.n_tokens))
            elif isinstance(output, Finished):
                counts[output.request_id].marks.append((now_s, output.usage.n_generated))
                ends[output.request_id] = output
    return list(counts.values()), [ends[name] for name in counts]


def _request(request_id: str, job: Job, tenant: str, *, is_speculative: bool) -> GenerateRequest:
    prompt = ChatPrompt(json.dumps(job.messages).encode()) if job.messages else TokensPrompt(tuple(job.tokens))
    return GenerateRequest(
        request_id=request_id,
        prompt=prompt,
        sampling=SamplingParams(temperature=0.0),
        max_tokens=job.n_answer,
        constraint=None if job.schema is None else JsonSchema(json.dumps(job.schema).encode()),
        speculation="auto" if is_speculative else "off",
        tenant=tenant,
    )


# --- Over HTTP --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ServerRun:
    """Answers of a server."""

    rate: Rate
    answers: tuple[str, ...]


async def run_over_http(url: str, jobs: Sequence[Job], n_callers: int) -> ServerRun:
    """Sends jobs to a server, n_callers at a time. Raises LoadError."""
    endpoint = Endpoint(url)
    await endpoint.connect()
    rates, answers = [], list[Answer]()
    for first in range(0, len(jobs), n_callers):
        group = await asyncio.gather(*(_ask(endpoint, job) for job in jobs[first : first + n_callers]))
        rates.append(joint_rate([count_of(each) for each in group]))
        answers += group
    return ServerRun(total(rates), tuple(each.text for each in answers))


def count_of(answer: Answer) -> Count:
    """Returns the tokens of a streamed answer over time. An event does not say how many tokens it has: they are taken to be equally
    long."""
    share = answer.n_answer / max(answer.n_chars[-1], 1)
    return Count([(at_s, n * share) for at_s, n in zip(answer.times_s, answer.n_chars, strict=True)])


async def _ask(endpoint: Endpoint, job: Job) -> Answer:
    fields: dict[str, object] = {"max_tokens": job.n_answer}
    if job.schema is not None:
        schema = {"name": "facts", "schema": job.schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    if job.messages:
        call = await endpoint.post("chat/completions", {**fields, "messages": job.messages})
    else:
        call = await endpoint.post("completions", {**fields, "prompt": job.tokens})
    answer = await endpoint.whole(call)
    if job.expected is not None and answer.n_answer != job.n_answer:
        raise LoadError(f"an answer of the chain has {answer.n_answer} tokens instead of {job.n_answer}")
    return answer
