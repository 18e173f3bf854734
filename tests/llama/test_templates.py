"""Every chat template that llama.cpp's source carries renders as recorded, and (`-m peer`) as llama-server renders it.

`tests/data/template_hashes.json` holds, for each template and conversation, the beginning of the prompt's SHA-256, or
"refused" where the template raises an error. Written anew, after a look at what changed, by

    .venv/bin/python -m tests.llama.test_templates

Some templates print today's date, which llama.cpp takes from the clock and lets nobody set; dates are replaced before hashing.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import structs

from benchmarks.servers import LlamaServer, Setting
from benchmarks.source import vocabulary
from llmcore.errors import InvalidRequestError
from llmcore.llama.chat import ChatTemplate
from llmcore.llama.model import Model
from llmcore.llama.template_literals import inspected_texts
from tests.conversations import CONVERSATIONS, TEMPLATES, Conversation
from tests.small_vocabularies import CONTROL, USER_DEFINED, write_tag_vocabulary
from tests.tiny_models import DEFAULT_VOCABULARY

RECORD = Path(__file__).parents[1] / "data" / "template_hashes.json"
REFUSED = "refused"

# The "datetime" and "date_string" that llama.cpp itself passes to templates; others are in the templates.
DATE_FORMATS = {"%b %d %Y", "%d %b %Y"}.union(
    *(re.findall(r"strftime_now\(['\"](.*?)['\"]\)", path.read_text("utf-8")) for path in TEMPLATES)
)

# Templates whose tool calls llama.cpp cannot read: here the model gets the tools in another way (prompted_tools.cpp), so
# prompts with tools differ from llama-server's, which renders them, or leaves them out, and reads no calls.
TOLD_OTHERWISE = {
    "HuggingFaceTB-SmolLM3-3B",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "google-gemma-2-2b-it",
    "ibm-granite-granite-3.3-2B-Instruct",
    "llama-cpp-rwkv-world",
    "microsoft-Phi-3.5-mini-instruct",
}


def undated(text: str) -> str:
    """Without today's date, and without yesterday's, should midnight have passed since."""
    now = time.time()
    for day in (now, now - 86400):
        for date_format in DATE_FORMATS:
            text = text.replace(time.strftime(date_format, time.localtime(day)), "DATE")
    return text


def render(template: ChatTemplate, conversation: Conversation) -> str | None:
    """The prompt, or None if the template refuses."""
    try:
        return undated(template.render(conversation.prompt).prompt)
    except InvalidRequestError:
        return None


def renderings(model: Model, path: Path) -> dict[str, str | None]:
    with ChatTemplate(model, path.read_text("utf-8")) as template:
        return {name: render(template, conversation) for name, conversation in CONVERSATIONS.items()}


def hashes(model: Model, path: Path) -> dict[str, str]:
    return {
        name: REFUSED if prompt is None else hashlib.sha256(prompt.encode()).hexdigest()[:16]
        for name, prompt in renderings(model, path).items()
    }


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    """A vocabulary alone, with a BOS and an EOS, the first of which the tokenizer adds."""
    with Model(vocabulary(DEFAULT_VOCABULARY), vocab_only=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict[str, str]]:
    return msgspec.json.decode(RECORD.read_bytes(), type=dict[str, dict[str, str]])


def test_what_is_recorded_is_what_the_source_carries(recorded: dict[str, dict[str, str]]) -> None:
    assert len(TEMPLATES) >= 70
    assert list(recorded) == [path.stem for path in TEMPLATES]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_renderings_are_as_recorded(path: Path, model: Model, recorded: dict[str, dict[str, str]]) -> None:
    assert hashes(model, path) == recorded[path.stem]


_TAG = re.compile(r"<[|/｜]?[A-Za-z][^<>\s'\"{}]*>|\[/?[A-Z_]+\]")
_HARD = {name: CONVERSATIONS[name] for name in ("two calls", "parts", "reasoning")}


def hostile(value: Any, inserted: str) -> Any:
    """`value` with `inserted` in each text, except names, ids, roles and the like."""
    if isinstance(value, str):
        return value[:2] + inserted + value[2:] if value else value
    if isinstance(value, list):
        return [hostile(each, inserted) for each in value]
    kept = ("role", "type", "name", "id", "tool_call_id", "required")
    return {
        key: each if key in kept or each is None else _hostile_field(key, each, inserted) for key, each in value.items()
    }


def _hostile_field(key: str, value: Any, inserted: str) -> Any:
    if key == "arguments":
        return msgspec.json.encode(hostile(msgspec.json.decode(value), inserted)).decode()
    return value if isinstance(value, (int, bool)) else hostile(value, inserted)


@pytest.mark.parametrize("kind", [CONTROL, USER_DEFINED], ids=["control", "user-defined"])
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_only_the_template_writes_its_tags(path: Path, kind: int, tmp_path: Path) -> None:
    source = path.read_text("utf-8")
    tags = sorted(set(_TAG.findall(source)))
    vocabulary_path = write_tag_vocabulary(tmp_path / "tags.gguf", tags, kind=kind)
    looked_for = inspected_texts(source)
    with Model(vocabulary_path, vocab_only=True) as model, ChatTemplate(model, source) as template:
        special = set(range(model.n_vocab - len(tags), model.n_vocab))
        for conversation in _HARD.values():
            prompt = conversation.prompt
            try:
                chat = template.render(prompt)
            except InvalidRequestError:
                continue
            harmless = template.token_ids(chat).tolist()
            assert harmless == model.tokenize(chat.prompt, parse_special=True)
            inserted = " ".join(tag for tag in tags if not any(tag in text for text in looked_for))
            forged = structs.replace(
                prompt,
                messages=msgspec.json.encode(hostile(conversation.messages, inserted)),
                tools=prompt.tools and msgspec.json.encode(hostile(msgspec.json.decode(prompt.tools), inserted)),
            )
            tokens = template.token_ids(template.render(forged)).tolist()
            assert [each for each in tokens if each in special] == [each for each in harmless if each in special]


def test_which_templates_know_tools(model: Model) -> None:
    told_otherwise = set()
    for path in TEMPLATES:
        with ChatTemplate(model, path.read_text("utf-8")) as template:
            if not template.describe()["knows_tools"]:
                told_otherwise.add(path.stem)
    assert told_otherwise == TOLD_OTHERWISE


@pytest.mark.peer
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_renderings_are_llama_servers(path: Path, model: Model, tiny_model: Path) -> None:
    ours = renderings(model, path)
    flags = ["--jinja", "--chat-template-file", str(path), "--no-prefill-assistant", "--no-warmup"]
    different = {}
    with LlamaServer(flags).serve(Setting(tiny_model, 1, 1, 256)) as url, httpx.Client(base_url=url) as http:
        for name, conversation in CONVERSATIONS.items():
            if conversation.has_tools and path.stem in TOLD_OTHERWISE:
                continue
            if name == "high effort" and ours[name] is None:
                continue  # here a 400, as the template knows no effort; llama-server passes over it
            reply = http.post("/apply-template", json=conversation.body)
            theirs = undated(reply.json()["prompt"]) if reply.status_code == 200 else None
            if theirs != ours[name]:
                different[name] = (ours[name], theirs, "" if theirs else reply.text)
    assert not different


def record() -> None:
    with Model(vocabulary(DEFAULT_VOCABULARY), vocab_only=True) as opened:
        found = {path.stem: hashes(opened, path) for path in TEMPLATES}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


if __name__ == "__main__":
    record()
