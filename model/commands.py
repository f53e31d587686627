"""The `model` commands that use a trained model: sample, eval, export, import.

PyTorch is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path

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
@click.option("--data", type=DIRECTORY, required=True, help="Directory of TOKENS shards.")
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
