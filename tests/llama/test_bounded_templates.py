"""Templates that take all time, memory or stack: each ends with an error, and the process goes on."""

from __future__ import annotations

import json
import resource

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.llama.chat import ChatTemplate
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt

GROWING = "{% set ns = namespace(a=['x'], s='a') %}{% for i in range(60) %}"
HOSTILE = {
    "range": "{% for i in range(1000000000) %}x{% endfor %}",
    "loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "mutual": "{% macro f(n) %}{% if n %}{{ g(n) }}{% endif %}{% endmacro %}{% macro g(n) %}{{ f(n) }}{% endmacro %}{{ g(1) }}",
    "doubled": GROWING + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "times": "{{ 'x' * 1000000000 }}",
    "laughs": GROWING + "{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
    "laughs as JSON": GROWING + "{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a | tojson }}",
    "itself": "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns | tojson }}",
    "nested": "{% set ns = namespace(a=[]) %}{% for i in range(9999999) %}{% set ns.a = [ns.a] %}{% endfor %}x",
    "replace": GROWING + "{% set ns.s = ns.s.replace('a', 'aaaaaaaaaa') %}{% endfor %}{{ ns.s }}",
    "indent": "{{ 'a\nb' | indent(1000000000) }}",
    "indented JSON": "{{ [[1]] | tojson(indent=1000000000) }}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_a_template_without_end_is_refused(source: str, chat_model: Model) -> None:
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidRequestError, match="more time, memory or nesting than a template may"):
        ChatTemplate(chat_model, source)
    # Two of these took 3 and 5 GB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < peak_kib + (1 << 20)


def test_what_the_messages_make_of_a_template_is_bounded_too(chat_model: Model) -> None:
    source = (
        "{% for m in messages %}{% if m.content == 'go' %}{{ 'x' * 1000000000 }}{% endif %}{{ m.content }}{% endfor %}"
    )
    with ChatTemplate(chat_model, source) as template:
        with pytest.raises(InvalidRequestError, match="than a template may") as caught:
            template.render(ChatPrompt(b'[{"role": "user", "content": "go"}]'))
        assert caught.value.param == "messages"
        # The allowance is each request's own.
        assert template.render(ChatPrompt(b'[{"role": "user", "content": "on"}]')).prompt == "on"


def test_long_messages_may_cost_more(chat_model: Model) -> None:
    text = "Lorem ipsum\n" * 100_000
    source = "{% for m in messages %}{{ m.content | trim }}{{ m.content.replace('ipsum', 'x') | length }}{% endfor %}"
    messages = json.dumps([{"role": "user", "content": text}] * 3).encode()
    with ChatTemplate(chat_model, source) as template, pytest.raises(InvalidRequestError):
        template.render(ChatPrompt(messages))  # each of so many places that are replaced moves a megabyte
    with ChatTemplate(chat_model, source.replace("ipsum", "dolor")) as template:
        assert len(template.render(ChatPrompt(messages)).prompt) > 3_000_000
