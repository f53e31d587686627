"""`corpus records`: what is in a WARC file, whether it is whole, and one record of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from bpe.terminal.help import FILES, Heading, command, json_option
from bpe.terminal.text import readable_line, say, shown

if TYPE_CHECKING:
    from corpus.warc.inspect import Line
    from corpus.warc.pages import Page

RECORD = Heading("One record")


@command()
@click.argument("path", metavar="FILE")
@FILES.option("--check", is_flag=True, help="read the whole file and report damage instead of listing the records")
@json_option
@RECORD.option("--id", metavar="ID", help="the record with this WARC-Record-ID, written with or without < >")
@RECORD.option("--url", metavar="URL", help="the first page of this address")
@RECORD.option("--offset", type=click.IntRange(0), help="the record at this byte (the column warc_offset)")
@RECORD.option("--raw", "show", flag_value="raw", help="print the record as it is stored, inflated")
@RECORD.option("--html", "show", flag_value="html", help="print the page, with its transfer codings undone")
@RECORD.option("--text", "show", flag_value="text", help="print the text that extraction makes of the page")
def records(path: str, check: bool, as_json: bool, show: str | None, **where: Any) -> int:
    """List the records of a WARC file, check the file, or print one record.

    Examples:
      corpus records crawl/a.warc.gz
      corpus records crawl/a.warc.gz --json | jq -r .url
      corpus records crawl/a.warc.gz --check
      corpus records crawl/a.warc.gz --url https://example.org/ --text
      corpus records crawl/a.warc.gz --offset 5120 --html > page.html

    FILE is a .warc or .wet file, plain, .gz or .zst, also with an s3:// address. --check verifies the digests in the
    file and names what is damaged and where; the exit code is 1 if anything is damaged.
    """
    from corpus.store.open import exists

    if not exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    asked = {name: value for name, value in where.items() if value is not None}
    if len(asked) > 1 or bool(asked) != bool(show):
        raise click.UsageError("give one of --id, --url, --offset with one of --raw, --html, --text")
    if show and (check or as_json):
        raise click.UsageError("--raw, --html and --text show one record; --check and --json are about the file")
    if show:
        return _show(path, *asked.popitem(), show)
    return _check(path, as_json) if check else _list(path, as_json)


def _list(path: str, as_json: bool) -> int:
    from corpus.warc import inspect as records

    if not as_json:
        click.echo(_row("offset", "length", "type", "status", "bytes", "content type", "url"))
    for line in records.lines(path):
        if as_json:
            click.echo(json.dumps(records.as_json(line)))
            continue
        kind = f"{line.type or '?'}{'!' if line.fault else ''}"
        media = (line.content_type or "-").partition(";")[0][:24]
        click.echo(_row(line.offset, line.length, kind, line.status or "-", line.bytes, media, line.url or "-"))
        if line.fault:
            say(f"corpus: byte {line.offset}: {line.fault}: {line.reason}")
    return 0


def _row(*cells: Any) -> str:
    # All but the figures are from the file, which may hold any characters.
    offset, length, kind, status, size, content, url = (readable_line(str(cell)) for cell in cells)
    return f"{offset:>12}  {length:>10}  {kind:<12}  {status:<6}  {size:>10}  {content:<24}  {url}"


def _check(path: str, as_json: bool) -> int:
    from corpus.warc import inspect as records

    report = records.check(path)
    if as_json:
        lines = {name: [records.as_json(line) for line in getattr(report, name)] for name in ("wrong", "damaged")}
        click.echo(json.dumps({"file": path, **report._asdict(), **lines}, indent=1))
        return 1 if report.damaged else 0
    total = sum(report.sound.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.sound.items())
    click.echo(readable_line(f"{path}: {total:,} whole records ({kinds}), {report.pages:,} pages"))
    for why, count in report.skipped.items():
        click.echo(readable_line(f"  no page: {count:,} {why}"))
    click.echo(f"  digests: {report.verified:,} verified, {len(report.wrong):,} wrong")
    for line in report.wrong:
        wrong = f"  wrong digest at byte {line.offset}: {line.id}; its checksum is right, so it was written so"
        click.echo(readable_line(wrong))
    for line in report.damaged:
        which = f"{line.type or 'unreadable'} {line.id}"
        click.echo(readable_line(f"  DAMAGED at byte {line.offset}: {which}: {line.fault}: {line.reason}"))
    click.echo(f"  {len(report.damaged):,} damaged")
    return 1 if report.damaged else 0


def _show(path: str, name: str, value: Any, show: str) -> int:
    from corpus.warc import inspect as records

    def matches(line: Line) -> bool:
        if name == "offset":
            return bool(line.offset == value)
        if name == "id":
            return line.id.strip("<>") == str(value).strip("<>")
        return line.type in records.PAGE_TYPES and line.url.strip("<>") == str(value)

    record = records.find(path, matches, f"with {name} {value}")
    if show == "raw":
        for piece in records.raw(path, record):
            click.echo(shown(piece), nl=False)
        return 0
    page = records.body(path, record)
    if show == "html":
        click.echo(shown(page.html), nl=False)
    else:
        click.echo(shown(_text(page)))
    return 0


def _text(page: Page) -> str:
    """The text that extraction with its default settings makes of a page. Raises ValueError with the reason if none."""
    import pyarrow as pa

    from corpus.extract.stage import Config, process
    from corpus.schema import PAGES

    answer = process(pa.RecordBatch.from_pylist([page._asdict()], schema=PAGES), Config())
    if answer.kept.num_rows:
        return str(answer.kept.column("text")[0].as_py())
    row = answer.dropped.to_pylist()[0]
    raise ValueError(f"{page.url}: no text: {row['rule']}: {row['value']}, threshold {row['threshold']}")
