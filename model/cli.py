"""The `model` command: pretrain, sample, eval, export. Results go to stdout, everything else to stderr.

Exit codes: 0 done, 1 cannot be done (one line says why), 2 wrong usage, 130 stopped by Ctrl-C or SIGTERM.
PyTorch is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from model.config import PRESETS, RunOptions, from_preset

STOPPED = 130

_DIRECTORY = click.Path(path_type=Path)


def log(line: str) -> None:
    click.echo(line, err=True)


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Errors about input, files or the course of training become one line and exit code 1."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, OSError, FloatingPointError) as error:
            log(f"error: {error}")
            sys.exit(1)
        except ModuleNotFoundError as error:
            log(f"error: {error.name} is not installed; pip install '.[model]' brings what training needs")
            sys.exit(1)
        except KeyboardInterrupt:
            log("stopped")
            sys.exit(STOPPED)

    return guarded


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


_PRESET_HELP = "; ".join(f"{name} = {summary}" for name, (summary, _, _) in PRESETS.items())


@main.command()
@click.option("--data", type=_DIRECTORY, required=True, help="Directory of TOKENS shards.")
@click.option("-o", "--output", "run", type=_DIRECTORY, required=True, help="Run directory; resumed if it exists.")
@click.option("--preset", type=click.Choice(list(PRESETS)), default="tiny", show_default=True, help=f"{_PRESET_HELP}.")
@click.option("--steps", type=int, help="Updates in all.  [default: the preset's, as all below]")
@click.option("--batch-tokens", type=int, help="Tokens an update, a multiple of the context.")
@click.option("--context", type=int, help="Tokens a sequence.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option("--schedule", type=click.Choice(["cosine", "wsd"]), help="Learning rate after the warm-up.")
@click.option("--warmup-steps", type=int, help="Linear warm-up, steps.")
@click.option("--seed", type=int, help="Of the initial weights and the order of the data.")
@click.option("--tokenizer", type=_DIRECTORY, help="Tokenizer of the shards.  [default: `tokenizer` next to --data]")
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
        context,
        steps=steps,
        batch_tokens=batch_tokens,
        lr=lr,
        schedule=schedule,
        warmup_steps=warmup_steps,
        seed=seed,
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


@main.command()
@click.argument("run", type=_DIRECTORY)
@click.option("--prompt", default="", help="Text to continue.  [default: start a document]")
@click.option("-n", "--count", type=click.IntRange(1), default=1, show_default=True, help="Samples.")
@click.option("--max-tokens", type=int, default=200, show_default=True, help="After the prompt.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="0 takes the likeliest token.")
@click.option("--top-k", type=int, default=50, show_default=True, help="Likeliest tokens to draw from; 0: all.")
@click.option("--top-p", type=float, default=1.0, show_default=True, help="Draw from this much probability.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print prompt and samples as one JSON object.")
@one_line_errors
def sample(
    run: Path,
    prompt: str,
    count: int,
    max_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Continue a prompt with the model of a run.

    \b
    Examples:
      model sample runs/first --prompt "The" -n 3
      model sample runs/first --prompt "Once upon" --temperature 0 --max-tokens 50 --json
    """
    from model.checkpoint import load_model
    from model.device import pick_device
    from model.sample import Sampling, generate
    from model.tokenizer import run_tokenizer

    sampling = Sampling(max_tokens, temperature, top_k, top_p, seed)
    model, _ = load_model(run, pick_device(device), log)
    tokenizer = run_tokenizer(run)
    if tokenizer is None:
        raise ValueError(f"{run}: holds no tokenizer; repeat `model pretrain` with --tokenizer to add it")
    samples = generate(model, tokenizer.encode(prompt), tokenizer.vocabulary.end_of_text, sampling, count)
    texts = [tokenizer.decode(sample.tokens) for sample in samples]
    if as_json:
        rows = [
            {"text": text, "tokens": len(sample.tokens), "ended": sample.ended}
            for text, sample in zip(texts, samples, strict=True)
        ]
        click.echo(json.dumps({"prompt": prompt, "samples": rows}, ensure_ascii=False))
        return
    for number, text in enumerate(texts):
        click.echo(("\n---\n" if number else "") + prompt + text)


@main.command("eval")
@click.argument("run", type=_DIRECTORY)
@click.option("--data", type=_DIRECTORY, required=True, help="Directory of TOKENS shards.")
@click.option("--windows", type=click.IntRange(0), default=0, help="Most windows to score; 0: all.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
@one_line_errors
def evaluate(run: Path, data: Path, windows: int, device: str, as_json: bool) -> None:
    """Score a run's model: loss, perplexity and (with the run's tokenizer) bits a byte.

    On the data that it was trained on, only the held-out windows count; of other data, all.

    \b
    Examples:
      model eval runs/first --data tokens/
      model eval runs/first --data other-tokens/ --windows 1000 --json
    """
    from model.evaluate import evaluate_run

    part, scores = evaluate_run(run, data, windows, device, log)
    if as_json:
        click.echo(json.dumps({"run": str(run), "data": str(data), "part": part, **scores._asdict()}))
        return
    per_byte = f"  bits a byte {scores.bits_per_byte:.4f}" if scores.bits_per_byte is not None else ""
    click.echo(
        f"{part}: loss {scores.loss:.4f}  perplexity {scores.perplexity:.2f}{per_byte}  ({scores.tokens:,} tokens)"
    )


@main.command()
@click.argument("run", type=_DIRECTORY)
@click.option("-o", "--output", type=_DIRECTORY, required=True, help="Directory to write.")
@click.option("--json", "as_json", is_flag=True, help="Print the written files as JSON.")
@one_line_errors
def export(run: Path, output: Path, as_json: bool) -> None:
    """Write a run's model for Hugging Face's transformers (Qwen3ForCausalLM), with its tokenizer.

    \b
    Examples:
      model export runs/first -o hf/
      python -c "from transformers import pipeline; print(pipeline('text-generation', 'hf/')('The'))"
    """
    import torch

    from model.checkpoint import load_model
    from model.hf import export as write
    from model.tokenizer import run_tokenizer

    model, state = load_model(run, torch.device("cpu"), log)
    written = write(model, output, state["data"]["end_of_text"], run_tokenizer(run))
    if as_json:
        click.echo(json.dumps({"run": str(run), "files": [str(path) for path in written]}))
        return
    for path in written:
        log(f"{path}: {path.stat().st_size:,} bytes")
