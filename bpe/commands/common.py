"""What the commands of `bpe` have in common: sizes such as 10GB, messages, progress, where a text comes from."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from bpe.count import Progress
    from bpe.encode import Encoder
    from bpe.vocabulary import Vocabulary

Option = Callable[[Callable[..., Any]], Callable[..., Any]]  # what click.option makes: a decorator
PATTERNS = ("gpt2", "cl100k", "o200k")  # bpe.patterns.PATTERNS, written out to keep --help light
# What a command compiles at first: its last kernels, and about the seconds that all of them take.
COMPILED = {
    "encoder": (("encode.encode_texts",), 10),
    "trainer": (("count.count_pretokens", "merge.merge"), 8),
}
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def size_of(text: str) -> int:
    """Bytes of a size such as 10GB, 4GiB, 1.5M or 4096. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?i?)b?", text.strip().lower())
    if not match or match[2] not in UNITS or (size := int(float(match[1]) * UNITS[match[2]])) < 1:
        raise ValueError(f"{text!r} is not a size; write a number of bytes such as 10GB, 4GiB or 500MB")
    return size


def _size(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else size_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _split_rule(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A bare word that is the name of no rule is a slip, not a regular expression."""
    if value is not None and value not in PATTERNS and re.fullmatch(r"[\w-]*", value):
        known = ", ".join(PATTERNS)
        raise click.BadParameter(f"{value!r} is no split rule; choose {known} or write a regular expression")
    return value


def size_option(name: str, description: str) -> Option:
    """An option that takes a size such as 10GB."""
    return click.option(name, metavar="SIZE", callback=_size, help=description)


def pattern_option(description: str, default: str | None = None) -> Option:
    """An option that takes a split rule."""
    return click.option(
        "--pattern", metavar="RULE", callback=_split_rule, default=default, show_default=True, help=description
    )


tokenizer_option = click.option(
    "-t",
    "--tokenizer",
    required=True,
    type=click.Path(path_type=Path),
    help="A directory made by `bpe train`, a .tiktoken file, a tokenizer.json, or a folder with GPT-2's two files.",
)
rank_file_pattern_option = pattern_option(
    "Split rule of a .tiktoken file that does not name its own: gpt2, cl100k, o200k or a regular expression."
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is there and differs.")
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON on standard output.")


def say(message: str) -> None:
    """A line on standard error."""
    click.echo(message, err=True)


def start_compiled(what: str) -> None:
    """Bring Numba in and, if it has to compile the kernels of `what` (a key of COMPILED), say so.

    Machine code is kept on disk; the first command of an installation makes it, which a user should know. To be
    called before any module is imported that brings Numba.
    """
    _start_numba()
    from bpe.kernels import is_compiled

    entries, seconds = COMPILED[what]
    if not is_compiled(*entries):
        say(f"compiling the {what}, once (about {seconds} s) ...")


def _start_numba() -> None:
    """Import Numba without what it imports in turn where it finds it: SciPy, for a BLAS, and the packages that call
    themselves its extensions (awkward is one). No kernel of ours needs them, and they take 0.4 s.

    It is for a command, whose process is its own: from here on, `np.dot` in other Numba functions finds no BLAS.
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
    """The encoder, after a word to the user if that takes seconds."""
    start_compiled("encoder")
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
    }


@contextmanager
def progress_bar() -> Iterator[Progress]:
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
            say(f"{phase}: {done:,} of {total:,} ids" if total else f"{phase}: {done / 1e6:,.0f} MB of text")

    yield tell
