"""Attention, and the masks that say which keys a query sees. In: queries, keys, values. Out: mixed values.

Without a mask it is causal attention over the whole sequence, for which PyTorch has fused kernels
(`scaled_dot_product_attention`: FlashAttention, arXiv:2205.14135, or cuDNN's). A sliding window or document boundaries
need a mask: on a CPU a matrix of booleans, on CUDA a `BlockMask` for FlexAttention (arXiv:2412.05496), which skips
blocks of keys that no query sees.

The tokens themselves show where documents begin: an end-of-text token opens the next document, as it opens a sample.
With the document mask an end-of-text token sees only itself, and a document's tokens see each other and the
end-of-text token before them. Every target then lies in the document of the token that predicts it.

Tensor names carry their shape: B batch, T queries, S keys, H query heads, K key/value heads, D channels a head.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from model.config import ModelConfig

Mask = Tensor | BlockMask  # a tensor has the shape (B or 1, 1, T, S) and is true where a query sees a key
Masks = Mapping[int, Mask | None]  # for each attention window of the layers (0: no window); None: plain causal

# In order of speed on Hopper at 128 channels a head; PyTorch takes the first one that supports the inputs.
BACKENDS = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def kernels(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """A context in which attention on CUDA uses the first of BACKENDS that supports its inputs."""
    if device.type == "cuda":
        return sdpa_kernel(BACKENDS, set_priority=True)
    return contextlib.nullcontext()


def attend(q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask: Mask | None = None) -> Tensor:
    """softmax(q k / sqrt(D)) v over the keys that `mask` lets a query see, (B, H, T, D) (arXiv:1706.03762).

    K divides H: each key head serves H / K query heads (GQA, arXiv:2305.13245). Without a mask a query sees the keys at
    and before its position, and a single query (T = 1) sees all S keys.
    """
    shared = q_BHTD.shape[1] != k_BKSD.shape[1]
    if isinstance(mask, BlockMask):
        flex: Any = flex_attention if torch.compiler.is_compiling() else _compiled_flex()
        mixed_BHTD: Tensor = flex(q_BHTD, k_BKSD, v_BKSD, block_mask=mask, enable_gqa=shared)
        return mixed_BHTD
    return F.scaled_dot_product_attention(
        q_BHTD, k_BKSD, v_BKSD, attn_mask=mask, is_causal=mask is None and q_BHTD.shape[2] > 1, enable_gqa=shared
    )


# --- masks -------------------------------------------------------------------------------------------------


def document_numbers(tokens_BT: Tensor, end_of_text: int) -> Tensor:
    """The number of each token's document within its sequence, (B, T) in int32; ids are (B, T) in int64."""
    return (tokens_BT == end_of_text).cumsum(-1, dtype=torch.int32)


def training_masks(config: ModelConfig, tokens_BT: Tensor, end_of_text: int | None) -> Masks:
    """The masks of all layers for whole sequences of ids (B, T); with `end_of_text`, attention stays in a document."""
    documents_BT = None if end_of_text is None else document_numbers(tokens_BT, end_of_text)
    windows = {config.window_of(layer) for layer in range(config.layers)}
    return {window: _training_mask(tokens_BT, documents_BT, window) for window in sorted(windows)}


def _training_mask(tokens_BT: Tensor, documents_BT: Tensor | None, window: int) -> Mask | None:
    if documents_BT is None and not window:
        return None
    B, T = tokens_BT.shape
    if tokens_BT.device.type == "cuda":

        def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
            seen = q >= k
            if window:
                seen = seen & (q - k < window)
            return seen if documents_BT is None else seen & (documents_BT[b, q] == documents_BT[b, k])

        batch = None if documents_BT is None else B
        return _compiled_block_mask()(sees, batch, None, T, T, device=tokens_BT.device)
    mask_BHTS = causal_mask(torch.arange(T), torch.arange(T), window)[None, None]
    if documents_BT is not None:
        mask_BHTS = mask_BHTS & (documents_BT[:, None, :, None] == documents_BT[:, None, None, :])
    return mask_BHTS


def causal_mask(query_T: Tensor, key_S: Tensor, window: int = 0) -> Tensor:
    """Whether the query at each position sees the key at each position, (T, S) booleans.

    A query sees keys at and before its position; with a `window`, only the last `window` of them.
    """
    distance_TS = query_T[:, None] - key_S[None, :]
    return (distance_TS >= 0) & (distance_TS < window) if window else distance_TS >= 0


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention, dynamic=False)  # uncompiled, it would store all T x S scores


@cache
def _compiled_block_mask() -> Callable[..., BlockMask]:
    return torch.compile(create_block_mask, dynamic=False)
