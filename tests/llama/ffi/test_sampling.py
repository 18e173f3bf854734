"""Arguments of the shim's sampler."""

from __future__ import annotations

import numpy as np

from llmcore.llama.ffi.arrays import address_of
from llmcore.llama.ffi.sampling import SampleExtras, make_sampling_params


def test_sampling_params_hold_their_lists() -> None:
    struct, alive = make_sampling_params({"temperature": 0.5, "top_k": 7}, ["\n", "é"], {3: -1.5})
    assert (struct.temperature, struct.top_k) == (0.5, 7)
    assert [struct.dry_breakers[i].decode() for i in range(struct.n_dry_breakers)] == ["\n", "é"]
    assert [(struct.logit_bias[i].token, struct.logit_bias[i].bias) for i in range(struct.n_logit_bias)] == [(3, -1.5)]
    assert alive


def test_extras_have_room_for_the_most_log_probabilities() -> None:
    mask = np.zeros(4, np.uint32)
    extras = SampleExtras([None, mask], [2, -1])
    assert extras.tokens.shape == extras.logprobs.shape == (2, 3)
    assert (extras.struct.masks[0], extras.struct.masks[1]) == (None, address_of(mask))
    assert extras.struct.n_mask_words == 4
    assert (extras.struct.n_top[0], extras.struct.n_top[1]) == (2, -1)


def test_extras_without_masks_and_log_probabilities_point_nowhere() -> None:
    extras = SampleExtras([None], [-1])
    assert not extras.struct.masks
    assert not extras.struct.n_top
