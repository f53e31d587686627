"""`corpus verify` and `corpus gc`: what is committed is whole; what is not committed goes."""

from __future__ import annotations

import json

import click

from bpe.terminal.help import Heading, command, json_option
from bpe.terminal.text import counted, megabytes, say
from corpus.commands.common import folders_argument

REMOVAL = Heading("Removal")


@command()
@folders_argument
@json_option
def verify(folders: tuple[str, ...], as_json: bool) -> int:
    """Compare every committed file with its record: bytes, sha256, rows, drops by rule, accounts.

    Examples:
      corpus verify out/

    The exit code is 1 if a file differs from its record, be it in one bit.
    """
    from corpus.store.verify import datasets_below, verify

    results = [verify(dataset) for folder in folders for dataset in datasets_below(folder)]
    problems = [problem for result in results for problem in result.problems]
    for problem in problems:
        say(f"verify: {problem}")
    units, files, size = (sum(getattr(result, name) for result in results) for name in ("units", "files", "bytes"))
    outcome = counted(len(problems), "problem") if problems else "all as committed"
    say(f"verify: {counted(units, 'unit')}, {counted(files, 'file')}, {megabytes(size)}: {outcome}")
    without = sum(result.without_checksums for result in results)
    if without:
        units_without = counted(without, "unit")
        say(f"verify: {units_without} of an earlier version have no checksums: only this command finds damage in them")
    if as_json:
        content = {"units": units, "files": files, "bytes": size, "problems": problems, "without_checksums": without}
        click.echo(json.dumps(content, indent=1))
    return 1 if problems else 0


@command()
@folders_argument
@REMOVAL.option(
    "--min-age",
    type=click.FloatRange(0),
    metavar="HOURS",
    default=24.0,
    show_default=True,
    help="leave younger files: their unit may be about to be committed",
)
@REMOVAL.option("--dry-run", is_flag=True, help="only say what would be removed")
@json_option
def gc(folders: tuple[str, ...], min_age: float, dry_run: bool, as_json: bool) -> int:
    """Remove files that no commit record names: leftovers of attempts that were killed or came second.

    Examples:
      corpus gc out/ --dry-run
      corpus gc out/
      corpus gc s3://bucket/out

    In an object store, uploads that were never completed are aborted as well. Nothing is removed through a link: a
    dataset with a link in the place of one of its folders is left as it is, and the exit code is 1.
    """
    from corpus.store.local import LinkError
    from corpus.store.verify import datasets_below, orphans, remove

    removed, aborted = ("would remove", "would abort") if dry_run else ("removed", "aborted")
    files, uploads, links, size = [], [], [], 0
    for dataset in [dataset for folder in folders for dataset in datasets_below(folder)]:
        try:
            for orphan in orphans(dataset, min_age * 3600):
                if dry_run or remove(dataset, orphan):
                    files.append(f"{dataset.path}/{orphan.key}")
                    size += orphan.bytes
                    say(f"gc: {removed} {files[-1]} ({orphan.bytes:,} bytes)")
            for upload in dataset.storage.unfinished(min_age * 3600):
                uploads.append(f"{dataset.path}/{upload.key}")
                if not dry_run:
                    dataset.storage.abort(upload)
                say(f"gc: {aborted} the unfinished upload of {uploads[-1]}")
            if not dry_run:
                dataset.storage.sweep()
        except LinkError as error:
            links.append(str(error))
            say(f"gc: {error}")
    say(f"gc: {counted(len(files), 'file')}, {megabytes(size)}; {counted(len(uploads), 'unfinished upload')}")
    if as_json:
        click.echo(json.dumps({"files": files, "bytes": size, "uploads": uploads, "links": links}, indent=1))
    return 1 if links else 0
