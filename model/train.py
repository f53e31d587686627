"""Pretraining: a stream of tokens in; a run directory of checkpoints, metrics and samples out.

`pretrain` reads top to bottom: set up, resume if there is something to resume, then for each step one
batch, one update, one row in `metrics.jsonl`. The state after step n depends on the configurations and n
alone: batches are a function of the step, samples draw from generators of their own, and a checkpoint holds
everything else. So ten steps, a stop and ten more steps leave the same bits as twenty (on a CPU; a GPU's
kernels may add in another order).

The CPU waits for the device once an update, for its loss and norm, not in between; the next batch has been made by
then, by a thread.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor, nn

from bpe.whole import write_whole
from model import attention
from model.checkpoint import checkpoints, truncate_metrics
from model.config import ModelConfig, RunOptions, TrainConfig, as_dict
from model.data import Batches, Stream, make_batches
from model.device import autocast, has_fp8, micro_batch_tokens, pick_device
from model.evaluate import Evaluation, Scoring, sum_losses, summarise
from model.gpt import GPT, flops_per_token, parameter_count
from model.guard import Guard, diverged
from model.initial import Initial
from model.meter import Meter, progress
from model.optim import learning_rate, make_optimizers, set_learning_rate, zero_gradients
from model.parallel import ALONE, Place, average, clip, gradients_stay_here, spread, total, whole_model
from model.prefetch import prefetched
from model.resume import Found, find, restore, write_checkpoint
from model.sample import Sampling, generate
from model.stop import stop_requests
from model.tokenizer import Tokenizer
from model.track import Trackers

Log = Callable[[str], None]


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


@dataclass
class Trainer:
    """What the steps of a run share."""

    model: GPT
    module: nn.Module  # `model`, or what makes it one of many
    optimizers: list[torch.optim.Optimizer]
    batches: Batches
    config: TrainConfig
    options: RunOptions
    tokenizer: Tokenizer | None
    guard: Guard
    micro_batch: int  # windows in one forward pass
    place: Place
    device: torch.device

    @property
    def end_of_text(self) -> int | None:
        """For the document mask; None without."""
        return self.batches.stream.end_of_text if self.config.doc_mask else None


def pretrain(
    stream: Stream,
    run: Path,
    model_config: ModelConfig,
    train_config: TrainConfig,
    options: RunOptions,
    log: Log,
    tokenizer: Tokenizer | None = None,
    command: dict[str, Any] | None = None,
    place: Place = ALONE,
    device: torch.device | None = None,
    initial: Initial | None = None,
) -> Summary:
    """Train from the run's newest whole checkpoint, or else from `initial` or random weights, to `train_config.steps`.

    Of several processes (model/parallel.py) all call this; the first one writes. `command` is kept in config.json.
    Raises ValueError if the run in `run` is of another configuration or data (naming what differs) or there
    is too little data, FloatingPointError if updates have to be skipped three times in a row.
    """
    device = device or pick_device(options.device)
    with ExitStack() as stack:
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        run.mkdir(parents=True, exist_ok=True)
        identity = {
            "model": as_dict(model_config),
            "train": as_dict(train_config),
            "data": {
                "fingerprint": stream.fingerprint,
                "tokenizer_hash": stream.tokenizer_hash,
                "end_of_text": stream.end_of_text,
            },
        }
        found = find(run, identity, log)
        start = found.step if found else 0
        origin = (start, found.position if found else 0)
        batches = make_batches(stream, model_config.context, train_config.batch_tokens, train_config.seed, origin)
        trainer = set_up(model_config, train_config, options, batches, tokenizer, found, place, device, initial)
        if place.first:
            trackers = stack.enter_context(Trackers(options.trackers, run, identity, log, start))
            truncate_metrics(run / "metrics.jsonl", start)
            text = json.dumps({**identity, "command": command or {}}, indent=2) + "\n"
            write_whole(run / "config.json", text.encode())
            stack.enter_context(metrics := (run / "metrics.jsonl").open("a", encoding="utf-8"))
        else:
            metrics, trackers = None, None
        log(
            f"{parameter_count(trainer.model):,} parameters on {device}"
            + (f" and {place.world - 1} more" if place.world > 1 else "")
            + f"; {batches.train_windows:,} windows of {batches.context} tokens to train on, "
            f"{batches.validation_windows:,} held out; {train_config.batch_tokens:,} tokens a step"
        )
        if start >= train_config.steps:
            log(f"the run has had its {train_config.steps} steps; give more by --steps or --tokens to continue it")
        stack.enter_context(attention.kernels(device))
        stack.enter_context(no_collections())
        return train(trainer, run, start, identity, metrics, trackers, log)


def set_up(
    model_config: ModelConfig,
    train_config: TrainConfig,
    options: RunOptions,
    batches: Batches,
    tokenizer: Tokenizer | None,
    found: Found | None,
    place: Place,
    device: torch.device,
    initial: Initial | None = None,
) -> Trainer:
    """Model, optimisers and guard as they were when `found` was written, or new."""
    torch.manual_seed(train_config.seed)  # nothing draws from it yet; what may one day is part of a checkpoint
    model = GPT(model_config, train_config.seed)
    if begun := found or initial:
        model.load_state_dict(begun.weights)
    model.checkpoint_activations = options.checkpoint_activations
    model.fp8_head = options.fp8_head
    if options.fp8_head and not has_fp8(device):
        raise ValueError("fp8_head = True: this device multiplies no 8-bit numbers (Ada, Hopper and later do)")
    model = model.to(device)
    module = spread(model, options.sharding, place, device)
    if device.type == "cuda" if options.compile is None else options.compile:
        model.compile_trunk(by_block=place.world > 1 and options.sharding == "full")
    optimizers = make_optimizers(model, train_config)
    guard = Guard(train_config.spike_sigmas)
    if found:
        restore(found, optimizers, guard)
        if found.batch_tokens != train_config.batch_tokens:
            guard.forget()
    if batches.batch_size % place.world:
        raise ValueError(
            f"{place.world} processes: should divide the {batches.batch_size} sequences of a batch; "
            "choose another --batch-tokens"
        )
    most_tokens = options.micro_batch_tokens or micro_batch_tokens(device, model_config, model.checkpoint_activations)
    micro_batch = micro_batch_size(batches.batch_size // place.world, most_tokens // batches.context)
    return Trainer(
        model, module, optimizers, batches, train_config, options, tokenizer, guard, micro_batch, place, device
    )


def train(
    trainer: Trainer,
    run: Path,
    start: int,
    identity: dict[str, Any],
    metrics: IO[str] | None,
    trackers: Trackers | None,
    log: Log,
) -> Summary:
    """The steps from `start` to the end, or to a stop."""
    config, options, guard, place = trainer.config, trainer.options, trainer.guard, trainer.place
    meter = Meter(config.batch_tokens, flops_per_token(trainer.model.config), trainer.device, place.world)
    loss: float | None = None
    scores: Evaluation | None = None
    stopped = False
    step = start
    feed = prefetched(trainer.batches, start, config.steps, place.rank, place.world, trainer.device)
    with stop_requests() as stop, feed as fed:
        for x_BT, y_BT in fed:
            meter.start()
            step_loss, norm, stopped = gradients(trainer, x_BT, y_BT, stop)
            row: dict[str, Any] = {"step": step + 1, "tokens": trainer.batches.position(step + 1) * x_BT.shape[1]}
            row.update(loss=step_loss, lr=learning_rate(step, config), grad_norm=norm)
            step += 1
            refusal = guard.judge(step_loss, norm)
            if refusal is None:
                loss = step_loss
                set_learning_rate(trainer.optimizers, row["lr"])
                for optimizer in trainer.optimizers:
                    optimizer.step()
            else:
                log(f"step {step}: {refusal}: update skipped")
                row.update(loss=None, grad_norm=None, skipped=True, reason=refusal)
            zero_gradients(trainer.optimizers)
            row.update(meter.stop())

            last = step == config.steps
            if due(step, options.log_every, last) and row["loss"] is not None:
                log(progress(row, config.steps, meter.remaining(config.steps - step)))
            if due(step, options.validate_every, last) and len(trainer.batches.stream.held_out_N):
                scores = validated(trainer)
                row.update(validation_loss=scores.loss, bits_per_byte=scores.bits_per_byte)
                per_byte = f", {scores.bits_per_byte:.4f} bits a byte" if scores.bits_per_byte else ""
                log(f"step {step}: validation loss {scores.loss:.4f}{per_byte}")
            if trainer.tokenizer is not None and due(step, options.sample_every, last):
                row["samples"] = samples(trainer, trainer.tokenizer)
                for sample in row["samples"]:
                    log(f"step {step}: {sample!r}")
            if metrics is not None and trackers is not None:
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
                trackers.log(row)
            stopped = stopped or (place.world == 1 and stop())
            if guard.exhausted:
                raise diverged(step, refusal or "", next(iter(checkpoints(run)), None))
            if due(step, options.checkpoint_every, last) or last or stopped:
                position = trainer.batches.position(step)
                write_checkpoint(
                    run, step, position, identity, trainer.model, trainer.optimizers, guard, metrics, options
                )
            if stopped:
                break
    stopped = stopped and step < config.steps
    if stopped:
        log(f"stopped after step {step}; the same command continues from there")
    return Summary(
        run=str(run),
        step=step,
        steps=config.steps,
        resumed_from=start,
        stopped=stopped,
        parameters=parameter_count(trainer.model),
        tokens=trainer.batches.position(step) * trainer.batches.context,
        loss=loss,
        validation_loss=scores.loss if scores else None,
        bits_per_byte=scores.bits_per_byte if scores else None,
        skipped=guard.skipped,
        tokens_per_second=round(meter.average),
    )


# --- one step ----------------------------------------------------------------------------------------------


def gradients(trainer: Trainer, x_BT: Tensor, y_BT: Tensor, stop: Callable[[], bool]) -> tuple[float, float, bool]:
    """The batch's gradient in the weights' `.grad`, clipped; its loss, its norm before, and whether to stop then.

    All processes get the same three.
    """
    own_loss = accumulate_gradients(trainer.module, x_BT, y_BT, trainer.micro_batch, trainer.end_of_text)
    norm = clip(trainer.module, trainer.config.clip_norm)
    # The one wait for the device. A signal may reach one process a step before another.
    seen = average(torch.stack((own_loss, torch.full_like(own_loss, stop()))), trainer.place).tolist()
    return seen[0], float(norm), seen[1] > 0


def accumulate_gradients(
    module: nn.Module, x_BT: Tensor, y_BT: Tensor, micro_batch: int, end_of_text: int | None = None
) -> Tensor:
    """Add the batch's mean gradient to the weights' `.grad`, `micro_batch` windows at a time.

    Of several processes, the mean over all their batches. Returns this one's mean loss, on its device.
    """
    parts = list(zip(torch.split(x_BT, micro_batch), torch.split(y_BT, micro_batch), strict=True))
    total = torch.zeros((), device=x_BT.device)
    for number, (x_mT, y_mT) in enumerate(parts, 1):
        with gradients_stay_here(module, number < len(parts)):
            with autocast(x_BT.device):
                loss = module(x_mT, y_mT, end_of_text=end_of_text)
            # The parts are equally large, so the mean of their means is the mean of all.
            (loss / len(parts)).backward()
        total += loss.detach() / len(parts)
    return total


def micro_batch_size(windows: int, most: int) -> int:
    """Windows in one forward pass: the largest divisor of `windows` that is at most `most`, at least 1."""
    return max(size for size in range(1, windows + 1) if windows % size == 0 and (size <= most or size == 1))


# --- what is due now and then ------------------------------------------------------------------------------


def due(step: int, every: int, last: bool) -> bool:
    return every > 0 and (step % every == 0 or last)


def validated(trainer: Trainer) -> Evaluation:
    """Up to `validation_windows` windows of the held-out documents, the same ones each time."""
    stream, tokenizer = trainer.batches.stream, trainer.tokenizer
    scoring = Scoring(
        stream.end_of_text,
        trainer.micro_batch,
        tokenizer.byte_lengths if tokenizer else None,
        trainer.config.doc_mask,
        most_windows=trainer.options.validation_windows,
    )
    place = trainer.place
    sums = sum_losses(trainer.model, stream.held_out_N, scoring, place.rank, place.world)
    return summarise(total(sums, place), scoring)


def samples(trainer: Trainer, tokenizer: Tokenizer) -> list[str]:
    """A continuation of each prompt. The same draws at every step, so that what changes is the model."""
    sampling = Sampling(max_tokens=trainer.options.sample_tokens)
    model = whole_model(trainer.model)
    texts = []
    for prompt in trainer.options.sample_prompts:
        [sample] = generate(model, tokenizer.encode(prompt), trainer.batches.stream.end_of_text, sampling)
        texts.append(prompt + tokenizer.decode(sample.tokens))
    return texts


@contextmanager
def no_collections() -> Iterator[None]:
    """What exists now is not looked at by the garbage collector again: a run makes few cycles, and a collection over
    all of PyTorch's objects stops the device's supply of work (nanochat measured half a second).
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
