"""What the commands of `bpe` have in common: options, where a text comes from, compilation and progress."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bpe import arguments
from bpe.terminal.help import FILES, Decorator, Heading
from bpe.terminal.progress import Live
from bpe.terminal.text import megabytes, say

if TYPE_CHECKING:
    from bpe.count import Progress
    from bpe.encode import Encoder
    from bpe.vocabulary import Vocabulary

PATTERNS = ("gpt2", "cl100k", "o200k")  # bpe.patterns.PATTERNS, written out to keep --help light
PATH = click.Path(path_type=Path)
TEXTS = Heading("Texts")
TOKENIZER = Heading("Tokenizer")


def _split_rule(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A bare word that is the name of no rule is a slip, not a regular expression."""
    if value is not None and value not in PATTERNS and re.fullmatch(r"[\w-]*", value):
        known = ", ".join(PATTERNS)
        raise click.BadParameter(f"{value!r} is no split rule; choose {known} or write a regular expression")
    return value


def pattern_option(description: str, default: str | None = None) -> Decorator[Any]:
    """An option that takes a split rule."""
    return TOKENIZER.option(
        "--pattern", metavar="RULE", callback=_split_rule, default=default, show_default=True, help=description
    )


tokenizer_option = FILES.option(
    "-t",
    "--tokenizer",
    required=True,
    type=PATH,
    help="directory made by `bpe train`, .tiktoken file, tokenizer.json, or folder with GPT-2's two files",
)
rank_file_pattern_option = pattern_option(
    "split rule of a .tiktoken file whose name does not tell it: gpt2, cl100k, o200k or a regular expression"
)
column_option = TEXTS.option(
    "--column", default="text", show_default=True, help="column of Parquet files, field of JSON lines"
)
errors_option = FILES.option(
    "--errors",
    type=click.Choice(["strict", "replace"]),
    default="strict",
    show_default=True,
    help="bytes that are not UTF-8: refuse the text, or replace them by U+FFFD",
)


def end_of_text_option(default: str) -> Decorator[Any]:
    """An option that names the special token that ends a text; `default` says which one it is otherwise."""
    return TOKENIZER.option(
        "--end-of-text", metavar="NAME", show_default=default, help="special token that ends a text"
    )


overwrite_option = FILES.option("--overwrite", is_flag=True, help="replace an output that is there and differs")


def start_numba() -> None:
    """Import Numba without SciPy, which it imports for a BLAS, and without the packages that register as extensions of
    Numba (awkward is one). No kernel of ours needs them, and they take 0.4 s.

    Call this before any module is imported that imports Numba. Only a command may do so, because the process is its
    own: from here on `np.dot` in Numba functions has no BLAS.
    """
    hidden = "scipy" not in sys.modules
    if hidden:
        sys.modules["scipy"] = cast(Any, None)  # so that `import scipy` raises ImportError
    try:
        from numba.core import entrypoints
        from numba.core.registry import cpu_target

        entrypoints._already_initialized = True
        cpu_target.target_context.refresh()
    finally:
        if hidden:
            del sys.modules["scipy"]


def encoder_of(vocabulary: Vocabulary) -> Encoder:
    """The encoder of the vocabulary."""
    start_numba()
    from bpe.encode import Encoder

    return Encoder(vocabulary)


def text_of(words: tuple[str, ...], file: Path | None, errors: str = "strict") -> str:
    """The text that a command was given: words, a file (`-`: standard input), or standard input if neither.

    One word that names a file stands for its contents, and the user is told. Raises ValueError for bytes that are not
    UTF-8, unless `errors` is "replace".
    """
    if words and file:
        raise click.UsageError("give a text or --file, not both")
    alone = words[0] if len(words) == 1 else None
    if file is None and alone == "-":
        words, file = (), Path("-")
    if file is None and alone is not None and "\0" not in alone and len(alone) < 4096 and os.path.isfile(alone):
        say(f"reading the file {alone}")
        file = Path(alone)
    elif file is None and alone is not None and re.fullmatch(r"\S*(/\S+|\w\.\w{1,5})", alone):
        say(f"no file is called {alone}: taken as text")
    if file is None and words:
        name, content = "the text", os.fsencode(" ".join(words))
    else:
        name, content = read(file)
    try:
        return content.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}: not UTF-8 at byte {error.start}; convert it, or pass --errors replace to get U+FFFD there"
        ) from error


def read(file: Path | None) -> tuple[str, bytes]:
    """Name and bytes of a file, of standard input for `-` or None."""
    if file is None or str(file) == "-":
        return "standard input", sys.stdin.buffer.read()
    return str(file), file.read_bytes()


def check_apart(inputs: Iterable[Path | None], output: Path | None) -> None:
    """Raises UsageError if the output is one of the inputs, before any work."""
    try:
        if output:
            arguments.check_apart(filter(None, inputs), output)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def names_of(paths: Sequence[str]) -> list[str]:
    """The last part of each path, or the whole paths if two end alike."""
    names = [Path(path).resolve().name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def facts_of(vocabulary: Vocabulary) -> dict[str, Any]:
    """What identifies a vocabulary, for a summary."""
    return {
        "size": vocabulary.size,
        "hash": vocabulary.hash,
        "pattern": vocabulary.pattern,
        "special_tokens": dict(vocabulary.special_tokens),
        **({} if vocabulary.end is None else {"end_of_text": vocabulary.end}),
    }


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Shows the phases of training as they go on."""
    live = Live("train")
    with live.showing("{task.description}", "BarColumn", "TaskProgressColumn", "TimeRemainingColumn", transient=True):
        task = live.bar.add_task("counting", total=None) if live.bar else None

        def show(phase: str, done: int, total: int | None) -> None:
            if live.bar is not None:
                shown = phase if total else f"{phase} {megabytes(done)}"
                live.bar.update(task, description=shown, completed=done, total=total)
            elif live.due():
                live.line(f"{phase}: {done:,} of {total:,} ids" if total else f"{phase}: {megabytes(done)} of text")

        yield show
