"""How models of each family write a tool call: right answers by hand, in the forms that their templates show them.

Every answer calls get_weather for Oslo with get_weather and get_time on offer (conversations.TOOLS).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.conversations import TEMPLATES

NAME = "get_weather"
ARGUMENTS = '{"city": "Oslo"}'
# As llama-common writes them where the model does not write JSON.
COMPACT = '{"city":"Oslo"}'


@dataclass(frozen=True)
class Family:
    """`answer` is what the model writes after the prompt, up to its end token."""

    template: str
    answer: str
    content: str = ""
    reasoning: str = ""
    call_id: str = ""
    arguments: str = ARGUMENTS
    tells_id: bool = True  # before the arguments, that is: else the caller gets an id of ours
    holds_auto: bool = True  # whether a call is held to its schema where the model need not make one
    holds_name: bool = True  # there, whether a wrong name is refused
    reads_before: bool = True  # whether text before a call is allowed where it must make one

    @property
    def path(self) -> Path:
        [found] = [path for path in TEMPLATES if path.stem == self.template]
        return found

    @property
    def source(self) -> str:
        return self.path.read_text("utf-8")


_HERMES = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
_QWEN_XML = "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>"
_GLM = "<tool_call>get_weather{0}<arg_key>city</arg_key>{0}<arg_value>Oslo</arg_value>{0}</tool_call>"
_DSML = (
    '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
    '<｜DSML｜parameter name="city" string="true">Oslo</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>"
)
_KIMI = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
    '{"city": "Oslo"}<|tool_call_end|><|tool_calls_section_end|>'
)
_LLAMA = '{"name": "get_weather", "parameters": {"city": "Oslo"}}'

FAMILIES = [
    Family("Qwen-Qwen2.5-7B-Instruct", "Let me see.\n" + _HERMES, content="Let me see.\n"),
    Family("Qwen-Qwen3-0.6B", f"<think>\nThe weather.\n</think>\n\n{_HERMES}", reasoning="The weather.\n"),
    Family("Qwen-QwQ-32B", f"The weather.\n</think>\n\n{_HERMES}", content="\n\n", reasoning="\nThe weather.\n"),
    Family("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", _HERMES),
    Family("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "I look.\n" + _HERMES, content="I look.\n"),
    Family("Qwen3-Coder", "I look.\n" + _QWEN_XML, content="I look.\n", arguments=COMPACT),
    Family("Qwen3.5-4B", "The weather.\n</think>\n\n" + _QWEN_XML, reasoning="The weather.\n", arguments=COMPACT),
    Family("meta-llama-Llama-3.1-8B-Instruct", _LLAMA, holds_name=False),
    Family("meta-llama-Llama-3.2-3B-Instruct", _LLAMA, holds_name=False),
    Family("meta-llama-Llama-3.3-70B-Instruct", _LLAMA, holds_name=False),
    Family(
        "mistralai-Mistral-Nemo-Instruct-2407",
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "aB3dE6gH9"}]',
        call_id="aB3dE6gH9",
        tells_id=False,
    ),
    Family(
        "Mistral-Small-3.2-24B-Instruct-2506",
        '[TOOL_CALLS]get_weather[CALL_ID]aB3dE6gH9[ARGS]{"city": "Oslo"}',
        call_id="aB3dE6gH9",
    ),
    Family(
        "unsloth-mistral-Devstral-Small-2507", 'I look.[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}', content="I look."
    ),
    Family(
        "mistralai-Ministral-3-14B-Reasoning-2512",
        '[THINK]The weather.[/THINK][TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}',
        reasoning="The weather.",
    ),
    Family(
        "openai-gpt-oss-120b",
        "<|channel|>analysis<|message|>The weather.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
        '<|constrain|>json<|message|>{"city": "Oslo"}',
        reasoning="The weather.",
    ),
    Family(
        "deepseek-ai-DeepSeek-V3.1",
        "The weather.</think>I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        '{"city": "Oslo"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        content="I look.",
        reasoning="The weather.",
    ),
    Family(
        "deepseek-ai-DeepSeek-V3.2", f"The weather.</think>\n\n{_DSML}", reasoning="The weather.", arguments=COMPACT
    ),
    Family(
        "deepseek-ai-DeepSeek-V4",
        f"The weather.</think>\n\n{_DSML.replace('function_calls', 'tool_calls')}",
        reasoning="The weather.",
        arguments=COMPACT,
    ),
    Family(
        "llama-cpp-deepseek-r1",
        "The weather.</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        reasoning="\nThe weather.",
    ),
    Family("meetkai-functionary-medium-v3.1", '<function=get_weather>{"city": "Oslo"}</function>'),
    # Its trigger is a ">>>" that the prompt already holds.
    Family("meetkai-functionary-medium-v3.2", 'get_weather\n{"city": "Oslo"}', holds_auto=False),
    Family(
        "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
        "<|START_THINKING|>The weather.<|END_THINKING|><|START_ACTION|>[\n"
        '    {"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Oslo"}}\n]<|END_ACTION|>',
        reasoning="The weather.",
        call_id="0",
    ),
    Family(
        "CohereForAI-c4ai-command-r-plus-tool_use",
        'Action:\n```json\n[{"tool_name": "get_weather", "parameters": {"city": "Oslo"}}]\n```',
    ),
    Family(
        "fireworks-ai-llama-3-firefunction-v2",
        ' functools[{"name": "get_weather", "arguments": {"city": "Oslo"}}]',
    ),
    Family(
        "GLM-4.6",
        "<think>The weather.</think>\n" + _GLM.format("\n"),
        reasoning="The weather.",
        arguments=COMPACT,
    ),
    Family("GLM-4.7-Flash", "The weather.</think>" + _GLM.format(""), reasoning="The weather.", arguments=COMPACT),
    Family(
        "Kimi-K2-Thinking",
        f"<think>The weather.</think>{_KIMI}",
        reasoning="The weather.",
        call_id="functions.get_weather:0",
    ),
    Family(
        "MiniMax-M2",
        'The weather.\n</think>\n\n<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Oslo</parameter>\n'
        "</invoke>\n</minimax:tool_call>",
        reasoning="The weather.\n",
        arguments=COMPACT,
    ),
    Family("ibm-granite-granite-4.0", _HERMES),
    Family(
        "NVIDIA-Nemotron-Nano-v2",
        'The weather.\n</think>\n<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]</TOOLCALL>',
        content="\n",
        reasoning="The weather.\n",
    ),
    Family(
        "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
        f"The weather.\n</think>\n{_QWEN_XML}",
        reasoning="The weather.\n",
        arguments=COMPACT,
    ),
    Family(
        "google-gemma-4-31B-it",
        '<|channel>thought\nThe weather.<channel|><|tool_call>call:get_weather{city:<|"|>Oslo<|"|>}<tool_call|>',
        reasoning="The weather.",
        arguments=COMPACT,
    ),
    # Templates without tools: the form is ours (native/chat/prompted_tools.cpp).
    Family("microsoft-Phi-3.5-mini-instruct", "I look.\n" + _HERMES, content="I look.\n", reads_before=False),
    Family("google-gemma-2-2b-it", _HERMES),
    Family("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", f"The weather.</think>\n\n{_HERMES}", reasoning="The weather."),
    Family("ibm-granite-granite-3.3-2B-Instruct", _HERMES),
    Family("HuggingFaceTB-SmolLM3-3B", f"<think>\nThe weather.\n</think>\n\n{_HERMES}", reasoning="The weather.\n"),
]
