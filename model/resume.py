"""The complete state of a run, written to a checkpoint and restored from it.

A checkpoint holds the configurations, the data's fingerprint, the number of windows consumed, the weights, the states
of the optimizers and of the guard, and the states of the random generators. A resumed run therefore continues with the
same bits. The model's shape, the data and the training settings must be equal to the stored ones. The number of steps,
the batch size and all of RunOptions may change: the run always continues with the next window.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from model.checkpoint import MISFITS, checkpoints, newest, no_checkpoint, require, row_of, save, sweep
from model.config import differences
from model.gpt import GPT
from model.guard import Guard
from model.parallel import load_optimizer, unsharded

# Fields of TrainConfig that may change when a run is resumed. The warm-up is among them because that of a short run
# follows from its steps.
MAY_CHANGE = ("steps", "batch_tokens", "warmup_steps")
_SHOWN = 3  # differences between a run and another that an error lists


class Learner(NamedTuple):
    """What updates change."""

    model: GPT
    optimizers: list[torch.optim.Optimizer]
    guard: Guard


class ResumePoint(NamedTuple):
    """The content of a checkpoint that a run continues from."""

    path: Path  # of the checkpoint
    step: int  # updates made
    position: int  # windows consumed by them
    batch_tokens: int  # tokens an update had
    weights: dict[str, Tensor]
    optimizers: list[dict[str, Any]]
    guard: dict[str, Any]
    rng: dict[str, Any]


def trained_so_far(run: Path) -> tuple[int, int]:
    """The updates made before the newest checkpoint, and their tokens by metrics.jsonl; (0, 0) for a new run."""
    metrics, paths = run / "metrics.jsonl", checkpoints(run)
    if paths and metrics.is_file():  # an imported model has no metrics
        step = int(paths[0].stem.rpartition("-")[2])
        start = b'{"step": %d, ' % step
        with metrics.open("rb") as lines:
            for line in lines:
                if line.startswith(start) and (row := row_of(line)) and isinstance(row.get("tokens"), int):
                    return step, row["tokens"]
    return 0, 0


def find_resume_point(run: Path, identity: dict[str, Any], log: Callable[[str], None]) -> ResumePoint | None:
    """The newest whole checkpoint of `run`; None for a new run.

    `identity` are the sections `model`, `train` and `data` of config.json. Raises ValueError, naming each difference,
    if the checkpoint's sections differ in more than MAY_CHANGE, and if the run is an imported model.
    """
    if not dist.is_initialized() or dist.get_rank() == 0:
        sweep(run)
    checkpoint = newest(run, log)
    if checkpoint is None:
        return None
    path, state = checkpoint
    if state.get("optimizers") is None:
        raise ValueError(f"{run}: holds an imported model, which has no training to resume; choose another -o")
    try:
        require(state, {"position": int, "train": dict, "optimizers": list, "guard": dict, "rng": dict})
    except ValueError as error:
        raise no_checkpoint(path, error) from None
    lines = [line for part in identity for line in differences({part: state[part]}, {part: identity[part]})]
    allowed = tuple(f"train.{name}: " for name in MAY_CHANGE)
    refused = [line for line in lines if not line.startswith(allowed)]
    if refused:
        more = [f"and {len(refused) - _SHOWN} more"] if len(refused) > _SHOWN else []
        shown = "; ".join([*refused[:_SHOWN], *more])
        raise ValueError(f"{run}: holds another run ({shown}); ask for the same or choose another -o")
    log(f"resuming from {path}")
    for line in lines:
        log(f"from here on {line.replace(', not ', ' becomes ')}")
    return ResumePoint(
        path,
        state["step"],
        state["position"],
        state["train"]["batch_tokens"],
        state["weights"],
        state["optimizers"],
        state["guard"],
        state["rng"],
    )


def restore(point: ResumePoint, learner: Learner) -> None:
    """Load the states of optimizers, guard and random generators; the model has its weights already.

    Raises ValueError naming the checkpoint if its states are of another shape.
    """
    try:
        for optimizer, state in zip(learner.optimizers, point.optimizers, strict=True):
            load_optimizer(optimizer, state)
        learner.guard.restore(point.guard)
        torch.set_rng_state(point.rng["cpu"])
        if len(point.rng["cuda"]) == torch.cuda.device_count() > 0:
            torch.cuda.set_rng_state_all(point.rng["cuda"])
    except MISFITS as error:
        raise no_checkpoint(point.path, error) from error


def write_checkpoint(
    run: Path,
    step: int,
    position: int,
    identity: dict[str, Any],
    learner: Learner,
    metrics: IO[str] | None,
    keep: int,
) -> None:
    """Write the checkpoint after `step` updates, which consumed `position` windows; keep the newest `keep`.

    Every process calls this, because sharded tensors are gathered. Only the first process has `metrics`, and writes.
    """
    weights = unsharded(learner.model.state_dict())
    states = [unsharded(optimizer.state_dict()) for optimizer in learner.optimizers]
    if metrics is None:
        return
    os.fsync(metrics.fileno())  # if a power cut spares the checkpoint, it must spare the rows before it
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    state = {
        **identity,
        "position": position,
        "weights": weights,
        "optimizers": states,
        "guard": learner.guard.state(),
        "rng": {"cpu": torch.get_rng_state(), "cuda": cuda_states},
    }
    save(run, step, state, keep)
