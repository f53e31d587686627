"""`model sample`: a run's model continues prompts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bpe.terminal.help import FILES, WORK, Heading, command
from bpe.terminal.text import say
from model.commands.common import FILE, device_option, run_argument, usage

if TYPE_CHECKING:
    from model.prompt import Ending, Examples
    from model.sample import Sample
    from model.tokenizer import Tokenizer

SAMPLING = Heading("Sampling")


@command()
@run_argument
@FILES.option("--prompt", show_default="begin a document", help="text to continue")
@FILES.option("--prompts", "prompts_file", type=FILE, help="file of prompts: one a line, or JSON lines with `prompt`")
@FILES.option(
    "--few-shot",
    type=FILE,
    help="examples to put before the prompt: JSON lines with `input` and `output`, or paragraphs of text",
)
@FILES.option("--json", "as_json", is_flag=True, help="print a JSON object for each prompt, with its samples")
@SAMPLING.option("-n", "--count", type=click.IntRange(1), default=1, show_default=True, help="samples for each prompt")
@SAMPLING.option("--max-tokens", type=int, default=200, show_default=True, help="most tokens of a sample")
@SAMPLING.option(
    "--temperature", type=float, default=0.8, show_default=True, help="0 always takes the most probable token"
)
@SAMPLING.option(
    "--top-k", type=int, default=50, show_default=True, help="draw from this many most probable tokens; 0: from all"
)
@SAMPLING.option(
    "--top-p", type=float, default=1.0, show_default=True, help="draw from the tokens that have this much probability"
)
@SAMPLING.option(
    "--stop",
    "stops",
    multiple=True,
    show_default="newline after JSON lines of --few-shot",
    help="text that ends a sample (repeatable)",
)
@SAMPLING.option("--seed", type=int, default=0, show_default=True, help="another seed draws other samples")
@device_option
@WORK.option("--graph/--no-graph", default=True, show_default=True, help="on CUDA: decode by a CUDA graph")
def sample(
    run: Path,
    prompt: str | None,
    prompts_file: Path | None,
    few_shot: Path | None,
    stops: tuple[str, ...],
    count: int,
    device: str,
    graph: bool,
    as_json: bool,
    **drawn: Any,
) -> None:
    """Continue a prompt with the model of a run.

    Examples:
      model sample runs/first --prompt "Once" -n 3 --temperature 0.8 --top-p 0.95
      model sample runs/first --prompts prompts.txt --temperature 0 --json
      model sample runs/first --few-shot capitals.jsonl --prompt "France"

    A single sample is printed while it is written. With JSON lines in --few-shot each prompt is an input, and the
    model's output ends with the line.
    """
    if prompt is not None and prompts_file is not None:
        raise click.UsageError("give --prompt or --prompts, not both")

    from model.checkpoint import load_model, require_checkpoint

    require_checkpoint(run)
    from model.device import pick_device
    from model.prompt import NO_EXAMPLES, Ending, Writer, read_examples, read_prompts
    from model.sample import Sampling, generate, generate_batch
    from model.tokenizer import run_tokenizer

    with usage():
        sampling = Sampling(**drawn)
        Ending.check(stops)
    examples = read_examples(few_shot) if few_shot else NO_EXAMPLES
    prompts = read_prompts(prompts_file) if prompts_file else [prompt or ""]
    if examples.asks and "" in prompts:
        raise ValueError(f"{few_shot}: its examples are of inputs, so that an input is needed; give it by --prompt")
    model, state = load_model(run, pick_device(device), say)
    tokenizer = run_tokenizer(run, state)
    if tokenizer is None:
        raise ValueError(f"{run}: holds no tokenizer; repeat `model pretrain` with --tokenizer to add it")
    end_of_text, ending = tokenizer.vocabulary.end_of_text, Ending(tokenizer, (*examples.stops, *stops))
    ids = list(_prompt_ids(examples, prompts, tokenizer, model.config.context, sampling.max_tokens))
    if prompts_file is None and count == 1 and not as_json:
        click.echo(examples.ask(prompts[0]), nl=False)
        writer = Writer(ending, lambda text: click.echo(text, nl=False))
        generate(model, ids[0], end_of_text, sampling, 1, lambda _, token: writer.token(token), ending.reached, graph)
        writer.close()
        click.echo()
        return
    answers = generate_batch(model, ids, end_of_text, sampling, count, ending.reached, graph)
    for number, (text, samples) in enumerate(zip(prompts, answers, strict=True)):
        if as_json:
            click.echo(_as_json(text, samples, ending))
        else:
            shown = [examples.ask(text) + ending.text(sample.tokens) for sample in samples]
            click.echo(("\n---\n" if number else "") + "\n\n---\n".join(shown))


def _prompt_ids(
    examples: Examples, prompts: Sequence[str], tokenizer: Tokenizer, context: int, max_tokens: int
) -> Iterator[list[int]]:
    """Ids of each prompt after the examples; says where examples or the beginning of a prompt do not fit."""
    from model.prompt import fitting_ids

    # An end of text goes first. An answer longer than its share would push the first examples out of the context.
    room = context - 1 - (min(max_tokens, context // 4) if examples.texts else 0)
    for number, text in enumerate(prompts, 1):
        ids, dropped = fitting_ids(examples, text, tokenizer, room)
        if dropped:
            say(f"prompt {number}: the first {dropped} of {len(examples.texts)} examples left out, to fit the context")
        if len(ids) >= context:
            say(f"prompt {number}: of its {len(ids)} tokens the last {context} are used, the context has no more")
        yield ids


def _as_json(prompt: str, samples: Sequence[Sample], ending: Ending) -> str:
    rows = [
        {"text": ending.text(sample.tokens), "tokens": len(sample.tokens), "ended": sample.ended} for sample in samples
    ]
    return json.dumps({"prompt": prompt, "samples": rows}, ensure_ascii=False)
