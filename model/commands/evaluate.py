"""`model eval`: scores of a run's model on token shards and on multiple choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bpe.terminal.help import FILES, Heading, command, json_option
from bpe.terminal.text import say
from model.commands.common import FILE, device_option, run_argument

SCORES = Heading("Scores")


@command("eval")
@run_argument
@FILES.option(
    "--data", multiple=True, metavar="[NAME=]DIR", help="directory of token shards, and a name for it (repeatable)"
)
@FILES.option(
    "--choices", type=FILE, multiple=True, help="JSON lines of multiple choice, as of HellaSwag and ARC (repeatable)"
)
@json_option
@SCORES.option("--by-shard", is_flag=True, help="a row for each shard instead of each sub-folder")
@SCORES.option(
    "--stride",
    type=click.IntRange(0),
    default=0,
    show_default="the context",
    help="tokens from the beginning of one window to that of the next",
)
@SCORES.option(
    "--windows",
    type=click.IntRange(0),
    default=0,
    show_default="all",
    help="most windows of a row, spread evenly over the row's tokens",
)
@device_option
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
    """Score a run's model: loss, perplexity, bits a byte, and how often it picks the right ending of a text.

    Examples:
      model eval runs/first --data tokens/
      model eval runs/first --data news=news-tokens/ --data code=code-tokens/ --stride 128
      model eval runs/first --choices hellaswag_val.jsonl --json

    In the directory that the run was trained on, only the held-out documents are scored; in any other, all are. Every
    token is scored once. Windows stand side by side; with --stride N they overlap, which gives tokens more context and
    costs context / N times as much. Loss is in nats a token. Bits a byte and multiple choice need the run's tokenizer.
    """
    if not data and not choices:
        raise click.UsageError("nothing to score: give --data, --choices or both")
    folders = [_named_folder(argument) for argument in data]
    from model.checkpoint import load_model, require_checkpoint
    from model.stream import token_files

    require_checkpoint(run)
    for _, folder in folders:
        token_files(folder)
    from model.choices import choice_lines, evaluate_choices, read_questions
    from model.device import pick_device
    from model.evaluate import evaluate_data, score_lines
    from model.tokenizer import run_tokenizer

    files = [(path, read_questions(path)) for path in choices]
    model, state = load_model(run, pick_device(device), say)
    tokenizer = run_tokenizer(run, state)
    if choices and tokenizer is None:
        raise ValueError(f"{run}: holds no tokenizer; repeat `model pretrain` with --tokenizer to add it")
    answer: dict[str, Any] = {"run": str(run), "step": state.get("step")}
    tables = []
    if data:
        if stride > model.config.context:
            raise click.UsageError(f"stride = {stride}: should be at most the context, {model.config.context}")
        rows, total = evaluate_data(model, state, run, tokenizer, folders, by_shard, stride, windows)
        answer.update(data=[row.as_dict() for row in rows], total=total.as_dict())
        tables.append(score_lines(rows, total))
    if tokenizer is not None and choices:
        counts = [(str(path), evaluate_choices(model, tokenizer, questions)) for path, questions in files]
        answer["choices"] = [{"file": path, **figures._asdict()} for path, figures in counts]
        tables.append(choice_lines(counts))
        for path, figures in counts:
            if figures.shortened:
                say(f"{path}: {figures.shortened} texts longer than the model's context lost their beginning")
    click.echo(json.dumps(answer) if as_json else "\n\n".join("\n".join(lines) for lines in tables))


def _named_folder(argument: str) -> tuple[str, Path]:
    """`name=path` -> name and path; a path alone is its own name."""
    name, equals, path = argument.partition("=")
    return (name, Path(path)) if equals and not Path(argument).exists() else (argument, Path(argument))
