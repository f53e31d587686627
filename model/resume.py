"""The whole state of a run, to a checkpoint and back.

A checkpoint holds the configurations, the data's fingerprint and one number of windows consumed, weights, the state
of the optimisers and of the guard, and the random generators. That is enough to go on to the bit. Model, data and
settings must be the same; the number of steps and the size of a batch may change, and so may all that RunOptions has:
the next window to be trained on is the next one in any case.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from model.checkpoint import checkpoints, newest, save, sweep
from model.config import RunOptions, differences
from model.gpt import GPT
from model.guard import Guard
from model.parallel import load_optimizer, whole

# Of TrainConfig: what may change on the way (the warm-up of a short run follows from its steps).
MAY_CHANGE = ("steps", "batch_tokens", "warmup_steps")


class Found(NamedTuple):
    """A checkpoint to go on from."""

    step: int
    position: int  # windows consumed before that step
    batch_tokens: int
    weights: dict[str, Tensor]
    optimizers: list[dict[str, Any]]
    guard: dict[str, Any]
    rng: dict[str, Any]


def consumed(run: Path) -> tuple[int, int]:
    """Steps that the newest checkpoint stands after, and the tokens of these by metrics.jsonl; (0, 0) of a new run."""
    metrics, made = run / "metrics.jsonl", checkpoints(run)
    if made and metrics.is_file():  # an imported model has none
        step = int(made[0].stem.rpartition("-")[2])
        start = b'{"step": %d, ' % step
        with metrics.open("rb") as lines:
            for line in lines:
                if line.startswith(start) and line.endswith(b"\n"):
                    return step, json.loads(line)["tokens"]
    return 0, 0


def find(run: Path, identity: dict[str, Any], log: Callable[[str], None]) -> Found | None:
    """The newest whole checkpoint of `run`, if any; ValueError if it is of another run than `identity`."""
    if not dist.is_initialized() or dist.get_rank() == 0:
        sweep(run)
    found = newest(run, log)
    if found is None:
        return None
    path, state = found
    if state.get("optimizers") is None:
        raise ValueError(f"{run}: holds an imported model, which has no training to resume; choose another -o")
    differing = [line for part in identity for line in differences({part: state[part]}, {part: identity[part]})]
    changes = tuple(f"train.{name}: " for name in MAY_CHANGE)
    refused = [line for line in differing if not line.startswith(changes)]
    if refused:
        raise ValueError(f"{run}: holds another run ({'; '.join(refused)}); ask for the same or choose another -o")
    log(f"resuming from {path}")
    for line in differing:
        log(f"from here on {line.replace(', not ', ' becomes ')}")
    train = state["train"]
    return Found(
        state["step"],
        state["position"],
        train["batch_tokens"],
        state["weights"],
        state["optimizers"],
        state["guard"],
        state["rng"],
    )


def restore(found: Found, optimizers: list[torch.optim.Optimizer], guard: Guard) -> None:
    """Load all but the weights."""
    for optimizer, state in zip(optimizers, found.optimizers, strict=True):
        load_optimizer(optimizer, state)
    guard.restore(found.guard)
    torch.set_rng_state(found.rng["cpu"])
    if len(found.rng["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(found.rng["cuda"])


def write_checkpoint(
    run: Path,
    step: int,
    position: int,
    identity: dict[str, Any],
    model: GPT,
    optimizers: list[torch.optim.Optimizer],
    guard: Guard,
    metrics: IO[str] | None,
    options: RunOptions,
) -> None:
    """All processes call this; the one that has `metrics` writes."""
    weights = whole(model.state_dict())
    states = [whole(optimizer.state_dict()) for optimizer in optimizers]
    if metrics is None:
        return
    os.fsync(metrics.fileno())  # a checkpoint must not survive a power cut that its metrics do not
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    state = {
        **identity,
        "position": position,
        "weights": weights,
        "optimizers": states,
        "guard": guard.state(),
        "rng": {"cpu": torch.get_rng_state(), "cuda": cuda_states},
    }
    save(run, step, state, options.keep_checkpoints)
