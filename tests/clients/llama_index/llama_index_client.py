"""LlamaIndex: chat, streams, completions, schemas by response format and by tools, function calls, an agent, RAG."""

import asyncio
import sys
from typing import Literal

from llama_index.core import Document, PromptTemplate, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

url, name = sys.argv[1:]
QUESTION = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Say hello.")]
told = []


class Mood(BaseModel):
    """A mood."""

    mood: Literal["happy", "sad"]


def opening_time(library: Literal["harbour", "market"]) -> str:
    """When a library opens."""
    told.append(library)
    return f"The {library} library opens at 9."


def connected(**settings):
    return OpenAILike(
        model=name,
        api_base=url,
        api_key="none",
        is_chat_model=True,
        context_window=4096,
        temperature=0,
        max_tokens=48,
        max_retries=0,
        **settings,
    )


def chat():
    llm = connected()
    whole = llm.chat(QUESTION)
    assert whole.message.content, whole
    assert whole.additional_kwargs["completion_tokens"] > 0, whole
    parts = list(llm.stream_chat(QUESTION, stream_options={"include_usage": True}))
    assert "".join(part.delta for part in parts) == parts[-1].message.content, parts
    assert len([part for part in parts if part.delta]) > 1, parts
    assert parts[-1].additional_kwargs["completion_tokens"] > 0, parts[-1]
    assert llm.complete("Say hello.").text
    assert "".join(part.delta for part in llm.stream_complete("Say hello."))

    # The endpoint of completions.
    plain = OpenAILike(model=name, api_base=url, api_key="none", is_chat_model=False, temperature=0, max_tokens=16)
    assert plain.complete("One, two, three,").text
    assert "".join(part.delta for part in plain.stream_complete("One, two, three,"))


def structured():
    prompt = PromptTemplate("What is the mood of: {text}")
    by_format = connected(should_use_structured_outputs=True)
    by_tool = connected(is_function_calling_model=True)
    for llm in (by_format, by_tool):
        assert isinstance(llm.structured_predict(Mood, prompt, text="I won!"), Mood)
        assert llm.as_structured_llm(Mood).chat(QUESTION).raw.mood in ("happy", "sad")
    # Streamed by a tool, it would leave the choice to the model (`tool_choice` auto).
    *_, last = by_format.stream_structured_predict(Mood, prompt, text="I won!")
    assert last.mood in ("happy", "sad"), last


def tools():
    tool = FunctionTool.from_defaults(opening_time)
    llm = connected(is_function_calling_model=True, strict=True)
    question = ChatMessage(role="user", content="When does the harbour library open?")
    called = llm.chat_with_tools([tool], user_msg=question, tool_required=True)
    [call] = llm.get_tool_calls_from_response(called)
    assert call.tool_name == "opening_time", called
    assert call.tool_kwargs["library"] in ("harbour", "market"), call
    *_, streamed = llm.stream_chat_with_tools([tool], user_msg=question, tool_required=True)
    [again] = llm.get_tool_calls_from_response(streamed)
    assert again.tool_kwargs["library"] in ("harbour", "market"), again
    given = ChatMessage(
        role="tool", content=str(tool(**call.tool_kwargs)), additional_kwargs={"tool_call_id": call.tool_id}
    )
    history = [question, called.message, given]
    answer = llm.chat_with_tools([tool], chat_history=history, tool_choice="none")
    assert answer.message.content, answer
    told.clear()
    result = llm.predict_and_call([tool], user_msg=question, tool_required=True)
    assert len(told) == 1, told
    assert str(result) == f"The {told[0]} library opens at 9.", result


async def agent():
    """The first call is forced by `initial_tool_choice`."""
    told.clear()
    llm = connected(is_function_calling_model=True)
    librarian = FunctionAgent(
        name="librarian",
        tools=[FunctionTool.from_defaults(opening_time)],
        llm=llm,
        system_prompt="Be brief.",
        initial_tool_choice="opening_time",
    )
    result = await librarian.run("When does the market library open?")
    assert told, result
    assert result.tool_calls[0].tool_name == "opening_time", result
    assert result.response.content, result


def rag():
    """An index of three texts and the answer that is made of the nearest ones, all by one service."""
    embedding = OpenAILikeEmbedding(model_name=name, api_base=url, api_key="none", max_retries=0)
    texts = ["The library opens at 9.", "Cats sleep all day.", "The ferry to the island leaves at noon."]
    index = VectorStoreIndex.from_documents([Document(text=text) for text in texts], embed_model=embedding)
    found = index.as_retriever(similarity_top_k=3).retrieve("Cats sleep all day.")
    assert found[0].text == texts[1], found
    assert sorted(node.text for node in found) == sorted(texts), found
    assert found[0].score > 0.9, found
    answer = index.as_query_engine(llm=connected(), similarity_top_k=2).query("When does the library open?")
    assert str(answer), answer
    assert len(answer.source_nodes) == 2, answer
    streamed = index.as_query_engine(llm=connected(), streaming=True).query("When does the library open?")
    assert "".join(streamed.response_gen), streamed
    engine = index.as_query_engine(llm=connected(should_use_structured_outputs=True), output_cls=Mood)
    assert engine.query("Is the cat happy or sad?").response.mood in ("happy", "sad")


async def asynchronous():
    await agent()
    llm = connected()
    assert (await llm.achat(QUESTION)).message.content
    assert "".join([part.delta async for part in await llm.astream_chat(QUESTION)])
    embedding = OpenAILikeEmbedding(model_name=name, api_base=url, api_key="none", max_retries=0)
    vectors = await embedding.aget_text_embedding_batch(["One.", "Two."])
    assert len(vectors) == 2, vectors
    assert len(vectors[0]) == len(vectors[1]) > 100, vectors


chat()
structured()
tools()
rag()
asyncio.run(asynchronous())
