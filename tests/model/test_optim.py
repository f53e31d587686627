"""The optimizers against their definitions, in one process and in two; the shapes of the schedules."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from model import muon as muon_module
from model.config import OPTIMIZERS, TrainConfig
from model.device import autocast
from model.gpt import GPT
from model.muon import Muon, orthogonalise, row_parts
from model.optim import learning_rate, make_optimizers, set_learning_rate, zero_gradients
from tests.oracles.model_muon import muon
from tests.support.model_processes import forks
from tests.support.model_shards import small_model, small_training

# Odd sizes everywhere: nothing divides evenly between two processes.
ODD = {"width": 31, "mlp_width": 33, "heads": 3, "kv_heads": 1, "head_dim": 14}


def training(**changes: Any) -> TrainConfig:
    return dataclasses.replace(small_training(), **changes)


def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        x_BT, y_BT = torch.randint(0, 99, (2, 8, 16), generator=generator)
        yield x_BT, y_BT


def train(
    gpt: nn.Module, optimizers: list[torch.optim.Optimizer], data: Iterable[tuple[Tensor, Tensor]]
) -> list[float]:
    """Losses of one update for each batch."""
    losses = []
    for x_BT, y_BT in data:
        loss = gpt(x_BT, y_BT)
        loss.backward()
        losses.append(loss.item())
        for optimizer in optimizers:
            optimizer.step()
        zero_gradients(optimizers)
    return losses


def names_of(gpt: GPT, weights: Sequence[Tensor]) -> list[str]:
    names = {id(weight): name for name, weight in gpt.named_parameters()}
    return [names[id(weight)] for weight in weights]


# --- which optimizer has what ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_the_table_holds_each_weight_once(name: str) -> None:
    gpt = GPT(small_model())
    optimizers = make_optimizers(gpt, training(optimizer=name))
    held = [names_of(gpt, group["params"]) for optimizer in optimizers for group in optimizer.param_groups]
    assert sorted(itertools.chain(*held)) == sorted(name for name, _ in gpt.named_parameters())


def test_an_unknown_optimizer_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="optimizer = 'sgd': should be adamw or muon"):
        training(optimizer="sgd")


def test_adamw_decays_matrices_only() -> None:
    gpt = GPT(small_model())
    [optimizer] = make_optimizers(gpt, training(weight_decay=0.1))
    decayed, plain = optimizer.param_groups
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0
    assert {weight.dim() for weight in decayed["params"]} == {2}
    assert {weight.dim() for weight in plain["params"]} == {1}
    assert len(decayed["params"]) + len(plain["params"]) == len(list(gpt.parameters()))


def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    gpt = GPT(small_model())
    muon_of, adamw = make_optimizers(gpt, training(optimizer="muon", muon_momentum=0.9, weight_decay=0.2))
    by_rows = {group["rows"]: names_of(gpt, group["params"]) for group in muon_of.param_groups}
    layers = (0, 1)
    assert by_rows == {
        (64, 32, 32): [f"blocks.{layer}.attention.qkv.weight" for layer in layers],
        (96, 96): [f"blocks.{layer}.mlp.gate_up.weight" for layer in layers],
        None: [f"blocks.{layer}.{name}.weight" for layer in layers for name in ("attention.out", "mlp.down")],
    }
    assert {group["momentum"] for group in muon_of.param_groups} == {0.9}
    assert {group["weight_decay"] for group in muon_of.param_groups} == {0.2}
    decayed, plain = adamw.param_groups
    assert names_of(gpt, decayed["params"]) == ["embedding.weight"]
    held = [weight for optimizer in (muon_of, adamw) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(names_of(gpt, held)) == sorted(name for name, _ in gpt.named_parameters())
    assert {weight.dim() for weight in plain["params"]} == {1}


def test_row_parts_add_up_and_know_the_other_activations() -> None:
    config = small_model(heads=4, kv_heads=2, head_dim=16, mlp_width=96)
    for name, weight in GPT(config).named_parameters():
        assert sum(row_parts(name, config)) in (0, weight.shape[0])
    assert row_parts("blocks.1.mlp.up.weight", config) == ()
    assert row_parts("_orig_mod.blocks.1.mlp.gate_up.weight", config) == (96, 96)


def test_learning_rate_reaches_every_group() -> None:
    optimizers = make_optimizers(GPT(small_model()), training(optimizer="muon"))
    set_learning_rate(optimizers, 0.125)
    assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {0.125}


def test_muon_refuses_what_it_cannot_orthogonalise() -> None:
    with pytest.raises(ValueError, match=r"a parameter of shape \(3,\): Muon should be given matrices only"):
        Muon([nn.Parameter(torch.zeros(3))], lr=1.0)
    with pytest.raises(ValueError, match=r"rows = \(2, 2\): should add up to the matrix's 5"):
        Muon([{"params": [nn.Parameter(torch.zeros(5, 3))], "rows": (2, 2)}], lr=1.0)


# --- Muon is what it says ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_newton_schulz_finds_about_the_nearest_orthogonal_matrix(rows: int, columns: int, seed: int) -> None:
    """The result has the singular vectors of a decomposition, and singular values near 1 except the smallest."""
    generator = torch.Generator().manual_seed(seed)
    stack_NRC = torch.randn(3, rows, columns, generator=generator, dtype=torch.float64)
    for matrix_RC, found_RC in zip(stack_NRC, orthogonalise(stack_NRC), strict=True):
        u_RK, s_K, vt_KC = torch.linalg.svd(matrix_RC, full_matrices=False)
        inner_KK = u_RK.T @ found_RC @ vt_KC.T
        gains_K = inner_KK.diagonal()
        assert (inner_KK - gains_K.diag()).abs().max() < 1e-9
        assert (gains_K[s_K > 0.0016 * s_K.norm()] > 0.68).all()
        assert (gains_K > 0).all()
        assert (gains_K < 1.21).all()


def test_newton_schulz_leaves_zeros_and_scale_alone() -> None:
    zeros_NRC = torch.zeros(2, 3, 5)
    assert torch.equal(orthogonalise(zeros_NRC), zeros_NRC)
    stack_NRC = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    assert (orthogonalise(stack_NRC) - orthogonalise(1000 * stack_NRC)).abs().max() < 1e-5


@settings(deadline=None)
@given(
    parts=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    columns=st.integers(1, 24),
    count=st.integers(1, 3),
    together=st.integers(1, 1000),
    seed=st.integers(0, 2**32 - 1),
)
def test_muon_equals_its_definition(parts: list[int], columns: int, count: int, together: int, seed: int) -> None:
    """For any number of matrices in a stack, and of maps in a matrix."""
    random = np.random.default_rng(seed)
    rows = tuple(parts) if len(parts) > 1 else None
    starts = random.standard_normal((count, sum(parts), columns))
    gradients = random.standard_normal((4, count, sum(parts), columns))
    weights = [nn.Parameter(torch.tensor(start)) for start in starts]
    optimizer = Muon([{"params": weights, "rows": rows}], lr=0.3, momentum=0.9, weight_decay=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(muon_module, "STACK_NUMBERS", together)
        for step in gradients:
            for weight, gradient in zip(weights, step, strict=True):
                weight.grad = torch.tensor(gradient)
            optimizer.step()
    for index, weight in enumerate(weights):
        expected = muon(starts[index], list(gradients[:, index]), 0.3, 0.9, 0.2, rows or ())
        assert np.abs(weight.detach().numpy() - expected).max() < 1e-9


def test_fused_maps_move_as_separate_matrices_do() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(rows, 16, generator=generator) for rows in (32, 8, 8)]
    gradients = [torch.randn(rows, 16, generator=generator) for rows in (32, 8, 8)]
    fused, separate = nn.Parameter(torch.cat(parts)), [nn.Parameter(part.clone()) for part in parts]
    fused.grad = torch.cat(gradients)
    for weight, gradient in zip(separate, gradients, strict=True):
        weight.grad = gradient
    Muon([{"params": [fused], "rows": (32, 8, 8)}], lr=1.0).step()
    Muon(separate, lr=1.0).step()
    assert (fused.detach() - torch.cat([weight.detach() for weight in separate])).abs().max() < 1e-6
    whole = nn.Parameter(torch.cat(parts))
    whole.grad = torch.cat(gradients)
    Muon([whole], lr=1.0).step()
    assert (fused - whole).abs().max() > 0.01


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
def test_muon_equals_pytorch_s(shape: tuple[int, int]) -> None:
    """PyTorch's Muon computes in bf16 on any device, so ours does here too; the learning rate is a usual one."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizers = [
        Muon([ours], lr=1e-3, momentum=0.95, weight_decay=0.1, dtype=torch.bfloat16),
        torch.optim.Muon([theirs], lr=1e-3, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(5):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - start).abs().max() > 1e-3
    assert (ours - theirs).abs().max() < 1e-5


# --- training and resuming ---------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_loss_of_a_repeated_batch_falls(optimizer: str) -> None:
    gpt = GPT(small_model())
    optimizers = make_optimizers(gpt, training(optimizer=optimizer, lr=3e-3))
    losses = train(gpt, optimizers, [*batches(1)] * 60)
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_state_restored_goes_on_bit_for_bit(optimizer: str, tmp_path: Path) -> None:
    config = training(optimizer=optimizer)
    whole = GPT(small_model())
    optimizers = make_optimizers(whole, config)
    train(whole, optimizers, batches(3))
    states = [one.state_dict() for one in optimizers]
    torch.save({"weights": whole.state_dict(), "optimizers": states}, tmp_path / "state.pt")
    train(whole, optimizers, batches(3))

    resumed = GPT(small_model(), seed=99)
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(stored["weights"])
    optimizers = make_optimizers(resumed, config)
    for one, state in zip(optimizers, stored["optimizers"], strict=True):
        one.load_state_dict(state)
    train(resumed, optimizers, batches(3))
    for (name, left), right in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(left, right), name


@pytest.mark.gpu
def test_cuda_in_bf16_orthogonalises_and_trains() -> None:
    stack_NRC = torch.randn(4, 96, 64, device="cuda", dtype=torch.bfloat16)
    gains_NK = torch.linalg.svdvals(orthogonalise(stack_NRC).float())
    assert gains_NK.min() > 0.5
    assert gains_NK.max() < 1.4
    gpt = GPT(small_model()).cuda()
    optimizers = make_optimizers(gpt, training(optimizer="muon"))
    [(x_BT, y_BT)] = batches(1)
    with autocast(torch.device("cuda")):
        losses = train(gpt, optimizers, [(x_BT.cuda(), y_BT.cuda())] * 60)
    assert losses[-1] < 0.1 * losses[0]


# --- several processes -------------------------------------------------------------------------------------


def trained(how: str) -> dict[str, dict[str, Tensor]]:
    """The unsharded weights and momenta after three updates with Muon.

    If this process is one of several, it has a copy of the weights (DDP) or shards of them (FSDP2).
    """
    from torch.distributed.checkpoint import state_dict as whole

    gpt = GPT(small_model(**ODD))
    if how == "shards":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh("cpu", (2,))
        for block in gpt.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(gpt, mesh=mesh)
    optimizers = make_optimizers(gpt, training(optimizer="muon", lr=0.1))
    train(gpt, optimizers, batches(2))
    # Stored and restored on the way, in the form that does not depend on the number of processes.
    options = whole.StateDictOptions(full_state_dict=True)
    state = whole.get_optimizer_state_dict(gpt, optimizers, options=options)
    whole.set_optimizer_state_dict(gpt, optimizers, state, options=options)
    train(gpt, optimizers, batches(1))
    state = whole.get_optimizer_state_dict(gpt, optimizers, options=options)
    values: dict[str, Any] = state["state"]  # type: ignore[assignment]
    momenta = {name: value["momentum_buffer"] for name, value in values.items() if "momentum_buffer" in value}
    return {"weights": whole.get_model_state_dict(gpt, options=options), "momenta": momenta}


def one_of_two(rank: int, folder: str) -> None:
    """The main function of a process that writes its results to `folder`."""
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for how in ("copies", "shards"):
        torch.save(trained(how), f"{folder}/{how}.{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_processes_that_share_the_work_do_what_one_does(tmp_path: Path) -> None:
    """With equal gradients the updates agree up to rounding, and both processes have equal bits."""
    alone = trained("alone")
    start = GPT(small_model(**ODD)).state_dict()
    assert len(alone["momenta"]) == 8
    assert all((alone["weights"][name] - start[name]).abs().max() > 0.01 for name in alone["momenta"])
    started = [forks().Process(target=one_of_two, args=(rank, str(tmp_path))) for rank in (0, 1)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0, 0]
    for how in ("copies", "shards"):
        first, second = (torch.load(tmp_path / f"{how}.{rank}.pt", weights_only=True) for rank in (0, 1))
        for part in ("weights", "momenta"):
            assert first[part].keys() == second[part].keys() == alone[part].keys()
            for name, expected in alone[part].items():
                assert torch.equal(first[part][name], second[part][name]), f"{how}: {name}"
                assert (first[part][name] - expected).abs().max() < 1e-6, f"{how}: {name}"


# --- schedules ---------------------------------------------------------------------------------------------


@given(
    steps=st.integers(1, 500),
    warmup=st.integers(0, 50),
    schedule=st.sampled_from(["cosine", "wsd", "linear"]),
    ratio=st.sampled_from([0.0, 0.1, 1.0]),
    fraction=st.floats(0, 1),
)
def test_learning_rate_rises_to_its_peak_and_never_rises_again(
    steps: int, warmup: int, schedule: str, ratio: float, fraction: float
) -> None:
    config = TrainConfig(steps, 64, 1.0, warmup, schedule=schedule, min_lr_ratio=ratio, decay_fraction=fraction)
    rates = [learning_rate(step, config) for step in range(steps)]
    warm, rest = rates[:warmup], rates[warmup:]
    assert all(left < right for left, right in itertools.pairwise(warm))
    assert all(left >= right for left, right in itertools.pairwise(rest))
    assert all(0 < rate <= 1 for rate in rates)
    assert all(rate >= ratio for rate in rest)
    assert rest[:1] in ([], [1.0])
    assert learning_rate(max(steps, warmup), config) == ratio


@given(steps=st.integers(1, 500), warmup=st.integers(0, 50))
def test_wsd_that_decays_all_the_way_is_linear(steps: int, warmup: int) -> None:
    linear = TrainConfig(steps, 64, 1.0, warmup, schedule="linear")
    wsd = dataclasses.replace(linear, schedule="wsd", decay_fraction=1.0)
    assert [learning_rate(step, wsd) for step in range(steps)] == [learning_rate(step, linear) for step in range(steps)]


def test_learning_rate_values() -> None:
    cosine = TrainConfig(100, 64, lr=2.0, warmup_steps=10)
    assert [learning_rate(step, cosine) for step in (0, 4, 9, 10)] == [0.2, 1.0, 2.0, 2.0]
    assert learning_rate(55, cosine) == pytest.approx(1.1)  # halfway between 2.0 and its tenth
    assert learning_rate(100, cosine) == pytest.approx(0.2)
    wsd = dataclasses.replace(cosine, schedule="wsd", min_lr_ratio=0.0)
    assert [learning_rate(step, wsd) for step in (10, 80, 90, 95)] == [2.0, 2.0, 1.0, 0.5]
    linear = dataclasses.replace(cosine, schedule="linear", min_lr_ratio=0.0)
    assert [learning_rate(step, linear) for step in (4, 10, 55, 100)] == [1.0, 2.0, 1.0, 0.0]
