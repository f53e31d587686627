"""The `model` commands that use a trained model: sample, eval, export.

PyTorch is imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from model.console import DIRECTORY, log, one_line_errors

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
