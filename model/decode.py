"""Decoding: run the model for one token at a time, and keep the keys and values of earlier tokens (KV cache).

A `Decoder` holds a batch of texts of different lengths, one in each row. The next token of row b goes to slot
`position_B[b]` of the row's cache and sees the slots up to that one. A step is: embedding, blocks, logits, draw.
Everything that changes from step to step, even the step's number, is a tensor on the device, and every shape is fixed.
So a step needs nothing from the host, and on CUDA it is recorded once as a graph and replayed: with one token a row,
Python takes longer to launch the hundreds of kernels than the kernels take to run. On a CPU a step runs without a graph
and reads only the filled part of the cache.

The blocks compute what those of model/gpt.py compute, in a form for inference: weights and residual stream are in
`compute_dtype`, a norm is one kernel, and the query heads that share a key head are one more dimension.

Tensor names are those of model/gpt.py, and: L layers, S slots of the cache, G = H / K query heads a key head, N tokens
to draw, b some of the rows.
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

# The number of slots is a multiple of this, because kernels want the rows of a mask to be aligned.
SLOT_TILE = 64
# Steps before the one that is recorded as a graph. They are ordinary steps, in which libraries set themselves up.
EAGER_STEPS = 2
# CUDA's attention kernels that take a mask; FlashAttention takes none.
MASKED_BACKENDS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]

Draw = Callable[[Tensor, Tensor], Tensor]  # logits (B, V) fp32 and uniform numbers (B,) -> ids (B,)
Mix = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, q_BTHD, k_BTKD, v_BTKD -> attention's output (B, T, H D)


class Decoder:
    """A batch of texts, and the tokens drawn after them.

    `prefill` puts texts into rows, each `step` draws a token for every row, and `drawn` gives the tokens to the host.
    """

    def __init__(self, model: GPT, uniform_BN: Tensor, draw: Draw, longest: int, graph: bool = True) -> None:
        """A decoder with empty rows.

        `uniform_BN` are fp32 numbers in [0, 1), with which the N tokens of each of the B rows are drawn by `draw`.
        `longest` is the most tokens that a row will hold. `graph` says whether to record a graph on CUDA.
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
        # The cache starts with zeros: attention gives an empty slot the weight 0, and 0 x NaN would be NaN.
        K = self.config.kv_heads
        shape = (self.config.layers, B, K, self.slots, self.config.head_dim)
        self.k_LBKSD = torch.zeros(shape, dtype=self.dtype, device=device)
        self.v_LBKSD = torch.zeros(shape, dtype=self.dtype, device=device)
        self.uniform_BN = uniform_BN.to(device)
        self.drawn_BN = torch.zeros(uniform_BN.shape, dtype=torch.int64, device=device)
        self.token_B = torch.zeros(B, dtype=torch.int64, device=device)  # input of the next step
        self.position_B = torch.zeros(B, dtype=torch.int64, device=device)  # the slot that this token goes to
        self.first_slot_BK = torch.arange(B * K, device=device).view(B, K) * self.slots
        self.slot_S = torch.arange(self.slots, device=device)
        self.step_number_1 = torch.zeros(1, dtype=torch.int64, device=device)  # from 0
        self.filled = 0  # slots in use in the longest row, counted by the host
        self.steps = 0  # counted by the host
        self.wants_graph = graph and device.type == "cuda"
        self.recorded: torch.cuda.CUDAGraph | None = None

    # --- what the caller uses ----------------------------------------------------------------------------------

    def prefill(self, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> None:
        """Replace the content of `rows` by `texts`, each of at least one and at most `longest` ids.

        One forward pass fills the cache with all ids but the last one of each text, which the next step reads. Equal
        texts are computed once.
        """
        unique = list(dict.fromkeys(tuple(text) for text in texts))
        T = max(len(text) for text in unique) - 1
        row_b = torch.tensor(rows, device=self.device)
        if T:
            # The padding on the right does no harm: no token sees a later token, and the slots after a row's position
            # are overwritten before a query sees them.
            padded = [[*text[:-1], *[0] * (T + 1 - len(text))] for text in unique]
            numbers = {text: number for number, text in enumerate(unique)}
            source_b = torch.tensor([numbers[tuple(text)] for text in texts], device=self.device)
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
        """Draw one token for each row. The caller makes sure that no row is full."""
        self.filled += 1
        self.steps += 1
        if self.recorded is not None:
            self.recorded.replay()
        elif not self.wants_graph:
            self._step()
        elif self.steps <= EAGER_STEPS:
            self._step_on_another_stream()
        else:
            self._record()

    def drawn(self, first: int, last: int) -> list[list[int]]:
        """The tokens of steps `first` to `last` - 1, a list for each row. Waits for the device."""
        ids: list[list[int]] = self.drawn_BN[:, first:last].tolist()
        return ids

    # --- a step, on the device -------------------------------------------------------------------------------

    def _step(self) -> None:
        with _masked_kernels(self.device):
            logits_BV = self._logits()
        uniform_B = self.uniform_BN.index_select(1, self.step_number_1)[:, 0]
        token_B = self.draw(logits_BV, uniform_B)
        self.drawn_BN.index_copy_(1, self.step_number_1, token_B[:, None])
        self.token_B.copy_(token_B)
        self.position_B += 1
        self.step_number_1 += 1

    def _step_on_another_stream(self) -> None:
        """A step on a stream of its own, as a recording has one, so that libraries allocate their memory for it."""
        other = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        current = torch.cuda.current_stream(self.device)
        other.wait_stream(current)
        with torch.cuda.stream(other):
            self._step()
        current.wait_stream(other)

    def _record(self) -> None:
        """Record a step as a graph and replay it. If that fails, warn and continue without a graph."""
        try:
            graph = torch.cuda.CUDAGraph()
            # "thread_local": other threads (the one that pins batches, NCCL's watchdog) may make calls that a recording
            # forbids.
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
        """Logits (B, V) in fp32 after `token_B`, whose keys and values are written into the cache."""
        # A graph needs fixed shapes, so that it reads all slots; on a CPU only the filled slots are read.
        span = self.slots if self.device.type == "cuda" else self.filled
        slot_n = (self.first_slot_BK + self.position_B[:, None]).flatten()
        distance_BS = self.position_B[:, None] - self.slot_S[:span]
        masks = {window: self._step_mask(distance_BS, window) for window in self.windows}
        K, D = self.config.kv_heads, self.config.head_dim

        def mix(layer: int, q_B1HD: Tensor, k_B1KD: Tensor, v_B1KD: Tensor) -> Tensor:
            k_BKSD, v_BKSD = self.k_LBKSD[layer], self.v_LBKSD[layer]
            k_BKSD.view(-1, D).index_copy_(0, slot_n, k_B1KD.reshape(-1, D))
            v_BKSD.view(-1, D).index_copy_(0, slot_n, v_B1KD.reshape(-1, D))
            # The G query heads of a key head stand where attention has T queries: all of them see the same keys.
            q_BKGD = q_B1HD.view(self.rows, K, -1, D)
            mask_B11S = masks[self.config.window_of(layer)]
            y_BKGD = attend(q_BKGD, k_BKSD[:, :, :span], v_BKSD[:, :, :span], mask_B11S)
            return y_BKGD.reshape(self.rows, 1, -1)

        x_B1C = self._blocks(self.token_B[:, None], self.position_B[:, None], mix)
        return self.model.head(normed(x_B1C[:, 0], self.model.norm))

    def _step_mask(self, distance_BS: Tensor, window: int) -> Tensor:
        """The mask that is added to the scores, (B, 1, 1, S): 0 where a slot is seen, -inf where it is not.

        `distance_BS` is how many tokens a slot lies before the row's position.
        """
        hidden_BS = distance_BS < 0
        if window:
            hidden_BS = hidden_BS | (distance_BS >= window)
        mask_BS = torch.zeros(distance_BS.shape, dtype=self.dtype, device=self.device)
        return mask_BS.masked_fill_(hidden_BS, -torch.inf)[:, None, None]

    def _blocks(self, tokens_BT: Tensor, position_BT: Tensor, mix: Mix) -> Tensor:
        """The residual stream after the last block, (B, T, C).

        Positions are (B, T), or (T,) if all rows have the same. `mix` computes attention and writes the cache.
        """
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
    """The model with all weights in its device's `compute_dtype`: `model` itself, or a copy.

    A step does little but read every weight once, so that half the bytes take half the time.
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
    """`norm(x)` in one kernel, which computes in fp32 whatever the input's dtype is."""
    if isinstance(norm, RMSNorm):
        return F.rms_norm(x_BTC, norm.weight.shape, norm.weight, norm.eps)
    assert isinstance(norm, LayerNorm)
    return F.layer_norm(x_BTC, norm.weight.shape, norm.weight, norm.bias, norm.eps)


def _qk_weight(attention: Attention) -> Tensor | None:
    """The weights of QK-norm for all query heads and then all key heads, (H + K, D) in fp32; None without QK-norm."""
    return attention.qk_weight_HD().float() if attention.qk_norm else None


def _masked_kernels(device: torch.device) -> contextlib.AbstractContextManager[object]:
    if device.type == "cuda":
        return sdpa_kernel(MASKED_BACKENDS, set_priority=True)
    return contextlib.nullcontext()
