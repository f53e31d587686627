"""Decoding a token at a time against whole forward passes, and a CUDA graph against plain steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from model.decode import EAGER_STEPS, Decoder, in_compute_dtype
from model.draw import Sampling, draw
from model.gpt import GPT
from tests.support.model_shards import SHAPES, VOCAB, small_model

BF16_ERROR = 0.08  # of the largest logit: bf16 keeps 8 bits of each of a few dozen sums


def shaken(shape: str, **changes: int) -> GPT:
    """A model whose norms and biases are random too."""
    model = GPT(small_model(context=24, **{**SHAPES[shape], **changes}), seed=4)
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@torch.no_grad()
def forced_logits(
    model: GPT, texts: Sequence[Sequence[int]], starts: Sequence[int], steps: int, graph: bool = True
) -> list[Tensor]:
    """Logits (B, V) of each step when the first `starts` ids of each text are given and the rest are "drawn"."""
    device = model.embedding.weight.device
    forced = [text[start : start + steps] for text, start in zip(texts, starts, strict=True)]
    forced_BN = torch.tensor([[*row, *[0] * (steps - len(row))] for row in forced], device=device)
    logits_NBV = torch.zeros(steps, len(texts), model.config.vocab_size, device=device)

    def draw(logits_BV: Tensor, _: Tensor) -> Tensor:
        logits_NBV.index_copy_(0, decoder.step_number_1, logits_BV[None])
        return forced_BN.index_select(1, decoder.step_number_1)[:, 0]

    longest = max(starts) + steps
    decoder = Decoder(model, torch.zeros(len(texts), steps), draw, longest, graph)
    decoder.prefill(range(len(texts)), [text[:start] for text, start in zip(texts, starts, strict=True)])
    for _ in range(steps):
        decoder.step()
    assert decoder.drawn(0, steps) == forced_BN.tolist()
    return list(logits_NBV)


def random_texts(rows: int, length: int) -> list[list[int]]:
    ids: list[list[int]] = torch.randint(0, VOCAB, (rows, length), generator=torch.Generator().manual_seed(6)).tolist()
    return ids


@pytest.mark.parametrize("starts", [(1, 1, 1), (10, 10, 10), (3, 12, 7), (12, 1, 2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_equal_one_forward(shape: str, starts: tuple[int, ...]) -> None:
    model, texts, steps = shaken(shape), random_texts(3, 24), 12
    with torch.no_grad():
        whole_BTV = model.logits(torch.tensor(texts))
    for step, logits_BV in enumerate(forced_logits(model, texts, starts, steps)):
        for row, start in enumerate(starts):
            assert (logits_BV[row] - whole_BTV[row, start - 1 + step]).abs().max() < 1e-5


@torch.no_grad()
def test_a_row_may_begin_anew() -> None:
    """A shorter text that replaces a longer one sees nothing of it, and the other rows are unchanged."""
    model, texts = shaken("window"), random_texts(3, 24)
    seen: list[Tensor] = []

    def draw(logits_BV: Tensor, _: Tensor) -> Tensor:
        seen.append(logits_BV)
        return torch.tensor([texts[row][length] for row, length in enumerate(lengths)])

    lengths = [20, 4, 9]
    decoder = Decoder(model, torch.zeros(3, 8), draw, 24)
    decoder.prefill(range(3), [text[:length] for text, length in zip(texts, lengths, strict=True)])
    for step in range(8):
        if step == 4:
            lengths[0] = 5
            decoder.prefill([0], [texts[0][:5]])
        decoder.step()
        for row, length in enumerate(lengths):
            expected_V = model.logits(torch.tensor([texts[row][:length]]))[0, -1]
            assert (seen[-1][row] - expected_V).abs().max() < 1e-5
        lengths = [length + 1 for length in lengths]


def test_equal_texts_are_computed_once() -> None:
    model = shaken("default")
    batches = []
    model.embedding.register_forward_hook(lambda module, given, out: batches.append(tuple(out.shape)))
    decoder = Decoder(model, torch.zeros(4, 1), lambda logits_BV, _: logits_BV.argmax(-1), 24)
    with torch.no_grad():
        decoder.prefill(range(4), [[1, 2, 3], [1, 2, 3], [4, 5], [1, 2, 3]])
    assert batches == [(2, 2, 64)]
    k_BTKD = decoder.k_LBKSD[-1].transpose(1, 2)
    assert torch.equal(k_BTKD[0, :2], k_BTKD[3, :2])
    assert not torch.equal(k_BTKD[0, :2], k_BTKD[2, :2])


class Operations(TorchDispatchMode):
    """Records the names of all operations that run inside the context."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("settings", [{}, {"top_k": 0}, {"top_k": 0, "top_p": 0.9}, {"temperature": 0.0}])
@torch.no_grad()
def test_a_step_needs_no_word_from_the_host(shape: str, settings: dict[str, float]) -> None:
    """A graph allows no number that is read from the device or sent to it, and no shape that depends on values."""
    sampling = Sampling(**settings)  # type: ignore[arg-type]
    decoder = Decoder(shaken(shape), torch.zeros(2, 4), partial(draw, sampling=sampling), 24)
    decoder.prefill([0, 1], [[1, 2, 3], [4]])
    steps = []
    for _ in range(3):
        with Operations() as operations:
            decoder.step()
        steps.append(operations.names)
    forbidden = {"aten._local_scalar_dense", "aten.item", "aten.nonzero", "aten.masked_select", "aten.lift_fresh"}
    assert not forbidden & set(steps[0])
    assert steps[0] == steps[1] == steps[2]
    assert "aten.index_copy_" in steps[0]
    with Operations() as operations:
        decoder.prefill([0], [[5, 6]])
    # A read from the device and a copy to it have these names.
    assert {"aten._local_scalar_dense", "aten.lift_fresh"} <= set(operations.names)


@torch.no_grad()
def test_a_failed_recording_is_reported_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise RuntimeError("no memory for a graph")

    drawn = []
    for wanted in (False, True):
        decoder = Decoder(shaken("default"), torch.zeros(1, 6), lambda logits_BV, _: logits_BV.argmax(-1), 24)
        decoder.prefill([0], [[1, 2, 3]])
        decoder.step()
        if wanted:
            monkeypatch.setattr(torch.cuda, "CUDAGraph", refused)
            monkeypatch.setattr(decoder, "wants_graph", True)
            decoder.steps = EAGER_STEPS
            with pytest.warns(RuntimeWarning, match="without a CUDA graph, which is slower: no memory for a graph"):
                decoder.step()
        for _ in range(5 - wanted):
            decoder.step()
        drawn += decoder.drawn(0, 6)
    assert drawn[0] == drawn[1]


def test_on_a_cpu_the_weights_are_the_model_s_own() -> None:
    model = shaken("default")
    assert in_compute_dtype(model) is model


@pytest.mark.parametrize("shape", SHAPES)
def test_bf16_weights_give_nearly_the_same(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 as on CUDA: every operation supports it, and the results differ only by rounding."""
    model, texts, starts = shaken(shape), random_texts(3, 24), (3, 12, 7)
    exact = torch.stack(forced_logits(model, texts, starts, 12))
    monkeypatch.setattr("model.decode.compute_dtype", lambda device: torch.bfloat16)
    copy = in_compute_dtype(model)
    assert {weight.dtype for weight in copy.parameters()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    rounded = torch.stack(forced_logits(model, texts, starts, 12))
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < BF16_ERROR * exact.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_cuda_decodes_as_a_cpu_does(shape: str) -> None:
    model, texts, starts = shaken(shape), random_texts(3, 24), (3, 12, 7)
    on_cpu = torch.stack(forced_logits(model, texts, starts, 12))
    model.to("cuda")
    plain = torch.stack(forced_logits(model, texts, starts, 12, graph=False))
    assert (plain.cpu() - on_cpu).abs().max() < BF16_ERROR * on_cpu.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_a_graph_computes_what_plain_steps_do(shape: str) -> None:
    model, texts, starts = shaken(shape).to("cuda"), random_texts(3, 24), (3, 12, 7)
    plain, replayed = (forced_logits(model, texts, starts, 12, graph) for graph in (False, True))
    for plain_BV, replayed_BV in zip(plain, replayed, strict=True):
        assert torch.equal(plain_BV, replayed_BV)
