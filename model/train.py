"""Pretraining. In: a stream of tokens. Out: a run directory with checkpoints, metrics and samples.

`pretrain` reads top to bottom: find a checkpoint to resume from, set up model and optimizers, and then, for each step,
one batch, one update and one row in `metrics.jsonl`. The state after step n depends on the configurations and n alone:
batches are a function of the step, samples draw from generators of their own, and a checkpoint holds everything else.
So ten steps, a stop and ten more steps give the same bits as twenty steps on a CPU. A GPU's kernels may add in another
order each time.

The CPU waits for the device once in each update, for the loss and the norm. By then a thread has made the next batch.
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

from bpe.whole import make_folder, no_link, write_whole
from model import attention
from model.checkpoint import MISFITS, checkpoints, disk_space, no_checkpoint, truncate_metrics
from model.config import Settings, as_dict
from model.data import Batches, Stream, make_batches
from model.device import autocast, check_memory, has_fp8, micro_batch_tokens, pick_device
from model.evaluate import Evaluation, Scoring, sum_losses, summarise
from model.gpt import GPT, flops_per_token, parameter_count
from model.guard import Guard, diverged
from model.history import newest_figures
from model.initial import InitialModel
from model.meter import Meter, progress
from model.optim import learning_rate, make_optimizers, set_learning_rate, zero_gradients
from model.parallel import Place, average, clip, distribute, gradients_averaged, total, unsharded_model
from model.prefetch import prefetched
from model.resume import Learner, ResumePoint, find_resume_point, restore, write_checkpoint
from model.sample import Sampling, generate
from model.stop import stop_requests
from model.tokenizer import Tokenizer
from model.track import Trackers

Log = Callable[[str], None]


class Summary(NamedTuple):
    """The result of a run; `model pretrain --json` prints it."""

    run: str
    step: int  # updates made
    steps: int  # updates asked for
    resumed_from: int
    stopped: bool  # by a signal, before the last step
    parameters: int
    tokens: int  # trained on, over all updates
    loss: float | None  # of the last applied update
    validation_loss: float | None  # the newest
    bits_per_byte: float | None  # the newest
    skipped: int  # updates that the guard refused
    tokens_per_second: float


@dataclass
class Trainer:
    """What the steps of a run share."""

    settings: Settings
    batches: Batches
    learner: Learner
    module: nn.Module  # called for the loss: the model, or a DistributedDataParallel around it
    tokenizer: Tokenizer | None
    micro_batch: int  # windows in one forward pass
    place: Place

    @property
    def end_of_text(self) -> int | None:
        """The id at which the document mask separates documents; None without a document mask."""
        return self.batches.stream.end_of_text if self.settings.train.doc_mask else None


class Output(NamedTuple):
    """Where a run writes."""

    run: Path  # the run directory
    identity: dict[str, Any]  # the sections `model`, `train` and `data` of config.json, also part of every checkpoint
    metrics: IO[str] | None  # metrics.jsonl; None in all processes but the first
    trackers: Trackers | None  # None in all processes but the first
    log: Log


def pretrain(
    stream: Stream,
    run: Path,
    settings: Settings,
    log: Log,
    tokenizer: Tokenizer | None = None,
    command: dict[str, Any] | None = None,
    place: Place | None = None,
    initial: InitialModel | None = None,
) -> Summary:
    """Train until `settings.train.steps` updates are made, or a signal stops the run.

    Training starts from the newest whole checkpoint in the directory `run`; if there is none, from the weights of
    `initial`, or else from random weights. Without a `tokenizer` there are no samples and no bits a byte. `command` is
    written to config.json, for `--resume`. If several processes train (model/parallel.py), each calls this with its
    `place`, and the first one writes.

    Raises ValueError if `run` holds a run with other settings or data (naming what differs) or there is too little
    data, FloatingPointError if three updates in a row are skipped.
    """
    place = place or Place(0, 1, pick_device(settings.options.device))
    config, options, device = settings.train, settings.options, place.device
    with disk_space(run), ExitStack() as stack:
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        make_folder(run)
        identity = {
            "model": as_dict(settings.model),
            "train": as_dict(config),
            "data": {
                "fingerprint": stream.fingerprint,
                "tokenizer_hash": stream.tokenizer_hash,
                "end_of_text": stream.end_of_text,
            },
        }
        point = find_resume_point(run, identity, log)
        start = point.step if point else 0
        origin = (start, point.position if point else 0)
        batches = make_batches(stream, settings.model.context, config.batch_tokens, config.seed, origin)
        trainer = set_up(settings, batches, tokenizer, place, point, initial)
        metrics, trackers = None, None
        if place.first:
            trackers = stack.enter_context(Trackers(options.trackers, run, identity, log, start))
            truncate_metrics(run / "metrics.jsonl", start, log)
            text = json.dumps({**identity, "command": command or {}}, indent=2) + "\n"
            write_whole(run / "config.json", text.encode())
            metrics = stack.enter_context(open(run / "metrics.jsonl", "a", encoding="utf-8", opener=no_link))
        log(
            f"{parameter_count(trainer.learner.model):,} parameters on {device}"
            + (f" and {place.world - 1} more" if place.world > 1 else "")
            + f"; {batches.train_windows:,} windows of {batches.context} tokens to train on, "
            f"{batches.validation_windows:,} held out; {config.batch_tokens:,} tokens a step"
        )
        if start >= config.steps:
            log(f"the run has had its {config.steps} steps; give more by --steps or --tokens to continue it")
        stack.enter_context(attention.kernels(device))
        stack.enter_context(no_collections())
        return train(trainer, start, Output(run, identity, metrics, trackers, log))


def set_up(
    settings: Settings,
    batches: Batches,
    tokenizer: Tokenizer | None,
    place: Place,
    point: ResumePoint | None,
    initial: InitialModel | None,
) -> Trainer:
    """Model, optimizers and guard as the checkpoint `point` has them, or new ones."""
    config, options, device = settings.train, settings.options, place.device
    # Nothing draws from this generator today. Its state is part of a checkpoint for code that may.
    torch.manual_seed(config.seed)
    check_memory(settings.model)
    model = GPT(settings.model, config.seed)
    if point:
        try:
            model.load_state_dict(point.weights)
        except MISFITS as error:
            raise no_checkpoint(point.path, error) from error
    elif initial:
        model.load_state_dict(initial.weights)
    model.checkpoint_activations = options.checkpoint_activations
    model.fp8_head = options.fp8_head
    if options.fp8_head and not has_fp8(device):
        raise ValueError("fp8_head = True: this device multiplies no 8-bit numbers (Ada, Hopper and later do)")
    model = model.to(device)
    module = distribute(model, options.sharding, place)
    if device.type == "cuda" if options.compile is None else options.compile:
        model.compile_trunk(by_block=place.world > 1 and options.sharding == "full")
    learner = Learner(model, make_optimizers(model, config), Guard(config.spike_sigmas))
    if point:
        restore(point, learner)
        if point.batch_tokens != config.batch_tokens:
            learner.guard.forget()
    if batches.batch_size % place.world:
        raise ValueError(
            f"{place.world} processes: should divide the {batches.batch_size} sequences of a batch; "
            "choose another --batch-tokens"
        )
    most_tokens = options.micro_batch_tokens or micro_batch_tokens(device, settings.model, model.checkpoint_activations)
    micro_batch = micro_batch_size(batches.batch_size // place.world, most_tokens // batches.context)
    return Trainer(settings, batches, learner, module, tokenizer, micro_batch, place)


def train(trainer: Trainer, start: int, output: Output) -> Summary:
    """Make the updates from `start` on, until the last one or a stop."""
    config, options, place, batches = trainer.settings.train, trainer.settings.options, trainer.place, trainer.batches
    model, log = trainer.learner.model, output.log
    meter = Meter(config.batch_tokens, flops_per_token(model.config), place.device, place.world)
    loss: float | None = None
    scores: Evaluation | None = None
    stopped = False
    step = start
    feed = prefetched(batches, start, config.steps, place.rank, place.world, place.device)
    with stop_requests() as stop, feed as fed:
        for x_BT, y_BT in fed:
            meter.start()
            row, stopped = update(trainer, step, x_BT, y_BT, stop, log)
            row.update(meter.stop())
            step += 1
            last = step == config.steps
            if row["loss"] is not None:
                loss = row["loss"]
                if due(step, options.log_every, last):
                    log(progress(row, config.steps, meter.remaining(config.steps - step)))
            scores = watch(trainer, row, last, log) or scores
            if output.metrics is not None and output.trackers is not None:
                output.metrics.write(json.dumps(row) + "\n")
                output.metrics.flush()
                output.trackers.log(row)
            stopped = stopped or (place.world == 1 and stop())
            if trainer.learner.guard.exhausted:
                raise diverged(step, row.get("reason", ""), next(iter(checkpoints(output.run)), None))
            if due(step, options.checkpoint_every, last) or last or stopped:
                position, keep = batches.position(step), options.keep_checkpoints
                write_checkpoint(output.run, step, position, output.identity, trainer.learner, output.metrics, keep)
            if stopped:
                break
    stopped = stopped and step < config.steps
    if stopped:
        log(f"stopped after step {step}; the same command continues from there")
    before = start and output.metrics is not None and (loss is None or scores is None)
    known = newest_figures(output.run) if before else {}
    if scores is not None:
        known.update(validation_loss=scores.loss, bits_per_byte=scores.bits_per_byte)
    return Summary(
        run=str(output.run),
        step=step,
        steps=config.steps,
        resumed_from=start,
        stopped=stopped,
        parameters=parameter_count(model),
        tokens=batches.position(step) * batches.context,
        loss=known.get("loss") if loss is None else loss,
        validation_loss=known.get("validation_loss"),
        bits_per_byte=known.get("bits_per_byte"),
        skipped=trainer.learner.guard.skipped,
        tokens_per_second=round(meter.average),
    )


# --- one step ----------------------------------------------------------------------------------------------


def update(
    trainer: Trainer, step: int, x_BT: Tensor, y_BT: Tensor, stop: Callable[[], bool], log: Log
) -> tuple[dict[str, Any], bool]:
    """Update `step` (from 0), unless the guard refuses it: its row for metrics.jsonl, and whether to stop after it.

    `x_BT` and `y_BT` are this process's inputs and targets, int64 on its device.
    """
    config, optimizers = trainer.settings.train, trainer.learner.optimizers
    loss, norm, stopped = gradients(trainer, x_BT, y_BT, stop)
    row: dict[str, Any] = {"step": step + 1, "tokens": trainer.batches.position(step + 1) * x_BT.shape[1]}
    row.update(loss=loss, lr=learning_rate(step, config), grad_norm=norm)
    reason = trainer.learner.guard.judge(loss, norm)
    if reason is None:
        set_learning_rate(optimizers, row["lr"])
        for optimizer in optimizers:
            optimizer.step()
    else:
        log(f"step {step + 1}: {reason}: update skipped")
        row.update(loss=None, grad_norm=None, skipped=True, reason=reason)
    zero_gradients(optimizers)
    return row, stopped


def gradients(trainer: Trainer, x_BT: Tensor, y_BT: Tensor, stop: Callable[[], bool]) -> tuple[float, float, bool]:
    """Put the batch's clipped gradient into the weights' `.grad`.

    Returns the batch's loss, the gradient's norm before it was clipped, and whether to stop after this update. All
    processes get equal values.
    """
    own_loss = accumulate_gradients(trainer.module, x_BT, y_BT, trainer.micro_batch, trainer.end_of_text)
    norm = clip(trainer.module, trainer.settings.train.clip_norm)
    # Here the CPU waits for the device. A signal may reach one process a step before it reaches another process, so
    # that the processes have to agree on the step to stop after.
    means = average(torch.stack((own_loss, torch.full_like(own_loss, stop()))), trainer.place).tolist()
    return means[0], float(norm), means[1] > 0


def accumulate_gradients(
    module: nn.Module, x_BT: Tensor, y_BT: Tensor, micro_batch: int, end_of_text: int | None = None
) -> Tensor:
    """Add the batch's mean gradient to the weights' `.grad`, computing `micro_batch` windows at a time.

    `x_BT` and `y_BT` are inputs and targets, int64. With several processes the gradient is the mean over the batches
    of all. Returns the mean loss of this process's batch, a scalar on its device.
    """
    parts = list(zip(torch.split(x_BT, micro_batch), torch.split(y_BT, micro_batch), strict=True))
    total = torch.zeros((), device=x_BT.device)
    for number, (x_mT, y_mT) in enumerate(parts, 1):
        with gradients_averaged(module, number == len(parts)):
            with autocast(x_BT.device):
                loss = module(x_mT, y_mT, end_of_text=end_of_text)
            # The parts are equally large, so the mean of their means is the mean of all.
            (loss / len(parts)).backward()
        total += loss.detach() / len(parts)
    return total


def micro_batch_size(windows: int, most: int) -> int:
    """Windows in one forward pass: the largest divisor of `windows` that is at most `most`, at least 1."""
    return max(size for size in range(1, windows + 1) if windows % size == 0 and (size <= most or size == 1))


# --- validation and samples ---------------------------------------------------------------------------------


def watch(trainer: Trainer, row: dict[str, Any], last: bool, log: Log) -> Evaluation | None:
    """Validate and sample if it is time to, and add the results to the step's `row`. Returns the validation's scores.

    `last` is whether the row's step is the last one of the run.
    """
    options, step = trainer.settings.options, row["step"]
    scores = None
    if due(step, options.validate_every, last) and len(trainer.batches.stream.held_out_N):
        scores = validate(trainer)
        row.update(validation_loss=scores.loss, bits_per_byte=scores.bits_per_byte)
        per_byte = f", {scores.bits_per_byte:.4f} bits a byte" if scores.bits_per_byte else ""
        log(f"step {step}: validation loss {scores.loss:.4f}{per_byte}")
    if trainer.tokenizer is not None and due(step, options.sample_every, last):
        row["samples"] = draw_samples(trainer, trainer.tokenizer)
        for sample in row["samples"]:
            log(f"step {step}: {sample!r}")
    return scores


def due(step: int, every: int, last: bool) -> bool:
    """Whether something that happens every so many steps (0: never) and at the last one happens after `step`."""
    return every > 0 and (step % every == 0 or last)


def validate(trainer: Trainer) -> Evaluation:
    """Score up to `validation_windows` windows of the held-out documents; every time the same windows."""
    stream, tokenizer, place = trainer.batches.stream, trainer.tokenizer, trainer.place
    scoring = Scoring(
        stream.end_of_text,
        trainer.micro_batch,
        tokenizer.byte_lengths if tokenizer else None,
        trainer.settings.train.doc_mask,
        most_windows=trainer.settings.options.validation_windows,
    )
    sums = sum_losses(trainer.learner.model, stream.held_out_N, scoring, place.rank, place.world)
    return summarise(total(sums, place), scoring)


def draw_samples(trainer: Trainer, tokenizer: Tokenizer) -> list[str]:
    """A continuation of each prompt. Every step draws with the same random numbers, so that only the model differs."""
    options = trainer.settings.options
    sampling = Sampling(max_tokens=options.sample_tokens)
    model = unsharded_model(trainer.learner.model)
    texts = []
    for prompt in options.sample_prompts:
        [sample] = generate(model, tokenizer.encode(prompt), trainer.batches.stream.end_of_text, sampling)
        texts.append(prompt + tokenizer.decode(sample.tokens))
    return texts


@contextmanager
def no_collections() -> Iterator[None]:
    """Exempt all objects that exist now from garbage collection.

    A run makes few cycles of references, and a collection over all of PyTorch's objects keeps the device waiting:
    nanochat measured half a second.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
