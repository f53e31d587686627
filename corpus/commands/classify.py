"""`corpus classify`: trains a classifier of good texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bpe.terminal.help import FILES, Heading, command, json_option
from bpe.terminal.program import Commands
from bpe.terminal.text import say, table
from corpus.classifier.train import Config
from corpus.commands.common import check_apart
from corpus.commands.flags import config_from_flags, config_options

TRAINING = Heading("Training")
COMMANDS = {"train": ("corpus.commands.classify:train", "Train a classifier and measure it.")}

classify = Commands(
    "classify",
    COMMANDS,
    help="""Train a classifier of good texts, which `corpus filter --classifier` applies.

    Examples:
      corpus classify train --positive books.txt.gz --negative docs/ -o model.bin
    """,
)


@command()
@FILES.option("--positive", multiple=True, required=True, metavar="DIR|FILE", help="good texts (repeatable)")
@FILES.option("--negative", multiple=True, required=True, metavar="DIR|FILE", help="other texts (repeatable)")
@FILES.option("-o", "--output", required=True, metavar="FILE.bin", help="model to write; its facts go into FILE.json")
@config_options(TRAINING, Config)
@json_option
def train(positive: tuple[str, ...], negative: tuple[str, ...], output: str, as_json: bool, **flags: Any) -> int:
    """Train a fastText classifier that tells good texts from others, as DCLM did, and measure it on held-out texts.

    Examples:
      corpus classify train --positive books.txt.gz --negative docs/ -o model.bin
      corpus filter docs/ -o best/ --only classifier --classifier model.bin --keep-top 10%

    Texts are datasets of documents, Parquet files with a column `text`, JSON lines with `text`, text files with
    a line `<|endoftext|>` between documents (these also as .gz and .zst), or folders of such files. With one thread,
    the texts, the settings and the seed determine the model.
    """
    from corpus.classifier.train import train_classifier

    check_apart((*positive, *negative), output)
    facts = train_classifier(positive, negative, Path(output), config_from_flags(Config, flags))
    say("\n".join(_summary(facts, output)))
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
    return 0


def _summary(facts: dict[str, Any], output: str) -> list[str]:
    held_out = facts["held_out"]
    learnt = sum(count for name, count in facts["examples"].items() if name.endswith("train"))
    rows: list[tuple[str, ...]] = [("keep above", "kept", "of positive", "of negative")]
    for row in held_out["thresholds"]:
        shares = (f"{row[name]:.1%}" for name in ("kept", "positive_kept", "negative_kept"))
        rows.append((f"{row['threshold']:g}", *shares))
    return [
        f"classify: trained on {learnt:,} examples -> {output}",
        f"held out: {held_out['positive']:,} positive, {held_out['negative']:,} negative; AUC {held_out['auc']:.4f}, "
        f"at 0.5 precision {held_out['precision']:.3f}, recall {held_out['recall']:.3f}",
        *table(rows, ">>>>"),
    ]
