"""The `bpe` command: train a vocabulary, encode and decode with it, look into it, export it.

Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bpe.train import Progress
    from bpe.vocabulary import Vocabulary

PATTERNS = ("gpt2", "cl100k", "o200k")  # bpe.patterns.PATTERNS, written out to keep --help light


class Commands(click.Group):
    """Turns an expected error into one line and exit code 1, Ctrl-C into 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            message = " ".join(str(error).split())
            click.echo(f"bpe: {message}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("bpe: interrupted", err=True)
            ctx.exit(130)


tokenizer_option = click.option(
    "-t",
    "--tokenizer",
    required=True,
    type=click.Path(path_type=Path),
    help="A directory made by `bpe train`, or a rank file such as cl100k_base.tiktoken.",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="corpus-toolkit", prog_name="bpe")
def main() -> None:
    """Byte-level BPE: the tokenizer of GPT-2 and its heirs, trained and applied fast.

    \b
    Examples:
      bpe train documents/ --vocab-size 32768 -o tokenizer/
      echo "Hello world" | bpe encode -t tokenizer/
      bpe inspect tokenizer/ "How is this split?"
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option(
    "--vocab-size",
    type=click.IntRange(min=257),
    default=32768,
    show_default=True,
    help="Number of ids, the 256 bytes and the special tokens included.",
)
@click.option(
    "--pattern",
    type=click.Choice(PATTERNS),
    default="cl100k",
    show_default=True,
    help="Split rule: what is never merged across.",
)
@click.option(
    "--special-token",
    "special_tokens",
    multiple=True,
    default=("<|endoftext|>",),
    show_default=True,
    help="Name of a special token; may be given more than once.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Directory to write.")
@click.option("--overwrite", is_flag=True, help="Replace another tokenizer in the output directory.")
@click.option("--json", "as_json", is_flag=True, help="Summary as JSON on standard output.")
def train(
    sources: tuple[Path, ...],
    vocab_size: int,
    pattern: str,
    special_tokens: tuple[str, ...],
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Learn a vocabulary from the texts of SOURCE.

    A SOURCE is a Parquet file with a column `text`, a folder of them, a dataset made by `corpus`, a text file
    (.txt, .txt.gz) or JSON lines with a field `text` (.jsonl, .jsonl.gz).

    \b
    Examples:
      bpe train documents/ --vocab-size 32768 --pattern cl100k -o tokenizer/
      bpe train books.txt.gz pages.jsonl --vocab-size 4096 -o small/
    """
    from bpe.sources import files_of, read_texts

    files = [file for source in sources for file in files_of(source)]
    from bpe import train as trainer
    from bpe.vocabulary import save_vocabulary

    start = time.perf_counter()
    with _progress() as progress:
        vocabulary = trainer.train(read_texts(files), vocab_size, pattern, special_tokens, progress)
    if vocabulary.size < vocab_size:
        _say(f"the text ran out of pairs: {vocabulary.size} ids instead of {vocab_size}; add text for more")
    try:
        written = save_vocabulary(vocabulary, output, overwrite)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (--overwrite)") from error
    seconds = time.perf_counter() - start
    if written:
        _say(f"{vocabulary.size} ids in {output}, {seconds:.1f} s")
    else:
        _say(f"{output}: already there, nothing to do")
    if as_json:
        summary = {"output": str(output), "written": written, "seconds": round(seconds, 3), "files": len(files)}
        click.echo(json.dumps(summary | _facts(vocabulary)))


@main.command()
@tokenizer_option
@click.argument("file", type=click.File("rb"), default="-")
def encode(tokenizer: Path, file: Any) -> None:
    """Print the ids of FILE (UTF-8; standard input without one), separated by spaces.

    \b
    Examples:
      bpe encode -t tokenizer/ page.txt
      echo "Hello world" | bpe encode -t cl100k_base.tiktoken
    """
    from bpe.vocabulary import load_vocabulary

    vocabulary = load_vocabulary(tokenizer)
    try:
        text = file.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{_name(file)}: not UTF-8 at byte {error.start}; convert it first") from error
    from bpe.encode import Encoder

    click.echo(" ".join(map(str, Encoder(vocabulary).encode(text).tolist())))


@main.command()
@tokenizer_option
@click.argument("file", type=click.File("rb"), default="-")
def decode(tokenizer: Path, file: Any) -> None:
    """Write the bytes of the ids in FILE (numbers between white space; standard input without one).

    \b
    Example:
      bpe encode -t tokenizer/ page.txt | bpe decode -t tokenizer/
    """
    from bpe.vocabulary import load_vocabulary

    vocabulary = load_vocabulary(tokenizer)
    try:
        ids = [int(word) for word in file.read().split()]
    except ValueError as error:
        raise ValueError(f"{_name(file)}: ids should be whole numbers between white space ({error})") from error
    click.echo(vocabulary.decode(ids), nl=False)


@main.command()
@click.argument("tokenizer", type=click.Path(path_type=Path))
@click.argument("text", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON on standard output.")
def inspect(tokenizer: Path, text: str | None, as_json: bool) -> None:
    """Show what TOKENIZER is: size, hash, split rule, special tokens, longest tokens; with TEXT, how it splits.

    \b
    Examples:
      bpe inspect tokenizer/
      bpe inspect cl100k_base.tiktoken "  Hello, world"
    """
    from bpe.vocabulary import load_vocabulary

    vocabulary = load_vocabulary(tokenizer)
    if text is None:
        longest = sorted(vocabulary.tokens, key=lambda token: (-len(token), token))[:10]
        facts = _facts(vocabulary) | {"longest_tokens": [_shown(token) for token in longest]}
        for name, value in facts.items() if not as_json else ():
            click.echo(f"{name:<15} {value if isinstance(value, int | str) else json.dumps(value, ensure_ascii=False)}")
    else:
        from bpe.encode import Encoder

        ids = Encoder(vocabulary).encode(text).tolist()
        tokens = [{"id": token_id, "token": _shown(vocabulary.token_bytes(token_id))} for token_id in ids]
        facts = {"text": text, "count": len(ids), "tokens": tokens}
        for token in tokens if not as_json else ():
            click.echo(f"{token['id']:>7}  {token['token']!r}")
    if as_json:
        click.echo(json.dumps(facts))


@main.command()
@click.argument("tokenizer", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option("--format", "kind", type=click.Choice(["tiktoken", "hf"]), help="Default: by the file's ending.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
def export(tokenizer: Path, output: Path, kind: str | None, overwrite: bool) -> None:
    """Write TOKENIZER as a tiktoken rank file or as Hugging Face's tokenizer.json.

    \b
    Examples:
      bpe export tokenizer/ -o mine.tiktoken
      bpe export tokenizer/ -o tokenizer.json --format hf
    """
    from bpe.export import hugging_face
    from bpe.vocabulary import load_vocabulary, rank_file, write_file

    vocabulary = load_vocabulary(tokenizer)
    kind = kind or ("hf" if output.suffix == ".json" else "tiktoken")
    content = hugging_face(vocabulary) if kind == "hf" else rank_file(vocabulary)
    if output.exists() and not overwrite:
        if output.read_bytes() == content:
            _say(f"{output}: already there, nothing to do")
            return
        raise FileExistsError(f"{output} is there and differs: choose another name or pass --overwrite")
    write_file(output, content)
    _say(f"{output}: {len(content):,} bytes")


def _say(message: str) -> None:
    click.echo(message, err=True)


def _name(file: Any) -> str:
    return str(getattr(file, "name", "<stdin>"))


def _facts(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "size": vocabulary.size,
        "hash": vocabulary.hash,
        "pattern": vocabulary.pattern,
        "special_tokens": dict(vocabulary.special_tokens),
    }


def _shown(token: bytes) -> str:
    """Text where it is text, \\x.. where it is half a character."""
    return token.decode("utf-8", "backslashreplace")


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, else a line every ten seconds; on standard error."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress as Bars

        with Bars(console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("counting", total=None)

            def draw(phase: str, done: int, total: int | None) -> None:
                shown = phase if total else f"{phase} {done / 1e6:,.0f} MB"
                bars.update(task, description=shown, completed=done, total=total)

            yield draw
        return
    last = time.monotonic()

    def tell(phase: str, done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= 10:
            last = time.monotonic()
            _say(f"{phase}: {done:,} of {total:,} ids" if total else f"{phase}: {done / 1e6:,.0f} MB of text")

    yield tell
