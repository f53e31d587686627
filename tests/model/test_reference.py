"""Training against other implementations: GPT-2's loss curve in double precision, and transformers' gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import TrainConfig
from model.gpt import GPT
from model.hf import export
from model.hf_shapes import architecture_of, to_theirs
from model.optim import learning_rate, make_optimizers, set_learning_rate, zero_gradients
from model.presets import from_preset
from tests.oracles import model_gpt2
from tests.support.model_peers import SHAPES, random_ids, random_model, transformers_model
from tests.support.model_shards import END_OF_TEXT, VOCAB, small_model

Batch = tuple[Tensor, Tensor]


def text_like_batches(vocab_size: int, steps: int, batch: int, context: int) -> list[Batch]:
    """Inputs and targets, (batch, context) each: ids as frequent as words (Zipf), most with a usual successor."""
    generator = torch.Generator().manual_seed(5)
    frequency_V = 1 / torch.arange(1, vocab_size + 1, dtype=torch.float64)
    successor_V = torch.randperm(vocab_size, generator=generator)
    count = steps * batch
    ids_NT = torch.multinomial(frequency_V, count * (context + 1), replacement=True, generator=generator)
    ids_NT = ids_NT.view(count, context + 1)
    usual_NT = torch.rand(ids_NT.shape, generator=generator) < 0.7
    for t in range(1, context + 1):
        ids_NT[:, t] = torch.where(usual_NT[:, t], successor_V[ids_NT[:, t - 1]], ids_NT[:, t])
    return [(rows_BT[:, :-1], rows_BT[:, 1:]) for rows_BT in ids_NT.split(batch)]


def train_ours(gpt: GPT, config: TrainConfig, batches: list[Batch]) -> tuple[list[float], list[float]]:
    """The loss and the gradient's norm before each update, computed by `model.train`."""
    optimizers = make_optimizers(gpt, config)
    losses, norms = [], []
    for step, (inputs_BT, targets_BT) in enumerate(batches):
        loss = gpt(inputs_BT, targets_BT)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(gpt.parameters(), config.clip_norm)))
        losses.append(loss.item())
        set_learning_rate(optimizers, learning_rate(step, config))
        for optimizer in optimizers:
            optimizer.step()
        zero_gradients(optimizers)
    return losses, norms


def train_reference(gpt: GPT, config: TrainConfig, batches: list[Batch]) -> tuple[list[float], list[float]]:
    """The loss and the gradient's norm before each update, computed by the oracle from the present weights of `gpt`."""
    pieces = architecture_of(gpt.config).pieces(gpt.config)
    weights = {name.removeprefix("transformer."): w for name, w in to_theirs(pieces, gpt.state_dict()).items()}
    last = config.lr * config.min_lr_ratio
    rates = [
        model_gpt2.warmup_and_cosine(step, config.steps, config.warmup_steps, config.lr, last)
        for step in range(config.steps)
    ]
    shape = gpt.config.layers, gpt.config.heads
    adamw = (config.beta1, config.beta2), config.eps, config.weight_decay, config.clip_norm
    return model_gpt2.train(weights, *shape, batches, rates, *adamw)


def assert_same_curve(
    gpt: GPT, config: TrainConfig, batches: list[Batch], within: float
) -> tuple[list[float], list[float]]:
    losses, norms = train_reference(gpt, config, batches)
    our_losses, our_norms = train_ours(gpt, config, batches)
    assert our_losses == pytest.approx(losses, abs=within, rel=0)
    # On a CPU PyTorch adds up a tensor's squares in fp32 one after the other: 38 million lose a thousandth.
    assert our_norms == pytest.approx(norms, rel=2e-3)
    return losses, norms


def test_fifty_steps_of_gpt2_follow_the_reference() -> None:
    shape = {"layers": 4, "width": 128, "heads": 2, "kv_heads": 2, "mlp_width": 512, "context": 64}
    training = {"steps": 50, "batch_tokens": 256, "lr": 3e-3, "warmup_steps": 10, "min_lr_ratio": 0.1, "clip_norm": 2.0}
    model, config = from_preset("gpt2-124m", 512, shape, training)
    assert (config.schedule, config.warmup_steps, config.weight_decay) == ("cosine", 10, 0.1)
    # An eps of 1e-7 instead of 1e-8 would be 8e-5 off, a hundredth more clipping 1e-3; rounding is 1e-6.
    losses, norms = assert_same_curve(GPT(model, seed=6), config, text_like_batches(512, 50, 4, 64), 1e-5)
    assert losses[0] == pytest.approx(6.24, abs=0.1)  # ln 512: a guess
    assert losses[-1] < 4.5
    assert min(norms) < config.clip_norm < max(norms)


@pytest.mark.long
def test_full_size_follows_the_reference_for_a_few_steps() -> None:
    training = {"steps": 10, "batch_tokens": 1024, "lr": 3e-4, "warmup_steps": 2}
    model, config = from_preset("gpt2-124m", 50_257, {}, training)
    losses, _ = assert_same_curve(GPT(model, seed=6), config, text_like_batches(50_257, 10, 2, 64), 1e-4)
    assert min(losses[-3:]) < losses[0] - 0.5


# --- one backward pass -------------------------------------------------------------------------------------


def assert_same_gradients(gpt: GPT, folder: Path, ids_BT: Tensor) -> None:
    """Each tensor's gradient, compared by the norm of the difference."""
    inputs_BT, targets_BT = ids_BT[:, :-1], ids_BT[:, 1:]
    export(gpt, folder, END_OF_TEXT, tokenizer=None)
    twin = transformers_model(folder)
    F.cross_entropy(twin(inputs_BT).logits.flatten(0, 1), targets_BT.flatten()).backward()
    gpt(inputs_BT, targets_BT).backward()
    ours = {name: weight.grad for name, weight in gpt.named_parameters()}
    ours = to_theirs(architecture_of(gpt.config).pieces(gpt.config), ours)
    theirs = {name: weight.grad for name, weight in twin.named_parameters()}
    assert ours.keys() == theirs.keys()
    difference = {name: float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs}
    assert max(difference.values()) < 1e-5, difference


@pytest.mark.parametrize("name", SHAPES)
def test_gradients_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    assert_same_gradients(random_model(small_model(**SHAPES[name]), noise=0.03), tmp_path, random_ids(VOCAB, 4, 17))


@pytest.mark.parametrize("preset", ["124m", "gpt2-124m"])
def test_gradients_are_those_of_transformers_at_full_size(tmp_path: Path, preset: str) -> None:
    gpt = random_model(from_preset(preset, 50_257)[0], noise=0.01)
    assert_same_gradients(gpt, tmp_path, random_ids(50_257, 2, 65))
