"""Attention: queries, keys and values in, their mixture out, and who may see whom.

Without a mask it is causal attention over the whole sequence, for which PyTorch has fused kernels
(`scaled_dot_product_attention`; FlashAttention, arXiv:2205.14135, or cuDNN's). A sliding window and document
boundaries need a mask: a matrix of booleans on a CPU, on CUDA a `BlockMask` for FlexAttention
(arXiv:2412.05496), which skips the blocks of keys that no query sees.

Document boundaries are read off the tokens: an end of text opens the next document, as it does when a
sample begins with it. So an end of text sees only itself, each document's tokens see their own and that one, and
every target lies in the document of the token that predicts it.

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

Mask = Tensor | BlockMask
Masks = Mapping[int, Mask | None]  # by the window of a layer (0: all); None: plain causal

# In order of speed on Hopper at 128 channels a head; what a kernel cannot do falls to the next.
BACKENDS = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def kernels(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Inside, CUDA's fastest attention kernel is taken first."""
    if device.type == "cuda":
        return sdpa_kernel(BACKENDS, set_priority=True)
    return contextlib.nullcontext()


def attend(q_BHTD: Tensor, k_BKSD: Tensor, v_BKSD: Tensor, mask: Mask | None = None) -> Tensor:
    """softmax(q k / sqrt(D)) v, (B, H, T, D), of what `mask` lets a query see.

    Without a mask a query sees the keys at and before it, and a single one sees all S.
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
    """(B, T): the tokens of a sequence that have the same number are of the same document."""
    return (tokens_BT == end_of_text).cumsum(-1, dtype=torch.int32)


def training_masks(config: ModelConfig, tokens_BT: Tensor, end_of_text: int | None) -> Masks:
    """The masks that the layers need for whole sequences; with `end_of_text`, attention stays in its document."""
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
    """(T, S) of positions: may the query see the key, which is at or before it and, if there is a window, in it?"""
    back_TS = query_T[:, None] - key_S[None, :]
    return (back_TS >= 0) & (back_TS < window) if window else back_TS >= 0


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention, dynamic=False)  # uncompiled, it would hold all scores


@cache
def _compiled_block_mask() -> Callable[..., BlockMask]:
    return torch.compile(create_block_mask, dynamic=False)
