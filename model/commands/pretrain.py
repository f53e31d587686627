"""`model pretrain`: options, and the settings that a run was started with -> a run of training."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bpe.arguments import check_apart
from bpe.parse import parse_json
from bpe.terminal.help import FILES, WORK, Heading, command, json_option
from bpe.terminal.program import INTERRUPTED
from bpe.terminal.text import say
from model.commands.common import PATH, device_option, usage
from model.config import OPTIMIZERS, SCHEDULES, SHARDINGS, TRACKERS, ModelConfig, RunOptions, TrainConfig
from model.presets import PRESETS, from_preset

TRAINING = Heading("Model and training (defaults are those of the preset)")
WATCHING = Heading("Progress and checkpoints")
_FIELDS = ("steps", "batch_tokens", "lr", "optimizer", "schedule", "warmup_steps", "doc_mask", "seed")
_PRESET_HELP = "; ".join(f"{name} = {preset.summary}" for name, preset in PRESETS.items())


def token_count(text: str) -> int:
    """A number of tokens: 524288, 1e9, 500M, 10B."""
    plain = text.upper().replace(",", "").replace("_", "")
    units = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
    unit = plain[-1:] if plain[-1:] in units else ""
    try:
        count = int(float(plain.removesuffix(unit)) * units.get(unit, 1))
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r}: should be a number of tokens, as 524288, 1e9, 500M or 10B") from None
    if count < 1:
        raise click.BadParameter(f"{text!r}: should be at least 1")
    return count


@command()
@FILES.option("--data", type=PATH, help="directory of token shards")
@FILES.option("-o", "--output", "run", type=PATH, help="run directory; an existing run is resumed")
@FILES.option(
    "--resume", type=PATH, metavar="RUN", help="run to resume with the options it was started with; new options win"
)
@FILES.option("--from", "start", type=PATH, metavar="RUN", help="run whose weights and shape the new run begins with")
@FILES.option("--tokenizer", type=PATH, show_default="`tokenizer` beside --data", help="tokenizer of the shards")
@TRAINING.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    metavar="NAME",
    default="tiny",
    show_default=True,
    help=f"shape and training settings to begin with: {_PRESET_HELP}",
)
@TRAINING.option("--tokens", type=token_count, metavar="COUNT", help="tokens in all, such as 10B, instead of --steps")
@TRAINING.option("--steps", type=int, help="updates in all")
@TRAINING.option("--batch-tokens", type=token_count, metavar="COUNT", help="tokens an update; a multiple of --context")
@TRAINING.option("--context", type=int, help="tokens a sequence")
@TRAINING.option("--lr", type=float, help="peak learning rate")
@TRAINING.option(
    "--optimizer", type=click.Choice(OPTIMIZERS), help="muon: Muon for the matrices of the blocks, AdamW otherwise"
)
@TRAINING.option("--schedule", type=click.Choice(SCHEDULES), help="learning rate after the warm-up")
@TRAINING.option("--warmup-steps", type=int, help="steps in which the learning rate rises from 0 to its peak")
@TRAINING.option("--doc-mask/--no-doc-mask", default=None, help="attention stays within a document")
@TRAINING.option("--seed", type=int, help="seed of the initial weights and of the order of the data")
@TRAINING.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="any other setting of model or training (repeatable): activation=relu2, window=512, soft_cap=15, tied=false, "
    "weight_decay=0.05, ...",
)
@device_option
@WORK.option("--compile/--no-compile", default=None, show_default="on CUDA", help="use torch.compile")
@WORK.option(
    "--micro-batch-tokens", type=int, default=0, show_default="by device and model", help="tokens of one forward pass"
)
@WORK.option("--checkpoint-activations", is_flag=True, help="compute activations twice: less memory, a third slower")
@WORK.option("--fp8-head", is_flag=True, help="compute the output head in 8 bits, on Ada, Hopper and later GPUs")
@WORK.option(
    "--sharding",
    type=click.Choice(SHARDINGS),
    default="none",
    show_default=True,
    help="under torchrun. none: each process has the whole model (DDP); full: each has a part (FSDP2)",
)
@WATCHING.option("--log-every", type=int, default=10, show_default=True, help="steps between progress lines")
@WATCHING.option(
    "--validate-every", type=int, default=100, show_default=True, help="steps between validations; 0: none"
)
@WATCHING.option("--sample-every", type=int, default=100, show_default=True, help="steps between samples; 0: none")
@WATCHING.option(
    "--sample-prompt", multiple=True, default=("The",), show_default=True, help="prompt to sample from (repeatable)"
)
@WATCHING.option(
    "--checkpoint-every",
    type=int,
    default=100,
    show_default=True,
    help="steps between checkpoints; 0: only when training ends or is stopped",
)
@WATCHING.option("--keep", type=int, default=3, show_default=True, help="checkpoints to keep")
@WATCHING.option(
    "--track", type=click.Choice(TRACKERS), multiple=True, help="where to send the metrics as well (repeatable)"
)
@json_option
@click.pass_context
def pretrain(ctx: click.Context, /, resume: Path | None, as_json: bool, **given: Any) -> int:
    """Train a model on token shards, or continue the run in -o.

    Examples:
      model pretrain --data tokens/ -o runs/first
      model pretrain --data tokens/ --preset 124m --tokens 10B --batch-tokens 524288 -o runs/124m
      model pretrain --data tokens/ --preset nano --optimizer muon --doc-mask --set activation=relu2 -o runs/nano
      torchrun --nproc-per-node 8 --no-python model pretrain --data tokens/ --preset 1558m --sharding full -o runs/xl
      model import Qwen3-0.6B-Base/ -o runs/qwen3 && model pretrain --from runs/qwen3 --data tokens/ -o runs/more
      model pretrain --resume runs/first

    Ctrl-C or SIGTERM ends training after the current step with a checkpoint and exit code 130. The same command
    continues the run, and so does --resume, also with other --batch-tokens, --steps or number of processes: training
    goes on with the token after the last one that it has seen.
    """
    if resume is not None and given["run"] is not None:
        raise click.UsageError("give -o or --resume, not both")
    if resume is not None:
        given = resumed(ctx, resume, given)
    elif given["data"] is None or given["run"] is None:
        raise click.UsageError("give --data and -o for a run, or --resume for one that was started before")
    shape, training = settings_of(given["settings"])
    if given["context"] is not None:
        shape["context"] = given["context"]
    training |= {name: given[name] for name in _FIELDS if given[name] is not None}
    if given["tokens"] is not None and "steps" in training:
        raise click.UsageError("give steps or --tokens, not both: one follows from the other")
    with usage():
        check_apart([given["data"]], given["run"])
        options = _run_options(given)
        if given["start"]:  # that run decides about the shape
            TrainConfig(**{**PRESETS[given["preset"]].training, **training})
        else:
            from_preset(given["preset"], 1, shape, training, given["tokens"])
    _check_places(given)
    import torch

    from model.launch import Request, launch

    request = Request(
        data=Path(given["data"]),
        run=Path(given["run"]),
        preset=given["preset"],
        shape=shape,
        training=training,
        tokens=given["tokens"],
        tokenizer=given["tokenizer"],
        start=Path(given["start"]) if given["start"] else None,
        command={name: os.path.abspath(value) if isinstance(value, Path) else value for name, value in given.items()},
    )
    try:
        summary = launch(request, options, say)
    except torch.OutOfMemoryError as error:
        fix = "lower --micro-batch-tokens or add --checkpoint-activations"
        raise ValueError(f"{options.device}: out of memory; {fix}") from error
    if as_json and os.environ.get("RANK", "0") == "0":  # the first of torchrun's processes
        click.echo(json.dumps(summary._asdict()))
    return INTERRUPTED if summary.stopped else 0


def _check_places(given: dict[str, Any]) -> None:
    """Raises OSError or ValueError for data, tokenizer or first weights that are not there.

    This takes no time, while to import PyTorch takes seconds.
    """
    from model.checkpoint import checkpoints, require_checkpoint
    from model.stream import vocabulary_of

    vocabulary_of(Path(given["data"]))
    if given["tokenizer"] is not None and not Path(given["tokenizer"]).exists():
        raise FileNotFoundError(f"{given['tokenizer']}: no such tokenizer; name what `bpe train` or `bpe import` made")
    if given["start"] and not checkpoints(Path(given["run"])):
        require_checkpoint(Path(given["start"]))


def _run_options(given: dict[str, Any]) -> RunOptions:
    return RunOptions(
        device=given["device"],
        compile=given["compile"],
        micro_batch_tokens=given["micro_batch_tokens"],
        checkpoint_activations=given["checkpoint_activations"],
        fp8_head=given["fp8_head"],
        sharding=given["sharding"],
        log_every=given["log_every"],
        validate_every=given["validate_every"],
        sample_every=given["sample_every"],
        sample_prompts=tuple(given["sample_prompt"]),
        checkpoint_every=given["checkpoint_every"],
        keep_checkpoints=given["keep"],
        trackers=tuple(given["track"]),
    )


def resumed(ctx: click.Context, run: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The options that `run` was started with, replaced by those on the command line."""
    path = run / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{run}: holds no run to resume (no config.json); start one with --data and -o")
    try:
        stored = parse_json(path.read_bytes()).get("command")
        _check_stored(ctx, stored or {})
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({error}); give the command that started the run instead") from error
    if not stored:
        raise ValueError(
            f"{run}: not started by `model pretrain`; to begin with its weights give --from, --data and -o"
        )
    now = {
        name: value
        for name, value in given.items()
        if ctx.get_parameter_source(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    }
    if "steps" in now or "tokens" in now:  # one follows from the other
        stored = {**stored, "steps": None, "tokens": None}
    now["settings"] = [*stored.get("settings", ()), *given["settings"]]  # of two values of a field the last one counts
    return {**given, **stored, **now, "run": run}


def _check_stored(ctx: click.Context, stored: Any) -> None:
    """Raises ValueError naming the option if a stored value is none that the command writes."""
    if not isinstance(stored, dict):
        raise ValueError("command should be an object")
    for option in ctx.command.params:
        value = stored.get(option.name or "")
        types: dict[Any, Any] = {click.INT: int, token_count: int, click.FLOAT: (int, float)}
        flag = isinstance(option, click.Option) and option.is_flag
        kind = bool if flag else types.get(getattr(option.type, "func", option.type), str)
        values = value if option.multiple and isinstance(value, list) else [value]
        if value is not None and not all(isinstance(item, kind) for item in values):
            raise ValueError(f"command.{option.name} = {value!r}")


def settings_of(pairs: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`FIELD=VALUE` -> fields of ModelConfig, fields of TrainConfig. Raises UsageError naming the pair and the fix."""
    shape: dict[str, Any] = {}
    training: dict[str, Any] = {}
    kinds = [(ModelConfig, shape), (TrainConfig, training)]
    types = {field.name: (field.type, chosen) for kind, chosen in kinds for field in dataclasses.fields(kind)}
    del types["vocab_size"]  # the tokenizer's
    for pair in pairs:
        name, _, text = pair.partition("=")
        if name not in types:
            raise click.UsageError(f"--set {pair}: {name!r} should be one of {', '.join(sorted(types))}")
        kind, chosen = types[name]
        try:
            chosen[name] = _parsed(str(kind), text)
        except (ValueError, KeyError):
            wanted = {"int": "a whole number", "float": "a number", "bool": "true or false"}[str(kind)]
            raise click.UsageError(f"--set {pair}: {text!r} should be {wanted}") from None
    return shape, training


def _parsed(kind: str, text: str) -> Any:
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    return {"int": int, "float": float, "str": str}[kind](text)
