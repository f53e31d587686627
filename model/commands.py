"""The `model` commands that use what training left, or another program: sample, eval, export, import, plot.

PyTorch is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from model.console import DIRECTORY, log, one_line_errors


@click.command()
@click.argument("run", type=DIRECTORY)
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


@click.command("eval")
@click.argument("run", type=DIRECTORY)
@click.option("--data", multiple=True, help="Directory of TOKENS shards, or NAME=DIRECTORY. Repeatable.")
@click.option(
    "--choices",
    type=click.Path(path_type=Path),
    multiple=True,
    help="JSONL of multiple choice: HellaSwag, ARC. Repeatable.",
)
@click.option("--by-shard", is_flag=True, help="A row for each shard, not for each sub-folder.")
@click.option(
    "--stride", type=click.IntRange(0), default=0, help="Tokens from window to window.  [default: the context]"
)
@click.option("--windows", type=click.IntRange(0), default=0, help="Most windows of a row, spread evenly; 0: all.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON.")
@one_line_errors
def evaluate(
    run: Path,
    data: tuple[str, ...],
    choices: tuple[Path, ...],
    by_shard: bool,
    stride: int,
    windows: int,
    device: str,
    as_json: bool,
) -> None:
    """Score a run's model: loss, perplexity, bits a byte; and how often it takes the right one of several endings.

    Of the very folder that the run was trained on, only the held-out documents count; of others, all. Each token
    counts once, windows side by side; --stride N overlaps them, which gives tokens more to go by at context / N
    times the cost. Loss is in nats a token. Bits a byte and multiple choice need the run's tokenizer.

    \b
    Examples:
      model eval runs/first --data tokens/
      model eval runs/first --data news=news-tokens/ --data code=code-tokens/ --stride 128
      model eval runs/first --choices hellaswag_val.jsonl --json
    """
    if not data and not choices:
        raise click.UsageError("nothing to score: give --data, --choices or both")
    from model.checkpoint import load_model
    from model.choices import choice_lines, evaluate_choices, read_examples
    from model.device import pick_device
    from model.evaluate import evaluate_data, score_lines
    from model.tokenizer import run_tokenizer

    examples = [(path, read_examples(path)) for path in choices]
    model, state = load_model(run, pick_device(device), log)
    tokenizer = run_tokenizer(run)
    if choices and tokenizer is None:
        raise ValueError(f"{run}: holds no tokenizer; repeat `model pretrain` with --tokenizer to add it")
    answer: dict[str, Any] = {"run": str(run), "step": state.get("step")}
    tables = []
    if data:
        folders = [_named_folder(given) for given in data]
        rows, total = evaluate_data(model, state, run, tokenizer, folders, by_shard, stride, windows)
        answer.update(data=[row.as_dict() for row in rows], total=total.as_dict())
        tables.append(score_lines(rows, total))
    if tokenizer is not None and choices:
        counts = [(str(path), evaluate_choices(model, tokenizer, of)) for path, of in examples]
        answer["choices"] = [{"file": path, **figures._asdict()} for path, figures in counts]
        tables.append(choice_lines(counts))
        for path, figures in counts:
            if figures.shortened:
                log(f"{path}: {figures.shortened} texts longer than the model's context lost their beginning")
    click.echo(json.dumps(answer) if as_json else "\n\n".join("\n".join(lines) for lines in tables))


def _named_folder(given: str) -> tuple[str, Path]:
    """`name=path`, or a path, which is then its own name."""
    name, equals, path = given.partition("=")
    return (name, Path(path)) if equals and not Path(given).exists() else (given, Path(given))


@click.command()
@click.argument("run", type=DIRECTORY)
@click.option("-o", "--output", type=DIRECTORY, required=True, help="Directory to write.")
@click.option("--to", type=click.Choice(["hf"]), default="hf", show_default=True, help="hf: Hugging Face transformers.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the written files as JSON.")
@one_line_errors
def export(run: Path, output: Path, to: str, dtype: str, as_json: bool) -> None:
    """Write a run's model, with its tokenizer, for Hugging Face's transformers.

    The default shape becomes Qwen3ForCausalLM, without QK-norm LlamaForCausalLM, GPT-2's own GPT2LMHeadModel.

    \b
    Examples:
      model export runs/first --to hf -o out/
      python -c "from transformers import pipeline; print(pipeline('text-generation', 'out/')('The'))"
    """
    import torch

    from model.checkpoint import load_model
    from model.hf import export as write
    from model.tokenizer import run_tokenizer

    model, state = load_model(run, torch.device("cpu"), log)
    written = write(model, output, state["data"]["end_of_text"], run_tokenizer(run), dtype)
    if as_json:
        click.echo(json.dumps({"run": str(run), "files": [str(path) for path in written]}))
        return
    for path in written:
        log(f"{path}: {path.stat().st_size:,} bytes")


@click.command("import")
@click.argument("folder", type=DIRECTORY)
@click.option("-o", "--output", "run", type=DIRECTORY, required=True, help="Run directory to make.")
@click.option("--context", type=int, help="Longest sequence, tokens.  [default: the model's own]")
@click.option("--tokenizer/--no-tokenizer", default=True, help="Import tokenizer.json too.  [default: if there is one]")
@click.option("--json", "as_json", is_flag=True, help="Print what was imported as JSON.")
@one_line_errors
def import_(folder: Path, run: Path, context: int | None, tokenizer: bool, as_json: bool) -> None:
    """Make a run of a Hugging Face model: a folder of config.json and safetensors files.

    Qwen3, Llama and GPT-2 can be read. `model sample`, `eval` and `export` take the run as one of their own.

    \b
    Examples:
      model import Qwen3-0.6B-Base/ --context 4096 -o runs/qwen3
      model import gpt2/ -o runs/gpt2 && model sample runs/gpt2 --prompt "The"
    """
    from model.hf import import_folder

    imported = import_folder(folder, run, context, tokenizer)
    if as_json:
        click.echo(json.dumps(imported._asdict()))
        return
    carried = f"tokenizer {imported.tokenizer[:12]}" if imported.tokenizer else "no tokenizer"
    log(f"{run}: {imported.architecture}, {imported.parameters:,} parameters, context {imported.context}, {carried}")


@click.command()
@click.argument("runs", type=DIRECTORY, nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=DIRECTORY,
    default="plot.html",
    show_default=True,
    help="HTML file to write, replaced if it exists.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures of the runs, and how they differ, as JSON.")
@one_line_errors
def plot(runs: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Show runs side by side: their curves, figures, differing settings and samples, on one HTML page.

    The page needs no network and no server. Runs may still be in progress: call again for a newer page.

    \b
    Examples:
      model plot runs/first
      model plot runs/lr-1e-3 runs/lr-3e-3 -o compared.html
    """
    from model.history import read_runs
    from model.plot import summary, write_page

    histories = read_runs(runs)
    write_page(histories, output)
    click.echo(json.dumps(summary(histories, output), ensure_ascii=False) if as_json else str(output))
