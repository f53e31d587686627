"""The `model` commands that use what training left, or another program: sample, eval, export, import, plot.

PyTorch is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from model.commands.console import DIRECTORY, log, one_line_errors

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("run", type=DIRECTORY)
@click.option("--prompt", help="Text to continue.  [default: start a document]")
@click.option("--prompts", "prompts_file", type=FILE, help="File of prompts: one a line, or JSON lines of prompt.")
@click.option(
    "--few-shot",
    type=FILE,
    help="Examples to put before the prompt: JSON lines of input and output, or paragraphs of text.",
)
@click.option("--stop", "stops", multiple=True, help="Text that ends a sample. Repeatable.  [few-shot input: newline]")
@click.option("-n", "--count", type=click.IntRange(1), default=1, show_default=True, help="Samples a prompt.")
@click.option("--max-tokens", type=int, default=200, show_default=True, help="After the prompt.")
@click.option("--temperature", type=float, default=0.8, show_default=True, help="0 takes the likeliest token.")
@click.option("--top-k", type=int, default=50, show_default=True, help="Likeliest tokens to draw from; 0: all.")
@click.option("--top-p", type=float, default=1.0, show_default=True, help="Draw from this much probability.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--graph/--no-graph", default=True, show_default=True, help="On CUDA: decode by a CUDA graph.")
@click.option("--json", "as_json", is_flag=True, help="Print prompt and samples as a JSON object, one a prompt.")
@one_line_errors
def sample(
    run: Path,
    prompt: str | None,
    prompts_file: Path | None,
    few_shot: Path | None,
    stops: tuple[str, ...],
    count: int,
    max_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
    device: str,
    graph: bool,
    as_json: bool,
) -> None:
    """Continue a prompt with the model of a run.

    A single sample is printed as it is written. With --few-shot and JSON lines, prompts become inputs and the
    model's outputs end with the line.

    \b
    Examples:
      model sample runs/first --prompt "Once" -n 3 --temperature 0.8 --top-p 0.95
      model sample runs/first --prompts prompts.txt --temperature 0 --json
      model sample runs/first --few-shot capitals.jsonl --prompt "France"
    """
    if prompt is not None and prompts_file is not None:
        raise click.UsageError("give --prompt or --prompts, not both")

    from model.checkpoint import load_model
    from model.device import pick_device
    from model.prompt import NO_EXAMPLES, Ending, Writer, fitting_ids, read_examples, read_prompts
    from model.sample import Sampling, generate, generate_batch
    from model.tokenizer import run_tokenizer

    sampling = Sampling(max_tokens, temperature, top_k, top_p, seed)
    examples = read_examples(few_shot) if few_shot else NO_EXAMPLES
    prompts = read_prompts(prompts_file) if prompts_file else [prompt or ""]
    if examples.asks and "" in prompts:
        raise ValueError(f"{few_shot}: its examples are of inputs, so that an input is needed; give it by --prompt")
    model, _ = load_model(run, pick_device(device), log)
    tokenizer = run_tokenizer(run)
    if tokenizer is None:
        raise ValueError(f"{run}: holds no tokenizer; repeat `model pretrain` with --tokenizer to add it")
    end_of_text, ending = tokenizer.vocabulary.end_of_text, Ending(tokenizer, (*examples.stops, *stops))
    context = model.config.context
    # An end of text goes first. An answer longer than its share would push the first examples out of the context.
    room = context - 1 - (min(max_tokens, context // 4) if few_shot else 0)
    asked = []
    for number, text in enumerate(prompts, 1):
        ids, dropped = fitting_ids(examples, text, tokenizer, room)
        asked.append(ids)
        if dropped:
            log(f"prompt {number}: the first {dropped} of {len(examples.texts)} examples left out, to fit the context")
        if len(ids) >= context:
            log(f"prompt {number}: of its {len(ids)} tokens the last {context} are used, the context has no more")
    if prompts_file is None and count == 1 and not as_json:
        click.echo(examples.ask(prompts[0]), nl=False)
        writer = Writer(ending, lambda text: click.echo(text, nl=False))
        generate(model, asked[0], end_of_text, sampling, 1, lambda _, token: writer.token(token), ending.reached, graph)
        writer.close()
        click.echo()
        return
    first = True
    answers = generate_batch(model, asked, end_of_text, sampling, count, ending.reached, graph)
    for text, samples in zip(prompts, answers, strict=True):
        texts = [ending.text(sample.tokens) for sample in samples]
        if as_json:
            rows = [
                {"text": continuation, "tokens": len(sample.tokens), "ended": sample.ended}
                for continuation, sample in zip(texts, samples, strict=True)
            ]
            click.echo(json.dumps({"prompt": text, "samples": rows}, ensure_ascii=False))
            continue
        for continuation in texts:
            click.echo(("" if first else "\n---\n") + examples.ask(text) + continuation)
            first = False


@click.command("eval")
@click.argument("run", type=DIRECTORY)
@click.option("--data", multiple=True, help="Directory of TOKENS shards, or NAME=DIRECTORY. Repeatable.")
@click.option(
    "--choices",
    type=FILE,
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
    from model.choices import choice_lines, evaluate_choices, read_questions
    from model.device import pick_device
    from model.evaluate import evaluate_data, score_lines
    from model.tokenizer import run_tokenizer

    questions = [(path, read_questions(path)) for path in choices]
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
        counts = [(str(path), evaluate_choices(model, tokenizer, of)) for path, of in questions]
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
