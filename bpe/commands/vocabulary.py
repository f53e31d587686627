"""`bpe train`, `bpe export` and `bpe import`: how a vocabulary is made and how it travels."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bpe.commands.common import (
    facts_of,
    overwrite_option,
    pattern_option,
    progress_bar,
    rank_file_pattern_option,
    say,
    size_option,
    start_compiled,
)

if TYPE_CHECKING:
    from bpe.vocabulary import Vocabulary

END_OF_TEXT = "<|endoftext|>"  # bpe.vocabulary.END_OF_TEXT, written out to keep --help light


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option(
    "--vocab-size",
    type=click.IntRange(min=257),
    default=32768,
    show_default=True,
    help="Number of ids, the 256 bytes and the special tokens included.",
)
@pattern_option(
    "Split rule, what is never merged across: gpt2, cl100k, o200k, or a regular expression (slower).", default="cl100k"
)
@click.option(
    "--special",
    "special_tokens",
    multiple=True,
    show_default="one, " + END_OF_TEXT,
    help="Name of a special token; may be given more than once, and then names them all.",
)
@click.option("--special-token", "special_tokens_too", multiple=True, hidden=True)  # as --special was called once
@click.option("--column", default="text", show_default=True, help="Column of Parquet, field of JSON lines.")
@size_option("--limit", "Stop after so much text, such as 10GB.")
@click.option(
    "--sample",
    type=click.FloatRange(0, 1, min_open=True),
    help="Take each document with this probability, such as 0.1.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Which documents --sample takes."
)
@click.option(
    "--ties",
    type=click.Choice(["bytes", "hf", "ids"]),
    default="bytes",
    show_default=True,
    help="Of pairs equally frequent, which goes first: the greatest bytes (GPT-2), or as Hugging Face, or as rustbpe.",
)
@click.option(
    "--min-count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Leave out rarer pretokens: less memory, not exact.",
)
@size_option("--memory", "Bound for the tables, such as 4GB; counts that do not fit go to temporary files.")
@click.option("--threads", type=click.IntRange(min=1), show_default="all cores", help="Threads that count.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Directory to write.")
@overwrite_option
@click.option("--json", "as_json", is_flag=True, help="Summary as JSON on standard output.")
def train(
    sources: tuple[Path, ...],
    vocab_size: int,
    pattern: str,
    special_tokens: tuple[str, ...],
    special_tokens_too: tuple[str, ...],
    column: str,
    limit: int | None,
    sample: float | None,
    seed: int,
    ties: str,
    min_count: int,
    memory: int | None,
    threads: int | None,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Learn a vocabulary from the texts of SOURCE.

    A SOURCE is a Parquet file, JSON lines (.jsonl) or a text file (.txt), these two also as .gz and .zst; a folder
    of them; or a dataset made by `corpus`. The vocabulary depends on the texts alone, not on their order, nor on
    threads or memory.

    \b
    Examples:
      bpe train clean/*.parquet --vocab-size 32768 --pattern cl100k -o tokenizer/
      bpe train pages.jsonl.zst --column body --limit 10GB --memory 4GB -o tokenizer/
      bpe train books.txt.gz --vocab-size 4096 --special '<|user|>' --special '<|end|>' -o small/
    """
    from bpe.sources import files_of, read_texts

    files = [file for source in sources for file in files_of(source)]
    start_compiled("trainer")
    from bpe import train as trainer

    start = time.perf_counter()
    with progress_bar() as progress:
        vocabulary = trainer.train(
            read_texts(files, column, limit=limit, sample=sample, seed=seed),
            vocab_size,
            pattern,
            (special_tokens + special_tokens_too) or (END_OF_TEXT,),
            ties=ties,
            progress=progress,
            threads=threads or _cores(),
            memory=memory,
            min_count=min_count,
        )
    if vocabulary.size < vocab_size:
        say(f"the text ran out of pairs: {vocabulary.size} ids instead of {vocab_size}; add text for more")
    written = _save(vocabulary, output, overwrite)
    seconds = time.perf_counter() - start
    say(f"{vocabulary.size} ids in {output}, {seconds:.1f} s" if written else f"{output}: already there, nothing to do")
    if as_json:
        summary = {"output": str(output), "written": written, "seconds": round(seconds, 3), "files": len(files)}
        click.echo(json.dumps(summary | facts_of(vocabulary)))


def _save(vocabulary: Vocabulary, output: Path, overwrite: bool) -> bool:
    """Whether it was written; else it was there already."""
    from bpe.files import save_vocabulary

    try:
        return save_vocabulary(vocabulary, output, overwrite)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (--overwrite)") from error


def _cores() -> int:
    """The cores that this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@click.command()
@click.argument("tokenizer", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File or folder to write.")
@click.option(
    "--to",
    "--format",
    "to",
    type=click.Choice(["tiktoken", "hf", "gpt2"]),
    help="tiktoken: a rank file. hf: Hugging Face's tokenizer.json. gpt2: vocab.json and merges.txt. "
    "Default: by the ending of the output, .tiktoken or .json.",
)
@rank_file_pattern_option
@overwrite_option
def export(tokenizer: Path, output: Path, to: str | None, pattern: str | None, overwrite: bool) -> None:
    """Write TOKENIZER in the format of another library.

    An output that ends like the file (.tiktoken, .json) is that file, any other is a folder for it.

    \b
    Examples:
      bpe export tokenizer/ --to hf -o exported/
      bpe export tokenizer/ --to tiktoken -o mine.tiktoken
      bpe export tokenizer/ --to gpt2 -o gpt2/
    """
    endings = {".tiktoken": "tiktoken", ".json": "hf"}
    to = to or endings.get(output.suffix)
    if to is None:
        raise click.UsageError("which format? Pass --to tiktoken, hf or gpt2")
    from bpe.export import export_files
    from bpe.files import load_vocabulary
    from bpe.whole import write_whole

    contents = export_files(load_vocabulary(tokenizer, pattern), to)
    is_file = len(contents) == 1 and output.suffix in endings and not output.is_dir()
    files = {output if is_file else output / name: content for name, content in contents.items()}
    there = {file for file in files if file.exists() and file.read_bytes() == files[file]}
    for file in files:
        if file.exists() and file not in there and not overwrite:
            raise FileExistsError(f"{file} is there and differs: choose another name or pass --overwrite")
    for file, content in files.items():
        if file in there:
            say(f"{file}: already there, nothing to do")
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content)
        say(f"{file}: {len(content):,} bytes")


@click.command("import")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Directory to write.")
@rank_file_pattern_option
@overwrite_option
def import_(source: Path, output: Path, pattern: str | None, overwrite: bool) -> None:
    """Read another library's tokenizer into a directory.

    FILE is Hugging Face's tokenizer.json, a .tiktoken file, or a folder with GPT-2's vocab.json and merges.txt. What
    this package would encode differently from the original is refused.

    \b
    Examples:
      bpe import tokenizer.json -o tokenizer/
      bpe import mine.tiktoken --pattern cl100k -o tokenizer/
    """
    from bpe.files import load_vocabulary

    vocabulary = load_vocabulary(source, pattern)
    written = _save(vocabulary, output, overwrite)
    say(f"{vocabulary.size} ids in {output}" if written else f"{output}: already there, nothing to do")
