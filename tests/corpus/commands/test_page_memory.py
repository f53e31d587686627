"""--page-memory, as people write sizes. What happens to a page above it is tested in tests/faults."""

from __future__ import annotations

import click
import pytest

from corpus.commands.stages import _started_engine, extract_command, run_command, tokenize_command

LINES = {
    extract_command: ["x.warc.gz", "-o", "out"],
    run_command: ["recipe.toml", "--input", "x.warc.gz", "-o", "out"],
    tokenize_command: ["docs", "-t", "gpt2.tiktoken", "-o", "out"],
}


def limit(make: object, *arguments: str) -> int:
    """MiB of the engine that this command line starts."""
    assert callable(make)
    context = make().make_context("corpus", [*LINES[make], *arguments])
    with _started_engine(context.params) as engine:
        return int(engine.limits.memory)


@pytest.mark.parametrize("make", LINES)
def test_sizes_and_mebibytes(make: object) -> None:
    assert limit(make) == 8192
    assert limit(make, "--page-memory", "8GiB") == 8192
    assert limit(make, "--page-memory", "2GB") == 1908  # rounded up: 2,000,000,000 bytes are 1907.3 MiB
    assert limit(make, "--page-memory", "512MB") == 489
    assert limit(make, "--page-memory", "1B") == 1
    assert limit(make, "--page-memory", "700") == 700
    assert limit(make, "--page-memory", "0") == 0


def test_the_older_name_is_the_same_option() -> None:
    assert limit(run_command, "--memory-limit", "700") == 700
    assert limit(run_command, "--memory-limit", "1GiB") == 1024


@pytest.mark.parametrize("value", ["", "much", "-1", "2XB", "1.5", "\N{ARABIC-INDIC DIGIT THREE}", "0GB"])
def test_what_is_no_size_is_refused_by_name(value: str) -> None:
    with pytest.raises(click.BadParameter, match="should be a size, as in 2GB or 512MB"):
        limit(run_command, "--page-memory", value)
