"""--page-memory, as people write sizes. What happens to a page above it is tested in tests/faults."""

from __future__ import annotations

import click
import pytest

from corpus.commands.common import started_engine
from corpus.commands.extract import extract
from corpus.commands.run import run
from corpus.commands.tokenize import tokenize

LINES = {
    extract: ["x.warc.gz", "-o", "out"],
    run: ["recipe.toml", "--input", "x.warc.gz", "-o", "out"],
    tokenize: ["docs", "-t", "gpt2.tiktoken", "-o", "out"],
}


def limit(command: click.Command, *arguments: str) -> int:
    """MiB of the engine that this command line starts."""
    context = command.make_context("corpus", [*LINES[command], *arguments])
    with started_engine(context.params) as engine:
        return int(engine.limits.memory)


@pytest.mark.parametrize("command", LINES, ids=lambda command: command.name)
def test_sizes_and_mebibytes(command: click.Command) -> None:
    assert limit(command) == 8192
    assert limit(command, "--page-memory", "8GiB") == 8192
    assert limit(command, "--page-memory", "2GB") == 1908  # rounded up: 2,000,000,000 bytes are 1907.3 MiB
    assert limit(command, "--page-memory", "512MB") == 489
    assert limit(command, "--page-memory", "1B") == 1
    assert limit(command, "--page-memory", "700") == 700
    assert limit(command, "--page-memory", "0") == 0


def test_the_older_name_is_the_same_option() -> None:
    assert limit(run, "--memory-limit", "700") == 700
    assert limit(run, "--memory-limit", "1GiB") == 1024


@pytest.mark.parametrize("value", ["", "much", "-1", "2XB", "1.5", "\N{ARABIC-INDIC DIGIT THREE}", "0GB"])
def test_what_is_no_size_is_refused_by_name(value: str) -> None:
    with pytest.raises(click.BadParameter, match="should be a size, as in 2GB or 512MB"):
        limit(run, "--page-memory", value)
