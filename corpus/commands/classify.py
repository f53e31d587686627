"""The subcommand of `corpus` that trains a classifier."""

from __future__ import annotations

import json
from typing import Any

import click

from corpus.cli import JSON, make_command


def classify_command() -> click.Command:
    group = click.Group(
        "classify",
        help="Train a classifier of good texts; `corpus filter --classifier` keeps what it takes for them.",
    )
    group.add_command(_train_command())
    return group


def _train_command() -> click.Command:
    def train(positive: tuple[str, ...], negative: tuple[str, ...], output: str, as_json: bool, **flags: Any) -> int:
        from pathlib import Path

        from corpus.classifier.train import train_classifier
        from corpus.config import check

        try:
            config = check(Config(**{name.partition("__")[2]: value for name, value in flags.items()}))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        told = train_classifier(positive, negative, Path(output), config)
        click.echo(_summary(told, output), err=True)
        if as_json:
            click.echo(json.dumps(told, indent=1, ensure_ascii=False))
        return 0

    from corpus.classifier.train import Config
    from corpus.commands.flags import config_options

    source = "DIR|FILE"
    options: list[click.Parameter] = [
        click.Option(["--positive"], multiple=True, required=True, metavar=source, help="good texts (repeatable)"),
        click.Option(["--negative"], multiple=True, required=True, metavar=source, help="other texts (repeatable)"),
        click.Option(["-o", "--output"], required=True, metavar="FILE.bin", help="the model; FILE.json is beside it"),
        *config_options("classify", Config),
        JSON,
    ]
    return make_command(
        train,
        """Train a fastText classifier that tells good texts from others, as DCLM did, and measure it on held-out ones.

        Texts are datasets of documents, Parquet files with a column `text`, JSON lines with `text`, text files with
        lines `<|endoftext|>` between documents (.gz, .zst), or folders of them. The same texts, settings and seed give
        the same model with one thread.

        \\b
        corpus classify train --positive books.txt.gz --negative docs/ -o model.bin
        corpus filter docs/ -o best/ --only classifier --classifier model.bin --keep-top 10%
        """,
        options,
    )


def _summary(told: dict[str, Any], output: str) -> str:
    held_out = told["held_out"]
    learnt = sum(count for name, count in told["examples"].items() if name.endswith("train"))
    lines = [
        f"classify: {learnt:,} examples learnt from -> {output}",
        f"held out: {held_out['positive']:,} positive, {held_out['negative']:,} negative; AUC {held_out['auc']:.4f}, "
        f"at 0.5 precision {held_out['precision']:.3f}, recall {held_out['recall']:.3f}",
        f"{'keep above':>10} {'kept':>7} {'of positive':>12} {'of negative':>12}",
    ]
    lines += [
        f"{row['threshold']:>10g} {row['kept']:>7.1%} {row['positive_kept']:>12.1%} {row['negative_kept']:>12.1%}"
        for row in held_out["thresholds"]
    ]
    return "\n".join(lines)
