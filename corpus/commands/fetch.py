"""`corpus fetch`: downloads WARC files of Common Crawl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bpe.terminal.help import Heading, command, json_option
from bpe.terminal.program import Forbidden
from bpe.terminal.text import counted, say
from corpus.commands.common import local_output_option
from corpus.commands.flags import config_from_flags, config_options
from corpus.crawl.fetch import FetchConfig

DOWNLOAD = Heading("Download")


@command()
@click.argument("crawl")
@local_output_option
@config_options(DOWNLOAD, FetchConfig)
@json_option
def fetch(crawl: str, output: str, as_json: bool, **settings: Any) -> int:
    """Download whole WARC files of a Common Crawl dump, about 1 GB each.

    Examples:
      corpus fetch CC-MAIN-2026-43 --limit 2 -o crawl/
      corpus fetch CC-MAIN-2026-43 --sample 10 --seed 7 -o crawl/
      corpus fetch CC-MAIN-2026-43 --limit 2 -o crawl/ --base http://mirror.example/

    CRAWL is the name of a dump, such as CC-MAIN-2026-43. A download that was cut off resumes where it ended. The
    variables HTTP_PROXY, HTTPS_PROXY and NO_PROXY are honoured.
    """
    from corpus.commands.console import FetchProgress
    from corpus.crawl import download
    from corpus.crawl.fetch import fetch

    config = config_from_flags(FetchConfig, settings)
    try:
        with FetchProgress().shown_live() as progress:
            summary = fetch(crawl, Path(output), config, progress.on_event)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command resumes the downloads where they ended") from None
    except download.Forbidden as error:
        raise Forbidden(str(error)) from None
    except download.FetchError as error:
        raise ValueError(str(error)) from None
    say(
        f"fetch: {counted(len(summary.finished), 'file')} downloaded, {len(summary.skipped)} there before, "
        f"{len(summary.failed)} failed -> {output}"
    )
    if as_json:
        failed = {event.name: event.reason for event in summary.failed}
        click.echo(json.dumps(summary._asdict() | {"failed": failed}, indent=1))
    return 1 if summary.failed else 0
