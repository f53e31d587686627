"""`corpus optout`: what hosts say about use for AI, from the robots records of a crawl."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bpe.terminal.help import FILES, Heading, command, json_option
from bpe.terminal.text import say
from corpus.commands.common import check_apart, inputs_argument

CRAWLERS = Heading("Crawlers")


@command()
@inputs_argument
@FILES.option("-o", "--output", required=True, metavar="FILE", help="file to write")
@CRAWLERS.option(
    "--ai-agent",
    "agents",
    multiple=True,
    show_default="the known crawlers for AI",
    help="crawler whose rules to keep (repeatable)",
)
@json_option
def optout(inputs: tuple[str, ...], output: str, agents: tuple[str, ...], as_json: bool) -> int:
    """Gather what hosts say about use for AI: in robots.txt, ai.txt and tdmrep.json, from WARC files of a crawl.

    Examples:
      corpus optout robotstxt/*.warc.gz -o optout.arrow
      corpus extract crawl/ -o docs/ --opt-out-hosts optout.arrow
      corpus extract crawl/ -o docs/ --opt-out-hosts optout.arrow --drop-opt-out tdm --drop-opt-out robots

    corpus extract takes the file by --opt-out-hosts, a recipe by the setting hosts of [optout]. What a page itself says
    about its use needs no such file.
    """
    from bpe.whole import make_folder, whole
    from corpus.filters.optout import AI_AGENTS
    from corpus.filters.optout_build import build_hosts
    from corpus.inputs import find_warcs

    check_apart(inputs, output)
    source = find_warcs(inputs, "optout")
    target = Path(output)
    if target.is_dir():
        raise ValueError(f"{output}: is a folder; name the file to write, such as {output}/optout.arrow")
    make_folder(target.parent)
    with whole(target) as unfinished:
        built = build_hosts(source.warcs, agents or AI_AGENTS, str(unfinished))
    files = ", ".join(f"{count:,} {kind}" for kind, count in sorted(built.read.items()))
    say(f"optout: read {files}; {built.hosts:,} hosts have rules for AI -> {output}")
    for agent, count in built.forbidding.most_common():
        say(f"  {count:>12,} hosts forbid {agent} everything")
    if as_json:
        summary = {"read": built.read, "damaged": built.damaged, "hosts": built.hosts}
        click.echo(json.dumps(summary | {"forbidding": dict(built.forbidding)}, indent=1))
    return 0
