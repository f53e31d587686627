"""Pretraining: a stream of tokens in; a run directory of checkpoints, metrics and samples out.

`pretrain` reads top to bottom: set up, resume if there is something to resume, then for each step one
batch, one update, one row in `metrics.jsonl`. The state after step n depends on the configurations and n
alone: batches are a function of the step, samples draw from generators of their own, and a checkpoint holds
everything else. So ten steps, a stop and ten more steps leave the same bits as twenty (on a CPU; a GPU's
kernels may add in another order).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor

from model.checkpoint import newest, save, sweep, truncate_metrics, write_atomically
from model.config import ModelConfig, RunOptions, TrainConfig, as_dict, differences
from model.data import Batches, Stream, make_batches
from model.device import MICRO_BATCH_TOKENS, autocast, pick_device, to_device
from model.evaluate import Evaluation, evaluate
from model.gpt import GPT, flops_per_token, parameter_count
from model.guard import Guard
from model.meter import Meter
from model.optim import learning_rate, make_optimizer, set_learning_rate
from model.sample import Sampling, generate
from model.stop import stop_requests
from model.tokenizer import Tokenizer

Log = Callable[[str], None]
Loss = Callable[[Tensor, Tensor], Tensor]


class Summary(NamedTuple):
    """What a run came to; `model pretrain --json` prints it."""

    run: str
    step: int
    steps: int
    resumed_from: int
    stopped: bool  # by a signal, before the last step
    parameters: int
    tokens: int  # trained on so far
    loss: float | None  # of the last applied step
    validation_loss: float | None  # the newest
    bits_per_byte: float | None
    skipped: int
    tokens_per_second: float


def pretrain(
    stream: Stream,
    run: Path,
    model_config: ModelConfig,
    train_config: TrainConfig,
    options: RunOptions,
    log: Log,
    tokenizer: Tokenizer | None = None,
) -> Summary:
    """Train from the run's newest whole checkpoint, or from the start, to `train_config.steps`.

    Raises ValueError if the run in `run` is of another configuration or data (naming what differs) or there
    is too little data, FloatingPointError if the loss stays not finite.
    """
    device = pick_device(options.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    batches = make_batches(
        stream,
        model_config.context,
        train_config.batch_tokens,
        train_config.validation_fraction,
        train_config.seed,
    )
    micro_batch = micro_batch_size(batches, options.micro_batch_tokens or MICRO_BATCH_TOKENS[device.type])
    model = GPT(model_config, train_config.seed).to(device)
    optimizer = make_optimizer(model, train_config)
    guard = Guard()
    identity = {
        "model": as_dict(model_config),
        "train": as_dict(train_config),
        "data": {
            "fingerprint": stream.fingerprint,
            "tokenizer_hash": stream.tokenizer_hash,
            "end_of_text": stream.end_of_text,
        },
    }
    run.mkdir(parents=True, exist_ok=True)
    step = start = resume(run, identity, model, optimizer, guard, log)
    truncate_metrics(run / "metrics.jsonl", step)
    if step == 0:
        text = json.dumps(identity, indent=2) + "\n"
        write_atomically(run / "config.json", lambda partial: partial.write_text(text, "utf-8"))
    compiled = device.type == "cuda" if options.compile is None else options.compile
    loss_of: Loss = torch.compile(model, dynamic=False) if compiled else model
    meter = Meter(train_config.batch_tokens, flops_per_token(model_config), device)
    log(
        f"{parameter_count(model):,} parameters on {device}; {batches.train_windows:,} windows of "
        f"{batches.context} tokens to train on, {batches.validation_windows:,} held out; "
        f"{train_config.batch_tokens:,} tokens a step"
    )

    loss: float | None = None
    scores: Evaluation | None = None
    stopped = False
    x_BT, y_BT = batch_on(device, batches, step)
    with stop_requests() as stop, (run / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
        while step < train_config.steps and not stopped:
            meter.start()
            lr = learning_rate(step, train_config)
            step_loss = accumulate_gradients(loss_of, x_BT, y_BT, micro_batch)
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), train_config.clip_norm)
            # Fetched before the first look at a result: a GPU is still computing while the CPU reads.
            x_BT, y_BT = batch_on(device, batches, step + 1)
            step += 1
            row: dict[str, Any] = {"step": step, "loss": float(step_loss), "lr": lr, "grad_norm": float(norm)}
            if guard.admits(step, row["loss"], row["grad_norm"]):
                set_learning_rate(optimizer, lr)
                optimizer.step()
                loss = row["loss"]
            else:
                log(f"step {step}: loss {row['loss']}, gradient norm {row['grad_norm']}: update skipped")
                row.update(loss=None, grad_norm=None, skipped=True)
            optimizer.zero_grad(set_to_none=True)
            row["tokens_per_second"] = round(meter.stop())

            last = step == train_config.steps
            if due(step, options.log_every, last) and row["loss"] is not None:
                log(progress_line(row, train_config.steps, meter))
            if due(step, options.validate_every, last):
                scores = validate(model, batches, options, micro_batch, tokenizer)
                row.update(validation_loss=scores.loss, bits_per_byte=scores.bits_per_byte)
                per_byte = f", {scores.bits_per_byte:.4f} bits a byte" if scores.bits_per_byte else ""
                log(f"step {step}: validation loss {scores.loss:.4f}{per_byte}")
            if tokenizer is not None and due(step, options.sample_every, last):
                row["samples"] = write_samples(model, tokenizer, stream.end_of_text, options)
                for sample in row["samples"]:
                    log(f"step {step}: {sample!r}")
            metrics.write(json.dumps(row) + "\n")
            metrics.flush()
            stopped = stop()
            if due(step, options.checkpoint_every, last) or last or stopped:
                write_checkpoint(run, step, identity, model, optimizer, guard, metrics, options)
    stopped = stopped and step < train_config.steps
    if stopped:
        log(f"stopped after step {step}; the same command continues from there")
    return Summary(
        run=str(run),
        step=step,
        steps=train_config.steps,
        resumed_from=start,
        stopped=stopped,
        parameters=parameter_count(model),
        tokens=step * train_config.batch_tokens,
        loss=loss,
        validation_loss=scores.loss if scores else None,
        bits_per_byte=scores.bits_per_byte if scores else None,
        skipped=guard.skipped,
        tokens_per_second=round(meter.average),
    )


# --- one step ----------------------------------------------------------------------------------------------


def batch_on(device: torch.device, batches: Batches, step: int) -> tuple[Tensor, Tensor]:
    x_BT, y_BT = batches.batch(step)
    return to_device(x_BT, device), to_device(y_BT, device)


def accumulate_gradients(loss_of: Loss, x_BT: Tensor, y_BT: Tensor, micro_batch: int) -> Tensor:
    """Add the batch's mean gradient to the weights' `.grad`, `micro_batch` windows at a time.

    Returns the batch's mean loss, on the batch's device.
    """
    parts = list(zip(torch.split(x_BT, micro_batch), torch.split(y_BT, micro_batch), strict=True))
    total = torch.zeros((), device=x_BT.device)
    for x_mT, y_mT in parts:
        with autocast(x_BT.device):
            loss = loss_of(x_mT, y_mT)
        # The parts are equally large, so the mean of their means is the mean of all.
        (loss / len(parts)).backward()  # type: ignore[no-untyped-call]
        total += loss.detach() / len(parts)
    return total


def micro_batch_size(batches: Batches, most_tokens: int) -> int:
    """Windows in one forward pass: the largest divisor of the batch that `most_tokens` allows, at least 1."""
    most = max(1, most_tokens // batches.context)
    return max(size for size in range(1, batches.batch_size + 1) if batches.batch_size % size == 0 and size <= most)


# --- what is due now and then ------------------------------------------------------------------------------


def due(step: int, every: int, last: bool) -> bool:
    return every > 0 and (step % every == 0 or last)


def progress_line(row: dict[str, Any], steps: int, meter: Meter) -> str:
    mfu = meter.mfu(row["tokens_per_second"])
    return (
        f"step {row['step']:>{len(str(steps))}}/{steps}  loss {row['loss']:.4f}  lr {row['lr']:.2e}  "
        f"norm {row['grad_norm']:.2f}  {row['tokens_per_second']:,} tokens/s" + (f"  mfu {mfu:.1%}" if mfu else "")
    )


def validate(
    model: GPT, batches: Batches, options: RunOptions, micro_batch: int, tokenizer: Tokenizer | None
) -> Evaluation:
    lengths_V = tokenizer.byte_lengths if tokenizer else None
    return evaluate(model, batches, batches.validation(options.validation_windows), micro_batch, lengths_V)


def write_samples(model: GPT, tokenizer: Tokenizer, end_of_text: int, options: RunOptions) -> list[str]:
    """A continuation of each prompt. The same draws at every step, so that what changes is the model."""
    sampling = Sampling(max_tokens=options.sample_tokens)
    texts = []
    for prompt in options.sample_prompts:
        [sample] = generate(model, tokenizer.encode(prompt), end_of_text, sampling)
        texts.append(prompt + tokenizer.decode(sample.tokens))
    return texts


# --- checkpoints -------------------------------------------------------------------------------------------


def write_checkpoint(
    run: Path,
    step: int,
    identity: dict[str, Any],
    model: GPT,
    optimizer: torch.optim.Optimizer,
    guard: Guard,
    metrics: IO[str],
    options: RunOptions,
) -> None:
    os.fsync(metrics.fileno())  # a checkpoint must not survive a power cut that its metrics do not
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    state = {
        **identity,
        "weights": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "guard": asdict(guard),
        "rng": {"cpu": torch.get_rng_state(), "cuda": cuda_states},
    }
    save(run, step, state, options.keep_checkpoints)


def resume(
    run: Path,
    identity: dict[str, Any],
    model: GPT,
    optimizer: torch.optim.Optimizer,
    guard: Guard,
    log: Log,
) -> int:
    """Load the newest whole checkpoint of `run`, if any, into all of these; return its step, else 0."""
    sweep(run)
    found = newest(run, log)
    if found is None:
        return 0
    path, state = found
    differing = [line for part in identity for line in differences({part: state[part]}, {part: identity[part]})]
    if differing:
        raise ValueError(f"{run}: holds another run ({'; '.join(differing)}); ask for the same or choose another -o")
    model.load_state_dict(state["weights"])
    optimizer.load_state_dict(state["optimizer"])
    guard.skipped, guard.in_a_row = state["guard"]["skipped"], state["guard"]["in_a_row"]
    torch.set_rng_state(state["rng"]["cpu"])
    if len(state["rng"]["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(state["rng"]["cuda"])
    log(f"resuming from {path}")
    return int(state["step"])
