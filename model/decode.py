"""Decoding: the model a token at a time, with the keys and values of earlier tokens kept (KV cache).

A `Decoder` holds a batch of texts, each of a length of its own: row b's next token goes to slot `position_B[b]` of
its cache, and sees the slots up to that one. All that changes from step to step lies in tensors on the device, the
number of the step included, and every shape is fixed. So a step (embedding, blocks, logits, draw) needs no word from
the host, and on CUDA it is recorded once as a graph and replayed: with one token a row, Python takes longer to launch
the hundreds of kernels than they take to run. On a CPU the same step runs as it stands, but over the filled part of
the cache only, which the host knows.

The blocks are those of model/gpt.py, written for inference: weights and residual stream in `compute_dtype`, a norm
in one kernel, queries and keys normalised and rotated together, a key head's queries as one more dimension.

Tensor names as there; moreover S slots of the cache, G = H / K query heads a key head, N tokens to draw, b some
of the rows.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.attention import attend, causal_mask
from model.config import ModelConfig
from model.device import compute_dtype
from model.gpt import GPT, Attention, Block, LayerNorm, RMSNorm, Rotation

# The cache's length is a multiple of this: kernels want aligned rows of a mask.
SLOT_TILE = 64
# Steps that run before a graph is recorded: they count as others do, and libraries set themselves up in them.
EAGER_STEPS = 2
# For CUDA's kernels that take a mask; FlashAttention does not.
MASKED_BACKENDS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

Draw = Callable[[Tensor, Tensor], Tensor]  # logits (B, V) fp32 and uniform numbers (B,) -> ids (B,)
Mix = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, q_BTHD, k_BTKD, v_BTKD -> attention's output (B, T, H D)


class Decoder:
    """Texts of a batch, and the tokens drawn after them.

    `prefill` puts texts into rows; each `step` draws a token a row, `drawn` gives them to the host.
    """

    def __init__(self, model: GPT, uniform_BN: Tensor, draw: Draw, longest: int, graph: bool = True) -> None:
        """`uniform_BN`: the numbers in [0, 1) that the N tokens of B rows are drawn with. `longest`: most tokens that
        a row will hold. `graph`: on CUDA, record a graph.
        """
        self.model = in_compute_dtype(model)
        self.config: ModelConfig = model.config
        self.device = device = model.embedding.weight.device
        self.dtype = compute_dtype(device)
        self.draw = draw
        self.rows = B = len(uniform_BN)
        self.slots = -(-longest // SLOT_TILE) * SLOT_TILE
        self.windows = {self.config.window_of(layer) for layer in range(self.config.layers)}
        self.cos_TD, self.sin_TD = model.cos_TD, model.sin_TD
        self.blocks = cast(list[Block], list(self.model.blocks))
        self.qk_weights = [_qk_weight(block.attention) for block in self.blocks]
        # Zeros, because an empty slot has weight 0 in a sum, and 0 x NaN is NaN.
        K = self.config.kv_heads
        shape = (self.config.layers, B, K, self.slots, self.config.head_dim)
        self.k_LBKSD = torch.zeros(shape, dtype=self.dtype, device=device)
        self.v_LBKSD = torch.zeros(shape, dtype=self.dtype, device=device)
        self.uniform_BN = uniform_BN.to(device)
        self.drawn_BN = torch.zeros(uniform_BN.shape, dtype=torch.int64, device=device)
        self.token_B = torch.zeros(B, dtype=torch.int64, device=device)  # seen next
        self.position_B = torch.zeros(B, dtype=torch.int64, device=device)  # the slot it goes to
        self.first_slot_BK = torch.arange(B * K, device=device).view(B, K) * self.slots
        self.slot_S = torch.arange(self.slots, device=device)
        self.number_1 = torch.zeros(1, dtype=torch.int64, device=device)  # of the step
        self.filled = 0  # slots in use in the longest row, as the host counts
        self.steps = 0
        self.wants_graph = graph and device.type == "cuda"
        self.recorded: torch.cuda.CUDAGraph | None = None

    # --- what the host asks for ------------------------------------------------------------------------------

    def prefill(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Let `rows` hold `texts`, of at least one and at most `longest` ids; whatever they held is gone.

        One forward pass over all but the last id of each, which the next step reads. Equal texts are computed once.
        """
        unique = list(dict.fromkeys(tuple(text) for text in texts))
        T = max(len(text) for text in unique) - 1
        row_b = torch.tensor(rows, device=self.device)
        if T:
            # Padding on the right: no token sees a later one, and a row's slots past its position are overwritten
            # before anything sees them.
            padded = [[*text[:-1], *[0] * (T + 1 - len(text))] for text in unique]
            of_text = {text: number for number, text in enumerate(unique)}
            source_b = torch.tensor([of_text[tuple(text)] for text in texts], device=self.device)
            position_T = torch.arange(T, device=self.device)
            masks = {w: causal_mask(position_T, position_T, w) if w else None for w in self.windows}

            def mix(layer: int, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor) -> Tensor:
                q_BHTD, k_BKTD, v_BKTD = (x.transpose(1, 2) for x in (q_BTHD, k_BTKD, v_BTKD))
                self.k_LBKSD[layer][row_b, :, :T] = k_BKTD[source_b]
                self.v_LBKSD[layer][row_b, :, :T] = v_BKTD[source_b]
                y_BHTD = attend(q_BHTD, k_BKTD, v_BKTD, masks[self.config.window_of(layer)])
                return y_BHTD.transpose(1, 2).flatten(2)

            self._blocks(torch.tensor(padded, device=self.device), position_T, mix)
        self.token_B[row_b] = torch.tensor([text[-1] for text in texts], device=self.device)
        self.position_B[row_b] = torch.tensor([len(text) - 1 for text in texts], device=self.device)
        self.filled = int(self.position_B.max())

    def step(self) -> None:
        """Draw one token a row. The caller sees to it that no row is full."""
        self.filled += 1
        self.steps += 1
        if self.recorded is not None:
            self.recorded.replay()
        elif not self.wants_graph:
            self._step()
        elif self.steps <= EAGER_STEPS:
            self._step_aside()
        else:
            self._record()

    def drawn(self, first: int, last: int) -> list[list[int]]:
        """The tokens of steps `first` up to, not including `last`, a list a row. Waits for the device."""
        ids: list[list[int]] = self.drawn_BN[:, first:last].tolist()
        return ids

    # --- a step, on the device -------------------------------------------------------------------------------

    def _step(self) -> None:
        with _masked_kernels(self.device):
            logits_BV = self._logits()
        uniform_B = self.uniform_BN.index_select(1, self.number_1)[:, 0]
        token_B = self.draw(logits_BV, uniform_B)
        self.drawn_BN.index_copy_(1, self.number_1, token_B[:, None])
        self.token_B.copy_(token_B)
        self.position_B += 1
        self.number_1 += 1

    def _step_aside(self) -> None:
        """A step on another stream, as a recording has one, so that libraries allocate what they want for that."""
        aside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        here = torch.cuda.current_stream(self.device)
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            self._step()
        here.wait_stream(aside)

    def _record(self) -> None:
        """Record a step and replay it; where that fails, say so and go on without."""
        try:
            graph = torch.cuda.CUDAGraph()
            # Other threads (one that pins batches, NCCL's watchdog) may go on with calls that a recording forbids.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._step()  # is recorded, not run
        except RuntimeError as error:
            warnings.warn(f"decoding without a CUDA graph, which is slower: {error}", RuntimeWarning, stacklevel=2)
            self.wants_graph = False
            self._step()
        else:
            self.recorded = graph
            graph.replay()

    def _logits(self) -> Tensor:
        """fp32 (B, V) after `token_B`, whose keys and values go into the cache."""
        # A graph has fixed shapes; on a CPU, nothing need look at empty slots.
        span = self.slots if self.device.type == "cuda" else self.filled
        slot_n = (self.first_slot_BK + self.position_B[:, None]).flatten()
        back_BS = self.position_B[:, None] - self.slot_S[:span]
        masks = {window: self._step_mask(back_BS, window) for window in self.windows}
        K, D = self.config.kv_heads, self.config.head_dim

        def mix(layer: int, q_B1HD: Tensor, k_B1KD: Tensor, v_B1KD: Tensor) -> Tensor:
            k_BKSD, v_BKSD = self.k_LBKSD[layer], self.v_LBKSD[layer]
            k_BKSD.view(-1, D).index_copy_(0, slot_n, k_B1KD.reshape(-1, D))
            v_BKSD.view(-1, D).index_copy_(0, slot_n, v_B1KD.reshape(-1, D))
            # The G queries of a key head stand where T queries would: all of them see the same keys.
            q_BKGD = q_B1HD.view(self.rows, K, -1, D)
            mask_B11S = masks[self.config.window_of(layer)]
            y_BKGD = attend(q_BKGD, k_BKSD[:, :, :span], v_BKSD[:, :, :span], mask_B11S)
            return y_BKGD.reshape(self.rows, 1, -1)

        x_B1C = self._blocks(self.token_B[:, None], self.position_B[:, None], mix)
        return self.model.head(normed(x_B1C[:, 0], self.model.norm))

    def _step_mask(self, back_BS: Tensor, window: int) -> Tensor:
        """What is added to the scores, (B, 1, 1, S): 0 or -inf."""
        hidden_BS = back_BS < 0
        if window:
            hidden_BS = hidden_BS | (back_BS >= window)
        mask_BS = torch.zeros(back_BS.shape, dtype=self.dtype, device=self.device)
        return mask_BS.masked_fill_(hidden_BS, -torch.inf)[:, None, None]

    def _blocks(self, tokens_BT: Tensor, position_BT: Tensor, mix: Mix) -> Tensor:
        """The residual stream (B, T, C) after the last block; positions are (B, T), or (T,) for all rows."""
        H, K, D = self.config.heads, self.config.kv_heads, self.config.head_dim
        x_BTC: Tensor = self.model.embedding(tokens_BT)
        rotation: Rotation | None = None
        if self.model.positions is not None:
            x_BTC = x_BTC + self.model.positions(position_BT)
        else:
            rotation = self.cos_TD[position_BT].unsqueeze(-2), self.sin_TD[position_BT].unsqueeze(-2)
        for layer, block in enumerate(self.blocks):
            heads_BTHD = block.attention.qkv(normed(x_BTC, block.attention_norm)).unflatten(-1, (-1, D))
            qk_BTHD, v_BTKD = heads_BTHD.split((H + K, K), dim=2)
            weight_HD = self.qk_weights[layer]
            if weight_HD is not None:
                qk_BTHD = F.rms_norm(qk_BTHD, (D,), None, self.config.norm_eps) * weight_HD
            if rotation is not None:
                cos_BT1D, sin_BT1D = rotation
                qk_BTHD = qk_BTHD * cos_BT1D + qk_BTHD.roll(D // 2, -1) * sin_BT1D
            q_BTHD, k_BTKD = qk_BTHD.to(self.dtype).split((H, K), dim=2)
            x_BTC = x_BTC + block.attention.out(mix(layer, q_BTHD, k_BTKD, v_BTKD))
            x_BTC = x_BTC + block.mlp(normed(x_BTC, block.mlp_norm))
        return x_BTC


# --- weights -----------------------------------------------------------------------------------------------


def in_compute_dtype(model: GPT) -> GPT:
    """The model with all weights in the device's `compute_dtype`: itself, or a copy.

    A step reads every weight once and does little else, so that half the bytes are half the time.
    """
    dtype = compute_dtype(model.embedding.weight.device)
    weights = model.state_dict()
    if all(weight.dtype == dtype for weight in weights.values()):
        return model
    with torch.device("meta"):
        copy = GPT(model.config)
    copy.load_state_dict({name: weight.to(dtype) for name, weight in weights.items()}, assign=True)
    return copy


def normed(x_BTC: Tensor, norm: nn.Module) -> Tensor:
    """The norm in one kernel, which computes in fp32 whatever its input is."""
    if isinstance(norm, RMSNorm):
        return F.rms_norm(x_BTC, norm.weight.shape, norm.weight, norm.eps)
    assert isinstance(norm, LayerNorm)
    return F.layer_norm(x_BTC, norm.weight.shape, norm.weight, norm.bias, norm.eps)


def _qk_weight(attention: Attention) -> Tensor | None:
    """fp32 weights of QK-norm for query and key heads side by side, (H + K, D)."""
    return attention.qk_weight_HD().float() if attention.qk_norm else None


def _masked_kernels(device: torch.device) -> contextlib.AbstractContextManager[object]:
    if device.type == "cuda":
        return sdpa_kernel(MASKED_BACKENDS, set_priority=True)
    return contextlib.nullcontext()
