"""The `model` command: pretrain, sample, eval, export. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 cannot be done (one line says why), 2 wrong usage, 130 stopped by Ctrl-C or SIGTERM.
PyTorch is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import click

from model.commands import evaluate, export, import_, sample
from model.config import RunOptions
from model.console import DIRECTORY, STOPPED, log, one_line_errors
from model.presets import PRESETS, from_preset


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
    # Read once, when PyTorch brings in OpenMP. By default idle threads spin, which on a machine whose cores are
    # also wanted by others was measured to take training from 1 to 15 seconds a step.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


_PRESET_HELP = "; ".join(f"{name} = {preset.summary}" for name, preset in PRESETS.items())


@main.command()
@click.option("--data", type=DIRECTORY, required=True, help="Directory of TOKENS shards.")
@click.option("-o", "--output", "run", type=DIRECTORY, required=True, help="Run directory; resumed if it exists.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="tiny", show_default=True, help=f"{_PRESET_HELP}.")
@click.option("--steps", type=int, help="Updates in all.  [default: the preset's, as all below]")
@click.option("--batch-tokens", type=int, help="Tokens an update, a multiple of the context.")
@click.option("--context", type=int, help="Tokens a sequence.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option("--schedule", type=click.Choice(["cosine", "wsd"]), help="Learning rate after the warm-up.")
@click.option("--warmup-steps", type=int, help="Linear warm-up, steps.")
@click.option("--seed", type=int, help="Of the initial weights and the order of the data.")
@click.option("--tokenizer", type=DIRECTORY, help="Tokenizer of the shards.  [default: `tokenizer` next to --data]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--compile/--no-compile", default=None, help="torch.compile.  [default: on CUDA]")
@click.option("--micro-batch-tokens", type=int, default=0, help="Most tokens in one forward pass.  [default: auto]")
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
@click.option("--json", "as_json", is_flag=True, help="Print a summary of the run as JSON.")
@one_line_errors
def pretrain(
    data: Path,
    run: Path,
    preset: str,
    steps: int | None,
    batch_tokens: int | None,
    context: int | None,
    lr: float | None,
    schedule: str | None,
    warmup_steps: int | None,
    seed: int | None,
    tokenizer: Path | None,
    device: str,
    compile: bool | None,
    micro_batch_tokens: int,
    log_every: int,
    validate_every: int,
    sample_every: int,
    sample_prompt: tuple[str, ...],
    checkpoint_every: int,
    keep: int,
    as_json: bool,
) -> None:
    """Train a model on TOKENS shards, or continue where the run in -o stopped.

    Ctrl-C or SIGTERM finishes the step, writes a checkpoint and exits with code 130; the same command
    continues.

    \b
    Examples:
      model pretrain --data tokens/ -o runs/first
      model pretrain --data tokens/ --preset nano --steps 500 --lr 2e-3 -o runs/nano
      model pretrain --data tokens/ -o runs/first --sample-every 50 --sample-prompt "Once"
    """
    options = RunOptions(
        device=device,
        compile=compile,
        micro_batch_tokens=micro_batch_tokens,
        log_every=log_every,
        validate_every=validate_every,
        sample_every=sample_every,
        sample_prompts=sample_prompt,
        checkpoint_every=checkpoint_every,
        keep_checkpoints=keep,
    )
    import torch

    from model.data import open_stream
    from model.tokenizer import adopt_tokenizer, find_tokenizer, run_tokenizer
    from model.train import pretrain as train

    stream = open_stream(data, run)
    model_config, train_config = from_preset(
        preset,
        stream.vocab_size,
        {"context": context},
        {
            "steps": steps,
            "batch_tokens": batch_tokens,
            "lr": lr,
            "schedule": schedule,
            "warmup_steps": warmup_steps,
            "seed": seed,
        },
    )
    source = find_tokenizer(tokenizer, data)
    codec = adopt_tokenizer(run, source, stream.tokenizer_hash) if source else run_tokenizer(run)
    if codec is None:
        log("no tokenizer given or found next to the data: no samples, no bits a byte (see --tokenizer)")
    try:
        summary = train(stream, run, model_config, train_config, options, log, codec)
    except torch.OutOfMemoryError as error:
        raise ValueError(f"{options.device}: out of memory; lower --micro-batch-tokens") from error
    if as_json:
        click.echo(json.dumps(summary._asdict()))
    if summary.stopped:
        sys.exit(STOPPED)


for command in (sample, evaluate, export, import_):
    main.add_command(command)
