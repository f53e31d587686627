"""`corpus sample`: a small crawl made on this machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from bpe.terminal.help import Heading, command, json_option
from bpe.terminal.text import say
from corpus.commands.common import local_output_option

CRAWL = Heading("Crawl")


@command()
@local_output_option
@CRAWL.option("--pages", type=click.IntRange(1), show_default="2000", help="pages of documentation")
@CRAWL.option("--shards", type=click.IntRange(1), default=2, show_default=True, help="WARC files")
@CRAWL.option("--seed", type=int, default=1, show_default=True, help="another seed makes another sample")
@json_option
def sample(output: str, as_json: bool, **options: Any) -> int:
    """Write a small crawl without a network, to try everything on.

    Examples:
      corpus sample -o crawl/

    Its pages are the documentation of installed Python packages, and pages of our own in several languages that each
    meet one rule: blocked words, personal data, a wrong charset, ...
    """
    from corpus.sample.make import write_sample

    summary = write_sample(Path(output), **options)
    say(str(summary))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(summary), indent=1, default=str))
    return 0
