"""Metadata of tiny models, one set of sizes for every architecture that llama.cpp knows.

A loader reads the keys that it knows and passes over the rest, so that all architectures share one set, and the tables below hold
what some of them need otherwise. Which ones that is follows llama.cpp's own fixtures (tests/test-llama-archs.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gguf import GGUFValueType

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Typed:
    """A value or an array with an explicit type."""

    value: int | list[int]
    kind: GGUFValueType


Value = Scalar | Typed | list[int] | list[float] | list[bool] | list[str]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Architectures that are always mixtures of experts.
EXPERTS_ONLY = _names(
    "afmoe arctic bailingmoe bailingmoe2 bailingmoe3 cohere2moe dbrx deepseek deepseek2 deepseek2-ocr deepseek32 deepseek4 dots1 "
    "dots3note ernie4_5 ernie4_5-moe exaone-moe glm-dsa glm4moe glm5-next gpt-oss grok grovemoe hunyuan-moe hy_v3 hy_v4 kimi-k3 "
    "kimi-linear laguna lfm2moe llada-moe llama4 maple mellum mimo2 minimax-01 minimax-m2 minimax-m3 mistral4 nemotron_h_moe "
    "olmoe paddleocr phimoe qwen2moe qwen35moe qwen3moe qwen3next qwen3vlmoe qwen4exp rnd1 smallthinker step35"
)

# Architectures in which every second layer is not attention: the number of heads is an array.
_NO_HEADS_IN_LAYER_1 = _names(
    "plamo2 jamba nemotron_h nemotron_h_moe granitehybrid lfm2 lfm2moe kimi-linear bailingmoe3 kimi-k3 glm5-next"
)
# Architectures with latent attention: one head of 192 and 128, which share 512 + 64.
_LATENT = _names("deepseek2 deepseek32 glm-dsa dots3note kimi-linear bailingmoe3 kimi-k3 glm5-next hy_v4 mistral4")
_WINDOW_BY_LAYER = _names("cohere2moe mimo2 step35 spark2_5 muse-glimmer granite_swa dots3note maple")
# Architectures whose files are marked as not causal.
_ENCODERS = _names(
    "bert modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert gemma-embedding llama-embed t5encoder"
)
_MEAN = 1  # of enum llama_pooling_type
_GATED_DELTA = _names("qwen3next qwen35 qwen35moe qwen4exp")


@dataclass(frozen=True)
class Sizes:
    """Sizes of a tiny model. Widths are multiples of 256, the largest block of a quantization."""

    n_embd: int = 256
    n_head: int = 2
    n_head_kv: int = 2
    n_ff: int = 512
    n_layer: int = 2
    n_ctx: int = 256

    @property
    def head_width(self) -> int:
        return self.n_embd // self.n_head


_SIZES: dict[str, Sizes] = {
    "llama4": Sizes(n_layer=4),
    "gemma3n": Sizes(n_head=1, n_head_kv=1, n_layer=22),
    "gemma4": Sizes(n_layer=5),
    "deepseek4": Sizes(n_embd=512, n_head=8, n_head_kv=1, n_ff=1024, n_layer=4),
    "qwen3": Sizes(n_head=4, n_head_kv=1),
    "muse-glimmer": Sizes(n_head=4, n_head_kv=2),
    "afmoe": Sizes(n_head=4, n_head_kv=2),
    "nemotron_h": Sizes(n_layer=3),
    "nemotron_h_moe": Sizes(n_layer=3),
    "hrm_text": Sizes(n_layer=6),
} | {name: Sizes(n_head=1, n_head_kv=1) for name in _LATENT}


def has_experts(architecture: str) -> bool:
    return architecture in EXPERTS_ONLY


def sizes_of(architecture: str) -> Sizes:
    return _SIZES.get(architecture, Sizes())


def metadata_of(architecture: str, *, n_vocab: int, experts: bool | None = None) -> dict[str, Value]:
    """Returns all metadata except the vocabulary. `experts`: None for the architecture's usual form."""
    sizes = sizes_of(architecture)
    keys = _shape(sizes) | _attention(sizes) | _recurrence(sizes) | _other(sizes)
    keys["vocab_size"] = n_vocab
    if has_experts(architecture) if experts is None else experts:
        keys |= _experts(sizes)
    keys |= _exceptions(architecture, sizes, n_vocab)
    plain = ("xielu.",)
    return {key if key.startswith(plain) else f"{architecture}.{key}": value for key, value in keys.items()}


def _shape(sizes: Sizes) -> dict[str, Value]:
    return {
        "context_length": sizes.n_ctx,
        "embedding_length": sizes.n_embd,
        "features_length": sizes.n_embd,
        "block_count": sizes.n_layer,
        "leading_dense_block_count": 1,
        "feed_forward_length": sizes.n_ff,
        "use_parallel_residual": False,
        "full_attention_interval": 2,
    }


def _attention(sizes: Sizes) -> dict[str, Value]:
    return {
        "attention.head_count": sizes.n_head,
        "attention.head_count_kv": sizes.n_head_kv,
        "attention.max_alibi_bias": 8.0,
        "attention.clamp_kqv": 1.0,
        "attention.layer_norm_epsilon": 1e-5,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.group_norm_epsilon": 1e-5,
        "attention.group_norm_groups": 8,
        "attention.q_lora_rank": 512,
        "attention.kv_lora_rank": 512,
        "attention.relative_buckets_count": 8,
        "attention.sliding_window": sizes.n_ctx // 8,
        "attention.sliding_window_pattern": 2,
        "attention.indexer.head_count": 64,
        "attention.indexer.key_length": 128,
        # Enough for all cells: the choice of fewer would depend on rounding.
        "attention.indexer.top_k": 131072,
        "attention.indexer.block_size": 4,
        "attention.indexer.kpool": 4,
        "attention.indexer.kpool_select_tail": True,
        "attention.indexer.local_blocks": 1,
        "rope.dimension_sections": [sizes.head_width // 4] * 4,
    }


def _recurrence(sizes: Sizes) -> dict[str, Value]:
    return {
        "ssm.inner_size": 2 * sizes.n_embd,
        "ssm.conv_kernel": 4,
        "ssm.state_size": 128,
        "ssm.time_step_rank": sizes.n_head,
        "ssm.group_count": 2,
        "kda.head_dim": 128,
        "kda.safe_gate": True,
        "kda.gate_lower_bound": -5.0,
        "wkv.head_size": sizes.head_width,
        "attention.decay_lora_rank": 64,
        "attention.iclr_lora_rank": 64,
        "attention.value_residual_mix_lora_rank": 64,
        "attention.gate_lora_rank": 64,
        "token_shift_count": 2,
        "time_mix_extra_dim": 64,
        "time_decay_extra_dim": 128,
        "shortconv.l_cache": 3,
    }


def _other(sizes: Sizes) -> dict[str, Value]:
    return {
        "logit_scale": 1.0,
        "residual_scale": 3.5565588200778455,
        "attn_res.block_size": 12,
        "activation.situ_beta": 4.0,
        "activation.situ_linear_beta": 25.0,
        "posnet.embedding_length": sizes.n_embd,
        "posnet.block_count": sizes.n_layer,
        "convnext.embedding_length": sizes.n_embd,
        "convnext.block_count": sizes.n_layer,
        "xielu.alpha_n": 1.0,
        "xielu.alpha_p": 1.0,
        "xielu.beta": 1.0,
        "xielu.eps": 1e-7,
    }


def _experts(sizes: Sizes) -> dict[str, Value]:
    return {
        "expert_feed_forward_length": sizes.n_ff,
        "expert_shared_feed_forward_length": sizes.n_ff // 2,
        "expert_latent_length": sizes.n_ff,
        "interleave_moe_layer_step": 2,
        "expert_count": 2,
        "expert_used_count": 2,
        "expert_shared_count": 1,
        "expert_gating_func": 2,
        "expert_group_scale": 1.0,
        "experts_per_group": 1,
    }


def _exceptions(architecture: str, sizes: Sizes, n_vocab: int) -> dict[str, Value]:
    keys: dict[str, Value] = {}
    every_second = [i % 2 for i in range(sizes.n_layer)]
    if architecture in _NO_HEADS_IN_LAYER_1:
        heads = [0 if i == 1 else sizes.n_head for i in range(sizes.n_layer)]
        keys["attention.head_count_kv"] = heads
        if architecture != "glm5-next":
            keys["attention.head_count"] = heads
    if architecture in _LATENT:
        keys |= _latent(architecture)
    if architecture in _WINDOW_BY_LAYER:
        keys["attention.sliding_window_pattern"] = every_second
    if architecture in _ENCODERS:
        keys |= {"attention.causal": False, "pooling_type": _MEAN}
    if architecture in _GATED_DELTA:
        keys["ssm.inner_size"] = 256
    keys |= _one_architecture(architecture, sizes, every_second)
    if architecture in ("qwen4exp", "glm5-next"):
        keys |= _hyper_connections(sizes, n_vocab)
    return keys


def _latent(architecture: str) -> dict[str, Value]:
    # GLM-5 Next has no rotated part.
    rotated = 0 if architecture == "glm5-next" else 64
    return {
        "attention.key_length": 512 + rotated,
        "attention.value_length": 512,
        "rope.dimension_count": rotated,
        "attention.key_length_mla": 192,
        "attention.value_length_mla": 128,
    }


def _one_architecture(architecture: str, sizes: Sizes, every_second: list[int]) -> Mapping[str, Value]:
    hyper: dict[str, Value] = {"hyper_connection.count": 4, "hyper_connection.epsilon": 1e-6}
    clamp: dict[str, Value] = {"swiglu_clamp_exp": 10.0, "expert_weights_scale": 1.0, "expert_weights_norm": True}
    owns_indexer: dict[str, Value] = {"attention.indexer.types": [1 - each for each in every_second]}
    match architecture:
        case "plamo2":
            return {"ssm.group_count": 0}
        case "nemotron_h" | "nemotron_h_moe":
            return {"feed_forward_length": [0 if i <= 1 else sizes.n_ff for i in range(sizes.n_layer)]}
        case "deepseek4":
            return hyper | clamp | _deepseek4(sizes)
        case "hy_v4":
            return hyper | clamp | owns_indexer | {"hyper_connection.magnitude": 2.0}
        case "dots3note":
            return owns_indexer | {
                "attention.kv_lora_rank_swa": 512,
                "attention.key_length_swa": 576,
                "attention.value_length_swa": 512,
                "attention.key_length_mla_swa": 192,
                "attention.value_length_mla_swa": 128,
                "rope.freq_base_swa": 10000.0,
            }
        case "minimax-m3":
            return {"rope.dimension_count": 64, "attention.indexer.head_count": sizes.n_head}
        case "gemma4":
            return {
                "embedding_length_per_layer_input": sizes.n_embd // 2,
                "attention.shared_kv_layers": 0,
                "attention.key_length_swa": sizes.head_width,
                "attention.value_length_swa": sizes.head_width,
                "rope.freq_base_swa": 10000.0,
                "attention.sliding_window_pattern": [i % 5 != 4 for i in range(sizes.n_layer)],
            }
        case "bailingmoe3":
            return {
                "rope.dimension_sections": [8, 12, 12, 0],
                "swiglu_clamp_exp": [0.0, 4.0],
                "swiglu_clamp_shexp": [0.0, 5.0],
            }
        case "hrm_text":
            return {"hrm.layers_per_stack": 1, "hrm.h_cycles": 2, "hrm.l_cycles": 2}
        case "rwkv6qwen2" | "arwkv7":
            return {"token_shift_count": 1}
        case "maple":
            return {"swiglu_clamp_exp": 7.0}
        case _:
            return {}


def _deepseek4(sizes: Sizes) -> dict[str, Value]:
    return {
        "attention.key_length": sizes.head_width,
        "attention.value_length": sizes.head_width,
        "rope.dimension_count": sizes.head_width // 2,
        "attention.q_lora_rank": 64,
        "attention.output_group_count": 8,
        "attention.output_lora_rank": 32,
        "attention.compress_ratios": [0, 0, 4, 128],
        "attention.compress_rope_freq_base": 160000.0,
        "hyper_connection.sinkhorn_iterations": 2,
        "hash_layer_count": 0,
        "expert_gating_func": 4,
    }


def _hyper_connections(sizes: Sizes, n_vocab: int) -> dict[str, Value]:
    n_gram, heads_each = 3, 2
    n_heads = (n_gram - 1) * heads_each
    wide = GGUFValueType.UINT64
    return {
        "hyper_connection.count": 4,
        "hyper_connection.sinkhorn_iterations": 2,
        "hyper_connection.epsilon": 1e-6,
        "hyper_connection.low_rank": 8,
        "attention.compress_ratios": [4] * sizes.n_layer,
        "attention.indexer.key_length": sizes.head_width,
        "ple.layers": [0],
        "ple.ngram_size": n_gram,
        "ple.heads_per_ngram": heads_each,
        "ple.conv_kernel": 4,
        "ple.eos_token_id": 0,
        "embedding_length_per_layer_input": sizes.n_embd // n_heads,
        "ple.layer_multipliers": Typed([1, 3, 5], wide),
        "ple.head_offsets": Typed([i * n_vocab for i in range(n_heads)], wide),
        "ple.head_vocab_sizes": Typed([n_vocab] * n_heads, wide),
    }
