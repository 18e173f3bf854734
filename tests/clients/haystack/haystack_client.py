"""Haystack: a generator whole, streamed, structured and with tools, an agent, and a pipeline that retrieves by embeddings."""

import asyncio
import os
import sys
from typing import Annotated, Literal

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # it would send usage to the network

from haystack import Document, Pipeline
from haystack.components.agents import Agent
from haystack.components.builders import ChatPromptBuilder
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.tools import tool
from haystack.utils import Secret
from pydantic import BaseModel, Field

url, model = sys.argv[1:]
service = {"api_base_url": url, "api_key": Secret.from_token("none"), "model": model, "timeout": 120}  # instead of 30 s
asked = []


@tool
def opening_time(library: Annotated[Literal["harbour", "central"], "Which library"]) -> str:
    """When a library opens."""
    asked.append(library)
    return f"{library} opens at 9."


class Person(BaseModel):
    name: Literal["Anna", "Bert"]
    age: int = Field(ge=0, le=150)


brief = {"max_completion_tokens": 64, "temperature": 0}
chat = OpenAIChatGenerator(**service, generation_kwargs=brief)
forced = {"tool_choice": {"type": "function", "function": {"name": "opening_time"}}, "parallel_tool_calls": False}
question = ChatMessage.from_user("When does the harbour library open?")


def check_texts():
    # Haystack sends the names of messages.
    messages = [ChatMessage.from_system("Be brief."), ChatMessage.from_user("Say hello.", name="anna")]
    [whole] = chat.run(messages)["replies"]
    assert whole.text, whole
    assert whole.meta["finish_reason"] in ("stop", "length"), whole
    assert whole.meta["usage"]["completion_tokens"] > 0, whole
    assert len(chat.run(messages, generation_kwargs={"n": 2})["replies"]) == 2

    chunks = []
    usage = {"stream_options": {"include_usage": True}}
    [streamed] = chat.run(messages, streaming_callback=chunks.append, generation_kwargs=usage)["replies"]
    assert len(chunks) > 2, chunks
    assert streamed.text, streamed
    assert "".join(chunk.content for chunk in chunks) == streamed.text, chunks
    assert streamed.meta["usage"]["completion_tokens"] > 0, streamed


def check_structures():
    prompt = [ChatMessage.from_user("Anna is 31 years old.")]
    [parsed] = chat.run(prompt, generation_kwargs={"response_format": Person})["replies"]
    assert Person.model_validate_json(parsed.text), parsed
    schema = {"name": "Person", "schema": Person.model_json_schema()}
    wanted = {"response_format": {"type": "json_schema", "json_schema": schema}}
    [streamed] = chat.run(prompt, streaming_callback=lambda chunk: None, generation_kwargs=wanted)["replies"]
    assert Person.model_validate_json(streamed.text), streamed


def check_tools():
    for callback in (None, lambda chunk: None):
        for strict in (False, True):
            [called] = chat.run(
                [question], callback, generation_kwargs=forced, tools=[opening_time], tools_strict=strict
            )["replies"]
            assert [call.tool_name for call in called.tool_calls] == ["opening_time"], called
            assert called.tool_calls[0].arguments["library"] in ("harbour", "central"), called

    forcing = OpenAIChatGenerator(**service, generation_kwargs={**brief, **forced})
    agent = Agent(chat_generator=forcing, tools=[opening_time], exit_conditions=["opening_time"])
    answer = agent.run(messages=[question])
    assert len(asked) == 1, asked
    [result] = answer["last_message"].tool_call_results
    assert result.result == f"{asked[0]} opens at 9.", result
    # The call and its result are sent back, and the model answers.
    [final] = chat.run(answer["messages"], tools=[opening_time], generation_kwargs={"tool_choice": "none"})["replies"]
    assert final.text, final


def check_retrieval():
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    indexing = Pipeline()
    indexing.add_component("embedder", OpenAIDocumentEmbedder(**service, progress_bar=False, raise_on_failure=True))
    indexing.add_component("writer", DocumentWriter(document_store=store))
    indexing.connect("embedder", "writer")
    texts = ["The harbour library opens at 9.", "Cats sleep all day.", "Bread is made of flour."]
    written = indexing.run({"embedder": {"documents": [Document(content=text) for text in texts]}})
    assert written["writer"]["documents_written"] == 3, written

    template = "{% for document in documents %}{{ document.content }}\n{% endfor %}{{ question }}"
    asking = Pipeline()
    asking.add_component("embedder", OpenAITextEmbedder(**service))
    asking.add_component("retriever", InMemoryEmbeddingRetriever(document_store=store, top_k=1))
    asking.add_component(
        "prompt", ChatPromptBuilder([ChatMessage.from_user(template)], required_variables=["documents", "question"])
    )
    asking.add_component("chat", OpenAIChatGenerator(**service, generation_kwargs=brief))
    asking.connect("embedder.embedding", "retriever.query_embedding")
    asking.connect("retriever.documents", "prompt.documents")
    asking.connect("prompt.prompt", "chat.messages")
    # A chat model's embeddings are crude: only the same text is sure to be found.
    inputs = {"embedder": {"text": texts[0]}, "prompt": {"question": "When does it open?"}}
    found = asking.run(inputs, include_outputs_from={"retriever"})
    assert [document.content for document in found["retriever"]["documents"]] == texts[:1], found
    assert found["chat"]["replies"][0].text, found


async def check_async():
    chunks = []

    async def collect(chunk):
        chunks.append(chunk.content)

    [whole] = (await chat.run_async([question]))["replies"]
    assert whole.text, whole
    [streamed] = (await chat.run_async([question], streaming_callback=collect))["replies"]
    assert streamed.text, streamed
    assert "".join(chunks) == streamed.text, chunks
    await chat.close_async()


check_texts()
check_structures()
check_tools()
check_retrieval()
asyncio.run(check_async())
chat.close()
