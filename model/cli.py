"""The `model` command: pretrain, sample, eval, export. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 cannot be done (one line says why), 2 wrong usage, 130 stopped by Ctrl-C or SIGTERM.
PyTorch is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from model.commands.console import DIRECTORY, STOPPED, log, one_line_errors
from model.commands.runs import evaluate, export, import_, plot, sample
from model.config import OPTIMIZERS, SCHEDULES, SHARDINGS, TRACKERS, ModelConfig, RunOptions, TrainConfig
from model.presets import PRESETS


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="corpus-toolkit", prog_name="model")
def main() -> None:
    """Train a small Transformer on TOKENS shards, and use it.

    \b
    Examples:
      model pretrain --data tokens/ --preset tiny -o runs/first
      model sample runs/first --prompt "The" -n 3
      model eval runs/first --data other-tokens/ --json
      model export runs/first -o hf/
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, until training asks for more grace
    # Read once, when PyTorch brings in OpenMP. By default idle threads spin for long, which on a machine whose cores
    # are also wanted by others was measured to take training from 1 to 15 seconds a step; to sleep at once costs a
    # sixth of the speed where they are not. This is some microseconds.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


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


@main.command()
@click.option("--data", type=DIRECTORY, help="Directory of TOKENS shards.")
@click.option("-o", "--output", "run", type=DIRECTORY, help="Run directory; resumed if it exists.")
@click.option("--resume", type=DIRECTORY, help="Run directory to resume as it was started; options given here win.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="tiny", show_default=True, help=f"{_PRESET_HELP}.")
@click.option("--from", "start", type=DIRECTORY, help="Begin with this run's weights and shape, see `model import`.")
@click.option("--tokens", type=token_count, metavar="COUNT", help="Tokens in all, as 10B, instead of --steps.")
@click.option("--steps", type=int, help="Updates in all.  [default: the preset's, as all below]")
@click.option("--batch-tokens", type=token_count, metavar="COUNT", help="Tokens an update, a multiple of the context.")
@click.option("--context", type=int, help="Tokens a sequence.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option("--optimizer", type=click.Choice(OPTIMIZERS), help="muon: for the matrices of the blocks.")
@click.option("--schedule", type=click.Choice(SCHEDULES), help="Learning rate after the warm-up.")
@click.option("--warmup-steps", type=int, help="Linear warm-up, steps.")
@click.option("--doc-mask/--no-doc-mask", default=None, help="Attention stays within a document.")
@click.option("--seed", type=int, help="Of the initial weights and the order of the data.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Any other setting of the model or the training, as activation=relu2, window=512, soft_cap=15, tied=false, "
    "weight_decay=0.05; repeatable.",
)
@click.option("--tokenizer", type=DIRECTORY, help="Tokenizer of the shards.  [default: `tokenizer` next to --data]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--compile/--no-compile", default=None, help="torch.compile.  [default: on CUDA]")
@click.option("--micro-batch-tokens", type=int, default=0, help="Most tokens in one forward pass.  [default: auto]")
@click.option("--checkpoint-activations", is_flag=True, help="Compute activations twice: less memory, a third slower.")
@click.option("--fp8-head", is_flag=True, help="Compute the output head in 8 bits: Ada, Hopper and later.")
@click.option(
    "--sharding",
    type=click.Choice(SHARDINGS),
    default="none",
    show_default=True,
    help="Under torchrun. none: each process has the whole model (DDP); full: each has a part (FSDP2).",
)
@click.option("--log-every", type=int, default=10, show_default=True, help="Steps between progress lines.")
@click.option("--validate-every", type=int, default=100, show_default=True, help="Steps; 0: never.")
@click.option("--sample-every", type=int, default=100, show_default=True, help="Steps; 0: never.")
@click.option("--sample-prompt", multiple=True, default=("The",), show_default=True, help="Repeatable.")
@click.option(
    "--checkpoint-every",
    type=int,
    default=100,
    show_default=True,
    help="Steps; 0: only at the end or a stop.",
)
@click.option("--keep", type=int, default=3, show_default=True, help="Checkpoints to keep.")
@click.option("--track", type=click.Choice(TRACKERS), multiple=True, help="Send the metrics there too; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary of the run as JSON.")
@click.pass_context
@one_line_errors
def pretrain(ctx: click.Context, /, resume: Path | None, as_json: bool, **given: Any) -> None:
    """Train a model on TOKENS shards, or continue where the run in -o stopped.

    Ctrl-C or SIGTERM finishes the step, writes a checkpoint and exits with code 130; the same command
    continues, and so does --resume. With other --batch-tokens, --steps or number of processes it goes on with
    the very next tokens.

    \b
    Examples:
      model pretrain --data tokens/ -o runs/first
      model pretrain --data tokens/ --preset 124m --tokens 10B --batch-tokens 524288 -o runs/124m
      model pretrain --data tokens/ --preset nano --optimizer muon --doc-mask --set activation=relu2 -o runs/nano
      torchrun --nproc-per-node 8 -m model pretrain --data tokens/ --preset 1558m --sharding full -o runs/xl
      model import Qwen3-0.6B-Base/ -o runs/qwen3 && model pretrain --from runs/qwen3 --data tokens/ -o runs/more
      model pretrain --resume runs/first
    """
    if resume is not None and given["run"] is not None:
        raise click.UsageError("give -o or --resume, not both")
    if resume is not None:
        given = resumed(ctx, resume, given)
    elif given["data"] is None or given["run"] is None:
        raise click.UsageError("give --data and -o for a run, or --resume for one that was started before")
    options = RunOptions(
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
    shape, training = settings_of(given["settings"])
    if given["context"] is not None:
        shape["context"] = given["context"]
    for name in ("steps", "batch_tokens", "lr", "optimizer", "schedule", "warmup_steps", "doc_mask", "seed"):
        if given[name] is not None:
            training[name] = given[name]
    if given["tokens"] is not None and "steps" in training:
        raise click.UsageError("give steps or --tokens, not both: one follows from the other")
    import torch

    from model.commands.launch import launch

    try:
        summary = launch(
            Path(given["data"]),
            Path(given["run"]),
            given["preset"],
            shape,
            training,
            given["tokens"],
            given["tokenizer"],
            options,
            {name: os.path.abspath(value) if isinstance(value, Path) else value for name, value in given.items()},
            log,
            Path(given["start"]) if given["start"] else None,
        )
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"{options.device}: out of memory; lower --micro-batch-tokens or add --checkpoint-activations"
        ) from error
    if as_json and os.environ.get("RANK", "0") == "0":  # of torchrun's processes the first
        click.echo(json.dumps(summary._asdict()))
    if summary.stopped:
        sys.exit(STOPPED)


def resumed(ctx: click.Context, run: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The options that `run` was started with, under those that are given now."""
    path = run / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{run}: holds no run to resume (no config.json); start one with --data and -o")
    try:
        stored = json.loads(path.read_text("utf-8")).get("command")
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
    now["settings"] = [*stored.get("settings", ()), *given["settings"]]  # the last of a field counts
    return {**given, **stored, **now, "run": run}


def settings_of(pairs: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """`FIELD=VALUE` -> fields of ModelConfig, fields of TrainConfig. Raises UsageError naming what is wrong."""
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


for command in (sample, evaluate, export, import_, plot):
    main.add_command(command)
