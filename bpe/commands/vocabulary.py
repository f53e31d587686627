"""`bpe train`, `bpe export` and `bpe import`: how a vocabulary is made and how it travels."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bpe.commands.common import (
    PATH,
    TEXTS,
    TOKENIZER,
    check_apart,
    column_option,
    end_of_text_option,
    errors_option,
    facts_of,
    overwrite_option,
    pattern_option,
    progress_bar,
    rank_file_pattern_option,
    start_numba,
)
from bpe.terminal.help import FILES, SIZE, WORK, command, json_option
from bpe.terminal.program import cores
from bpe.terminal.text import duration, say

if TYPE_CHECKING:
    import pyarrow as pa

    from bpe.vocabulary import Vocabulary

END_OF_TEXT = "<|endoftext|>"  # bpe.vocabulary.END_OF_TEXT, written out to keep --help light


@command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=PATH)
@TOKENIZER.option(
    "--vocab-size",
    type=click.IntRange(min=257),
    default=32768,
    show_default=True,
    help="number of ids, including the 256 bytes and the special tokens",
)
@pattern_option(
    "split rule, which cuts text into the pretokens that merges stay within: gpt2, cl100k, o200k, or a regular "
    "expression (slower)",
    default="cl100k",
)
@TOKENIZER.option(
    "--special",
    "special_tokens",
    multiple=True,
    metavar="NAME",
    show_default=END_OF_TEXT,
    help="special token, instead of the default (repeatable)",
)
@TOKENIZER.option("--special-token", "special_tokens_too", multiple=True, hidden=True)  # an older name of --special
@end_of_text_option(f"{END_OF_TEXT}, if it is a special token")
@column_option
@TEXTS.option("--limit", type=SIZE, help="stop after so much text, such as 10GB")
@TEXTS.option(
    "--sample",
    type=click.FloatRange(0, 1, min_open=True),
    help="take each document with this probability, such as 0.1",
)
@TEXTS.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="another seed samples other documents",
)
@errors_option
@TOKENIZER.option(
    "--ties",
    type=click.Choice(["bytes", "hf", "ids"]),
    default="bytes",
    show_default=True,
    help="which of several equally frequent pairs is merged first: that of the greatest bytes (as GPT-2), or the one "
    "that Hugging Face's tokenizers (hf) or rustbpe (ids) takes",
)
@TOKENIZER.option(
    "--min-count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="leave out pretokens that occur less often: less memory, but no longer exact",
)
@WORK.option("--memory", type=SIZE, help="most memory for the tables, such as 4GB; other counts go to temporary files")
@WORK.option("--threads", type=click.IntRange(min=1), show_default="all cores", help="threads that count")
@FILES.option("-o", "--output", required=True, type=PATH, help="directory to write")
@overwrite_option
@json_option
def train(
    sources: tuple[Path, ...],
    vocab_size: int,
    pattern: str,
    special_tokens: tuple[str, ...],
    special_tokens_too: tuple[str, ...],
    end_of_text: str | None,
    column: str,
    limit: int | None,
    sample: float | None,
    seed: int,
    errors: str,
    ties: str,
    min_count: int,
    memory: int | None,
    threads: int | None,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Learn a vocabulary from texts.

    Examples:
      bpe train clean/*.parquet --vocab-size 32768 --pattern cl100k -o tokenizer/
      bpe train pages.jsonl.zst --column body --limit 10GB --memory 4GB -o tokenizer/
      bpe train books.txt.gz --special '<|user|>' --special '<|end|>' --end-of-text '<|end|>' -o small/

    A SOURCE is a Parquet file, JSON lines (.jsonl) or a text file (.txt), both also as .gz and .zst; a folder of such
    files; or a dataset made by `corpus`. The vocabulary depends on the texts alone, not on their order, the number of
    threads or the memory.
    """
    from bpe.sources import files_of, read_texts
    from bpe.whole import check_folder

    files = [file for source in sources for file in files_of(source)]
    special = (special_tokens + special_tokens_too) or (end_of_text or END_OF_TEXT,)
    if end_of_text is not None and end_of_text not in special:
        raise click.UsageError(f"--end-of-text {end_of_text}: should be one of the names of --special")
    check_apart(sources, output)
    check_folder(output)
    start_numba()
    if not overwrite:
        texts = read_texts(files, column, errors=errors)
        _check_free(output, vocab_size, pattern, special, end_of_text, lambda: next(texts, ""))
    from bpe import train as trainer

    start = time.perf_counter()
    with progress_bar() as progress:
        vocabulary = trainer.train(
            read_texts(files, column, limit=limit, sample=sample, seed=seed, errors=errors),
            vocab_size,
            pattern,
            special,
            ties=ties,
            progress=progress,
            threads=threads or cores(),
            memory=memory,
            min_count=min_count,
        ).with_end(end_of_text)
    if vocabulary.size < vocab_size:
        say(f"the text ran out of pairs: {vocabulary.size} ids instead of {vocab_size}; train on more text")
    seconds = time.perf_counter() - start
    written = _save(vocabulary, output, overwrite, f", {duration(seconds)}")
    if as_json:
        summary = {"output": str(output), "written": written, "seconds": round(seconds, 3), "files": len(files)}
        click.echo(json.dumps(summary | facts_of(vocabulary)))


def _check_free(
    output: Path,
    vocab_size: int,
    pattern: str,
    special: Sequence[str],
    end_of_text: str | None,
    first: Callable[[], str | pa.Array],
) -> None:
    """Raises FileExistsError if `output` holds a vocabulary that this training cannot give, before the training.

    Equal settings and other texts show only afterwards: a line says that nothing will be replaced then. A vocabulary
    that is smaller than asked for is the right one only where the text ran out of pairs: then each pretoken of the
    texts, of which `first` gives a part, is one token.
    """
    from bpe.encode import split
    from bpe.files import another, vocabulary_in
    from bpe.patterns import canonical, is_named

    try:
        present = vocabulary_in(output)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (--overwrite)") from error
    if present is None:
        return
    differs = present.pattern != canonical(pattern) or tuple(present.special_tokens) != tuple(special)
    differs = differs or (end_of_text is not None and present.ending not in (None, end_of_text))
    if not differs and present.size < vocab_size and is_named(present.pattern):
        item = first()
        texts = [item] if isinstance(item, str) else item.to_pylist()
        plain = [text for text in texts if text and not any(name in text for name in special)]
        known = set(present.tokens)
        differs = any(pretoken not in known for text in plain for pretoken in split(text, present.pattern))
    if differs or present.size > vocab_size:
        raise FileExistsError(f"{another(output, present.hash[:12])} (--overwrite)")
    say(f"{output} holds a tokenizer already: if these texts give another one, it stays (--overwrite replaces it)")


def _save(vocabulary: Vocabulary, output: Path, overwrite: bool, note: str = "") -> bool:
    """Write the vocabulary unless it is there already, and say so; returns whether it was written."""
    from bpe.files import save_vocabulary

    try:
        written = save_vocabulary(vocabulary, output, overwrite)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (--overwrite)") from error
    say(f"{vocabulary.size} ids in {output}{note}" if written else f"{output}: already there, nothing to do")
    return written


@command()
@click.argument("tokenizer", type=PATH)
@FILES.option("-o", "--output", required=True, type=PATH, help="file or folder to write")
@FILES.option(
    "--to",
    "--format",
    "to",
    type=click.Choice(["tiktoken", "hf", "gpt2"]),
    show_default="by the ending of the output",
    help="format: a rank file, Hugging Face's tokenizer.json, or GPT-2's vocab.json and merges.txt",
)
@rank_file_pattern_option
@overwrite_option
def export(tokenizer: Path, output: Path, to: str | None, pattern: str | None, overwrite: bool) -> None:
    """Write TOKENIZER in the format of another library.

    Examples:
      bpe export tokenizer/ --to hf -o exported/
      bpe export tokenizer/ --to tiktoken -o mine.tiktoken
      bpe export tokenizer/ --to gpt2 -o gpt2/

    An output that ends in .tiktoken or .json is the file to write; any other output is a folder for the files.
    """
    from bpe.export import ENDINGS, write_export
    from bpe.files import load_vocabulary

    if to is None and output.suffix not in ENDINGS:
        raise click.UsageError("which format? Pass --to tiktoken, hf or gpt2")
    try:
        written = write_export(load_vocabulary(tokenizer, pattern), output, to, overwrite)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (--overwrite)") from error
    for file, size in written.items():
        say(f"{file}: already there, nothing to do" if size is None else f"{file}: {size:,} bytes")


@command("import")
@click.argument("source", metavar="FILE", type=PATH)
@FILES.option("-o", "--output", required=True, type=PATH, help="directory to write")
@rank_file_pattern_option
@end_of_text_option(f"{END_OF_TEXT}, else what config.json or tokenizer_config.json beside FILE names")
@overwrite_option
def import_(source: Path, output: Path, pattern: str | None, end_of_text: str | None, overwrite: bool) -> None:
    """Make a tokenizer directory of another library's files.

    Examples:
      bpe import tokenizer.json -o tokenizer/
      bpe import mine.tiktoken --pattern cl100k -o tokenizer/
      bpe import nanochat/ --end-of-text '<|bos|>' -o tokenizer/

    FILE is Hugging Face's tokenizer.json, a .tiktoken file, or a folder with tokenizer.json, else with GPT-2's
    vocab.json and merges.txt. A tokenizer that this package would apply differently from its library is refused.
    """
    from bpe.files import load_vocabulary

    vocabulary = load_vocabulary(source, pattern)
    if end_of_text is not None:
        if end_of_text not in vocabulary.special_tokens:
            known = vocabulary.some_specials
            raise click.UsageError(f"--end-of-text {end_of_text}: {source} has no such special token, only {known}")
        vocabulary = vocabulary.with_end(end_of_text)
    _save(vocabulary, output, overwrite)
