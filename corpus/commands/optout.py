"""`corpus optout`: what hosts say about AI, gathered from a crawl's robots records."""

from __future__ import annotations

import json
from pathlib import Path

import click

from corpus.cli import JSON, make_command


def optout_command() -> click.Command:
    def optout(inputs: tuple[str, ...], output: str, agents: tuple[str, ...], as_json: bool) -> int:
        from bpe.whole import whole
        from corpus.filters.optout import AI_AGENTS
        from corpus.filters.optout_build import build_hosts
        from corpus.pipeline import find_source

        source = find_source(inputs)
        if source.dataset:
            raise ValueError(f"{source.dataset}: holds documents; optout reads WARC files with robots.txt records")
        target = Path(output)
        if target.is_dir():
            raise ValueError(f"{output}: is a folder; name the file to write, such as {output}/optout.arrow")
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as unfinished:
            found = build_hosts(source.warcs, agents or AI_AGENTS, str(unfinished))
        files = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.read.items()))
        click.echo(f"optout: read {files}; {found.hosts:,} hosts speak of AI -> {output}", err=True)
        for agent, count in found.forbidding.most_common():
            click.echo(f"  {count:>12,} hosts forbid {agent} everything", err=True)
        if as_json:
            summary = {"read": found.read, "damaged": found.damaged, "hosts": found.hosts}
            click.echo(json.dumps(summary | {"forbidding": dict(found.forbidding)}, indent=1))
        return 0

    return make_command(
        optout,
        """What hosts say about use for AI in robots.txt, ai.txt and tdmrep.json, from a crawl's WARC files.

        The file is then named to extract or run; each page's own signals need no such file.

        \b
        corpus optout robotstxt/*.warc.gz -o optout.arrow
        corpus extract crawl/ -o docs/ --opt-out-hosts optout.arrow
        corpus extract crawl/ -o docs/ --opt-out-hosts optout.arrow --drop-opt-out tdm --drop-opt-out robots
        """,
        [
            click.Argument(["inputs"], nargs=-1, required=True),
            click.Option(["-o", "--output"], required=True, metavar="FILE", help="file to write"),
            click.Option(
                ["--ai-agent", "agents"], multiple=True, help="crawler whose rules to keep (default: those for AI)"
            ),
            JSON,
        ],
    )
