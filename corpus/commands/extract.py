"""`corpus extract`: WARC files -> documents."""

from __future__ import annotations

from typing import Any

from bpe.terminal.help import command
from corpus.commands.common import (
    bare_recipe,
    check_apart,
    documents_options,
    execute,
    stage_steps,
)
from corpus.stage import stages_of

STAGES = stages_of("extract")


@command()
@documents_options(*STAGES)
def extract(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
    """Make documents of the HTML pages in WARC files.

    Examples:
      corpus extract crawl/*.warc.gz -o docs/
      corpus extract crawl/ -o docs/ --language en --language de
      corpus extract crawl/ -o docs/ --language all

    INPUTS are WARC files, patterns, or folders of WARC files. Every page becomes a document, or a row that says which
    rule dropped it. If 1 to 5 languages are wanted, a page that is hardly in one of them is dropped before its text is
    extracted; --no-prescreen extracts every page.
    """
    from corpus.inputs import find_warcs, source_keys
    from corpus.pipeline import documents_pass

    steps = stage_steps(STAGES, recipe)
    check_apart(inputs, output)
    source = find_warcs(inputs, "extract")
    plan = documents_pass("extract", source, source_keys(source), steps, output, bare_recipe(steps, flags))
    return execute([plan], flags)
