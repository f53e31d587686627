"""`corpus publish`: an export, a dataset or a run, to the Hugging Face Hub or to another storage."""

from __future__ import annotations

import json

import click

from bpe.terminal.help import FILES, Heading, command, json_option
from bpe.terminal.text import counted, megabytes, say
from corpus.commands.common import check_apart

HUB = Heading("Hugging Face Hub")


@command()
@click.argument("folder")
@click.argument("target")
@FILES.option("--with-dropped", is_flag=True, help="of a dataset or a run: also the rows of dropped documents")
@FILES.option("--dry-run", is_flag=True, help="only list what would go")
@HUB.option("--private", is_flag=True, help="if the repository is made: only its owner sees it")
@HUB.option("--branch", "--revision", metavar="NAME", show_default="main", help="the branch to commit to")
@json_option
def publish(
    folder: str, target: str, with_dropped: bool, dry_run: bool, private: bool, branch: str | None, as_json: bool
) -> int:
    """Send what a reader needs of a folder to the Hugging Face Hub or to a storage, and compare checksums.

    Examples:
      corpus publish hf/ hf://datasets/me/my-corpus
      corpus publish hf/ hf://datasets/me/my-corpus --dry-run
      corpus publish out/ s3://bucket/my-corpus

    FOLDER is an export, a dataset such as out/clean, or a whole run, of which its documents are published. Files that
    are there with an equal checksum are not sent again, so a call that was interrupted goes on when it is repeated.
    On the Hub, sizes and the checksums that it keeps are compared; from other storages, each file is read back.
    """
    from corpus.export import hub
    from corpus.export.publish import items_of
    from corpus.export.publish import publish as send

    place, target = folder.rstrip("/") or "/", target.rstrip("/") or "/"
    to_hub = target.startswith(hub.SCHEME)
    if to_hub:
        try:
            hub.repository(target, branch)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    elif branch or private:
        raise click.UsageError(f"--{'branch' if branch else 'private'}: {target} is no repository of the Hub")
    check_apart((place,), target)
    items = items_of(place, with_dropped)
    size = sum(item.size for item in items)
    if dry_run:
        for item in items:
            say(f"{item.key}: {item.size:,} bytes")
        say(f"publish: would send {counted(len(items), 'file')}, {megabytes(size)} -> {target}")
    else:
        done = hub.publish(items, target, branch, private, say) if to_hub else send(items, target, say)
        compared = "the Hub's checksums" if to_hub else "sha256 of what was read back"
        say(
            f"publish: {counted(done.sent, 'file')}, {megabytes(done.bytes)} sent -> {target}, "
            f"{done.before:,} there before; compared: size and {compared}"
        )
    if as_json:
        files = [{"path": item.key, "bytes": item.size, "sha256": item.sha256} for item in items]
        click.echo(json.dumps({"target": target, "dry_run": dry_run, "files": files}, indent=1))
    return 0
