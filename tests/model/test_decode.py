"""Decoding a token at a time against whole forward passes, a graph against plain steps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from model.decode import EAGER_STEPS, Decoder, in_compute_dtype
from model.gpt import GPT
from tests.model.shards import VOCAB, small_model
from tests.model.test_gpt import SHAPES


def shaken(shape: str, **changes: int) -> GPT:
    """A model away from the symmetry of its initial weights."""
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
        logits_NBV.index_copy_(0, decoder.number_1, logits_BV[None])
        return forced_BN.index_select(1, decoder.number_1)[:, 0]

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
    """A shorter text in the place of a longer one sees nothing of it; the other rows go on."""
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


@torch.no_grad()
def test_a_failed_recording_is_told_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_cuda_decodes_as_a_cpu_does(shape: str) -> None:
    model, texts, starts = shaken(shape), random_texts(3, 24), (3, 12, 7)
    on_cpu = torch.stack(forced_logits(model, texts, starts, 12))
    model.to("cuda")
    plain = torch.stack(forced_logits(model, texts, starts, 12, graph=False))
    # bf16 keeps 8 bits of each of a few dozen sums.
    assert (plain.cpu() - on_cpu).abs().max() < 0.05 * on_cpu.abs().max()


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
def test_a_graph_computes_what_plain_steps_do(shape: str) -> None:
    model, texts, starts = shaken(shape).to("cuda"), random_texts(3, 24), (3, 12, 7)
    plain, replayed = (forced_logits(model, texts, starts, 12, graph) for graph in (False, True))
    for plain_BV, replayed_BV in zip(plain, replayed, strict=True):
        assert torch.equal(plain_BV, replayed_BV)
