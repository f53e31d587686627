"""The model against its definitions, and a padded vocabulary against one without padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.attention import attend, causal_mask
from model.gpt import GPT, RMSNorm, flops_per_token, parameter_count, rope_tables, rotate
from model.optim import make_optimizers, zero_gradients
from model.presets import from_preset
from tests.oracles import model_attention as oracle
from tests.support.model_shards import END_OF_TEXT, SHAPES, small_model


@settings(max_examples=20)
@given(
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 3),
    new=st.integers(1, 6),
    before=st.integers(0, 5),
    window=st.integers(0, 6),
    seed=st.integers(0, 2**16),
)
def test_attention_equals_its_definition(
    kv_heads: int, group: int, new: int, before: int, window: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    q_BHTD = torch.randn(2, kv_heads * group, new, 8, generator=generator)
    k_BKSD = torch.randn(2, kv_heads, before + new, 8, generator=generator)
    v_BKSD = torch.randn(2, kv_heads, before + new, 8, generator=generator)
    arrays = [x.double().numpy() for x in (q_BHTD, k_BKSD, v_BKSD)]
    position_S = torch.arange(before + new)
    mask_TS = causal_mask(position_S[before:], position_S, window)
    expected = oracle.causal_attention(*arrays, window=window)
    np.testing.assert_allclose(attend(q_BHTD, k_BKSD, v_BKSD, mask_TS).numpy(), expected, atol=2e-6)
    if not window and (not before or new == 1):
        np.testing.assert_allclose(attend(q_BHTD, k_BKSD, v_BKSD).numpy(), expected, atol=2e-6)


def test_rms_norm_equals_its_definition() -> None:
    generator = torch.Generator().manual_seed(1)
    norm = RMSNorm(12, eps=1e-6)
    norm.weight.data = torch.randn(12, generator=generator)
    x_ND = torch.randn(5, 12, generator=generator) * 10
    expected = oracle.rms_norm(x_ND.double().numpy(), norm.weight.detach().double().numpy(), 1e-6)
    np.testing.assert_allclose(norm(x_ND).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_rope_equals_complex_rotation() -> None:
    x_TD = torch.randn(32, 8, generator=torch.Generator().manual_seed(2))
    cos_TD, sin_TD = rope_tables(32, 8, theta=10_000.0)
    turned = rotate(x_TD[None, :, None], cos_TD, sin_TD)[0, :, 0]
    np.testing.assert_allclose(turned.numpy(), oracle.rope(x_TD.double().numpy(), 10_000.0), atol=2e-6)


def test_rope_scores_depend_on_distance_alone() -> None:
    q_D, k_D = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    tables = rope_tables(64, 8, theta=10_000.0)
    q_TD, k_TD = (rotate(x.expand(1, 64, 1, 8), *tables)[0, :, 0] for x in (q_D, k_D))
    scores = [float(q_TD[t] @ k_TD[t - 5]) for t in range(5, 64)]
    assert max(scores) - min(scores) < 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_no_token_sees_a_later_one(shape: str) -> None:
    model = GPT(small_model(**SHAPES[shape]), seed=7)
    tokens_BT = torch.arange(16)[None]
    changed_BT = tokens_BT.clone()
    changed_BT[0, 10:] = 50
    with torch.no_grad():
        difference = (model.logits(tokens_BT) - model.logits(changed_BT)).abs().amax((0, 2))
    assert difference[:10].max() == 0
    assert difference[10:].min() > 0


def test_a_window_ends_where_it_says() -> None:
    """With one layer of window 5, token t sees t - 4 to t. A second layer without a window sees all tokens."""
    tokens_BT = torch.arange(16)[None]
    changed_BT = tokens_BT.clone()
    changed_BT[0, 2] = 50
    config = small_model(window=5, layers=2, full_every=9)
    model = GPT(config, seed=7)
    assert [config.window_of(layer) for layer in range(2)] == [5, 0]
    with torch.no_grad():
        deep = (model.logits(tokens_BT) - model.logits(changed_BT)).abs().amax((0, 2))
        del model.blocks[1]  # leaves the layer with the window
        shallow = (model.logits(tokens_BT) - model.logits(changed_BT)).abs().amax((0, 2))
    assert shallow[2:7].min() > 0
    assert shallow[7:].max() == 0
    assert deep[2:].min() > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_document_mask_keeps_documents_apart(shape: str) -> None:
    """A change in document A does not change a bit of the losses of document B."""
    model = GPT(small_model(**SHAPES[shape]), seed=7)
    a, b = [5, 6, 7, 8, 9], [10, 11, 12, 13, 14, 15]
    ids_T = torch.tensor([*a, END_OF_TEXT, *b, END_OF_TEXT, 1, 2, 3, 4])
    changed_T = ids_T.clone()
    changed_T[1:4] = torch.tensor([60, 61, 62])
    losses, open_losses = [], []
    with torch.no_grad():
        for tokens_T in (ids_T, changed_T):
            x_BT, y_BT = tokens_T[None, :-1], tokens_T[None, 1:]
            losses.append(model(x_BT, y_BT, reduction="none", end_of_text=END_OF_TEXT)[0])
            open_losses.append(model(x_BT, y_BT, reduction="none")[0])
        alone_T = torch.tensor([END_OF_TEXT, *b, END_OF_TEXT])
        alone = model(alone_T[None, :-1], alone_T[None, 1:], reduction="none")[0]
    assert torch.equal(losses[0][5:], losses[1][5:])  # the end-of-text token at 5 opens the next document
    assert (losses[0][1:5] != losses[1][1:5]).all()
    assert (open_losses[0][6:] != open_losses[1][6:]).any()
    if shape != "gpt2":  # learned positions count from the start of the sequence
        assert torch.allclose(losses[0][5:12], alone, atol=1e-5)  # equal to the losses of the document alone


@pytest.mark.parametrize("shape", SHAPES)
def test_checkpointed_activations_change_nothing(shape: str) -> None:
    x_BT, y_BT = torch.randint(0, 100, (2, 2, 16), generator=torch.Generator().manual_seed(9))
    gradients = []
    for checkpointed in (False, True):
        model = GPT(small_model(**SHAPES[shape]), seed=8)
        model.checkpoint_activations = checkpointed
        model(x_BT, y_BT, end_of_text=END_OF_TEXT).backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for plain, checkpointed_gradient in zip(*gradients, strict=True):
        assert plain is not None
        assert torch.equal(plain, checkpointed_gradient)


def test_too_long_a_sequence_is_refused() -> None:
    model = GPT(small_model())
    with pytest.raises(ValueError, match="17 tokens: should be at most the context, 16"):
        model.logits(torch.zeros(1, 17, dtype=torch.long))


def test_padding_has_no_logits_and_no_gradient() -> None:
    model = GPT(small_model())
    assert model.embedding.weight.shape == (128, 64)
    tokens_BT = torch.randint(0, 100, (2, 16))
    assert model.logits(tokens_BT).shape == (2, 16, 100)
    model(tokens_BT, tokens_BT).backward()
    gradient = model.embedding.weight.grad
    assert gradient is not None
    assert gradient[:100].abs().sum(1).min() > 0
    assert gradient[100:].abs().max() == 0


def test_loss_is_the_mean_negative_log_probability() -> None:
    model = GPT(small_model(), seed=8)
    x_BT, y_BT = torch.randint(0, 100, (2, 2, 16), generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        log_p = model.logits(x_BT).double().log_softmax(-1)
        expected = -log_p.gather(-1, y_BT[..., None])[..., 0]
        assert torch.allclose(model(x_BT, y_BT, reduction="none").double(), expected, atol=1e-5)
        assert abs(float(model(x_BT, y_BT)) - float(expected.mean())) < 1e-6


def test_same_seed_same_weights() -> None:
    torch.manual_seed(1)
    first = GPT(small_model(), seed=3).state_dict()
    torch.manual_seed(2)
    second, other = GPT(small_model(), seed=3).state_dict(), GPT(small_model(), seed=4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_tiny_preset_overfits_one_batch(optimizer: str) -> None:
    config, training = from_preset("tiny", 256, training={"optimizer": optimizer})
    model = GPT(config)
    optimizers = make_optimizers(model, training)
    x_BT, y_BT = torch.randint(0, 256, (2, 4, 64), generator=torch.Generator().manual_seed(0))
    for step in range(150):
        zero_gradients(optimizers)
        loss = model(x_BT, y_BT)
        if step > 0 and loss < 0.01:
            break
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        for each in optimizers:
            each.step()
    assert loss < 0.01


# Of openai/gpt-2's checkpoints: 124,439,808 and so on, without our padding of the vocabulary by 47 rows.
GPT2_PARAMETERS = {"124m": 124_439_808, "350m": 354_823_168, "774m": 774_030_080, "1558m": 1_557_611_200}


@pytest.mark.parametrize("name", GPT2_PARAMETERS)
def test_presets_have_gpt2_sizes(name: str) -> None:
    config, training = from_preset(f"gpt2-{name}", vocab_size=50257)
    with torch.device("meta"):
        assert parameter_count(GPT(config)) - 47 * config.width == GPT2_PARAMETERS[name]
        ours, same = from_preset(name, vocab_size=50257)
        assert abs(parameter_count(GPT(ours)) / GPT2_PARAMETERS[name] - 1) < 0.015
    assert training == same


def test_flops_count_six_a_matrix_weight_and_the_scores() -> None:
    config = small_model()
    model = GPT(config)
    matrices = sum(w.numel() for name, w in model.named_parameters() if w.dim() == 2 and "embedding" not in name)
    scores = 12 * config.layers * config.context * config.heads * config.head_dim
    assert flops_per_token(config) == 6 * (matrices + config.vocab_size * config.width) + scores


@pytest.mark.gpu
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_cuda_agrees_with_cpu(shape: str, compiled: bool) -> None:
    """Losses with and without a document mask, and gradients, agree up to bf16's rounding."""
    from model.attention import kernels
    from model.device import autocast

    device = torch.device("cuda")
    config = small_model(context=256, head_dim=32, **SHAPES[shape])
    on_cpu, on_cuda = GPT(config, seed=1), GPT(config, seed=1).to(device)
    if compiled:
        on_cuda.compile_trunk()
    x_BT, y_BT = torch.randint(0, 100, (2, 4, 256), generator=torch.Generator().manual_seed(0))
    for end_of_text in (None, 7):
        on_cpu.zero_grad()
        on_cuda.zero_grad()
        expected = on_cpu(x_BT, y_BT, end_of_text=end_of_text)
        expected.backward()
        with autocast(device), kernels(device):
            found = on_cuda(x_BT.to(device), y_BT.to(device), end_of_text=end_of_text)
            found.backward()
        assert found.dtype == torch.float32
        assert abs(float(found) - float(expected)) < 2e-2
        for name, weight in on_cpu.named_parameters():
            assert weight.grad is not None
            gradient = on_cuda.get_parameter(name).grad
            assert gradient is not None
            assert (gradient.cpu() - weight.grad).norm() < 5e-2 * weight.grad.norm() + 1e-4, name
