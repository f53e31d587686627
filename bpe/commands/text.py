"""`bpe encode`, `bpe decode`, `bpe inspect` and `bpe compare`: what a vocabulary makes of text."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bpe.commands.common import (
    PATH,
    TEXTS,
    TOKENIZER,
    check_apart,
    column_option,
    encoder_of,
    errors_option,
    facts_of,
    names_of,
    rank_file_pattern_option,
    read,
    start_numba,
    text_of,
    tokenizer_option,
)
from bpe.terminal.help import FILES, SIZE, command, json_option
from bpe.terminal.text import in_colour, readable, readable_line, say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bpe.vocabulary import Vocabulary

IDS_SHOWN = 100  # tokens up to which `inspect` prints the ids below the colours
file_option = FILES.option("--file", type=PATH, help="file with the text; - is standard input")


@command()
@tokenizer_option
@click.argument("words", nargs=-1, metavar="[TEXT]")
@file_option
@FILES.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="file to write the ids to: .npy or .bin (uint16 for a vocabulary of up to 65,536 ids, else uint32; "
    "little-endian), or .txt",
)
@TOKENIZER.option(
    "--allow-special",
    multiple=True,
    metavar="NAME",
    help="special token whose name in the text becomes the token, or `all` (repeatable). Other names are plain text",
)
@errors_option
@rank_file_pattern_option
def encode(
    tokenizer: Path,
    words: tuple[str, ...],
    file: Path | None,
    output: Path | None,
    allow_special: tuple[str, ...],
    errors: str,
    pattern: str | None,
) -> None:
    """Print the token ids of TEXT, separated by spaces.

    Examples:
      bpe encode -t tokenizer/ 'Hello world'
      bpe encode -t cl100k_base.tiktoken --file page.txt -o ids.npy
      bpe encode -t tokenizer/ --allow-special '<|endoftext|>' 'one<|endoftext|>two'

    If TEXT is the name of a file, the file is encoded. Without TEXT, or with -, standard input is encoded.
    """
    if output and output.suffix not in (".npy", ".bin", ".txt"):
        raise click.BadParameter(f"{output}: how to write it? Let it end in .npy, .bin or .txt", param_hint="-o")
    from bpe.files import load_vocabulary

    check_apart((tokenizer, file, Path(words[0]) if len(words) == 1 else None), output)
    vocabulary = load_vocabulary(tokenizer, pattern)
    text = text_of(words, file, errors)
    ids = _ids(vocabulary, text, allow_special)
    if output is None:
        click.echo(" ".join(map(str, ids.tolist())))
        return
    from bpe.whole import write_whole

    kind = _width(vocabulary)
    write_whole(output, _packed(ids.astype(kind), output.suffix))
    say(f"{output}: {len(ids):,} ids" + (f", {kind}" if output.suffix != ".txt" else ""))


def _ids(vocabulary: Vocabulary, text: str, allow_special: tuple[str, ...]) -> NDArray[Any]:
    if not allow_special:
        return encoder_of(vocabulary).encode(text)
    unknown = sorted(set(allow_special) - {"all"} - set(vocabulary.special_tokens))
    if unknown:
        known = ", ".join(vocabulary.special_tokens) or "none"
        raise ValueError(f"--allow-special {unknown[0]}: this tokenizer has no such token, only {known}")
    start_numba()
    import numpy as np

    from bpe.tokenizer import Tokenizer

    allowed: Any = "all" if "all" in allow_special else allow_special
    return np.array(Tokenizer(vocabulary).encode(text, allowed_special=allowed, disallowed_special=()), np.uint32)


def _width(vocabulary: Vocabulary) -> str:
    """The type of ids in a file: the smaller one that holds them all, the same for every text."""
    return "uint16" if vocabulary.size <= 1 << 16 else "uint32"


def _packed(ids: NDArray[Any], ending: str) -> bytes:
    if ending == ".txt":
        return (" ".join(map(str, ids.tolist())) + "\n").encode()
    ids = ids.astype(ids.dtype.newbyteorder("<"), copy=False)
    if ending == ".bin":
        return ids.tobytes()
    import numpy as np

    written = io.BytesIO()
    np.save(written, ids)
    return written.getvalue()


@command()
@tokenizer_option
@click.argument("words", nargs=-1, metavar="[FILE | ID...]")
@FILES.option("--file", type=PATH, help="file with the ids; - is standard input")
@rank_file_pattern_option
def decode(tokenizer: Path, words: tuple[str, ...], file: Path | None, pattern: str | None) -> None:
    """Write the text that token ids stand for.

    Examples:
      bpe decode -t tokenizer/ 9906 1917
      bpe decode -t tokenizer/ ids.npy > page.txt
      bpe encode -t tokenizer/ page.txt | bpe decode -t tokenizer/

    FILE is one that `bpe encode -o` wrote, or a text file of ids between white space. Without ids, they are read from
    standard input.
    """
    from bpe.files import load_vocabulary

    if words and file:
        raise click.UsageError("give ids or --file, not both")
    vocabulary = load_vocabulary(tokenizer, pattern)
    if len(words) == 1 and not re.fullmatch(r"[\d,\s\[\]]*", words[0]):
        file = Path(words[0])
        if words[0] != "-" and not file.exists():
            raise FileNotFoundError(f"{words[0]}: neither ids nor the name of a file; give whole numbers, or a file")
    ids = _numbers("the ids", " ".join(words).encode()) if words and not file else _ids_in(file, vocabulary)
    click.echo(vocabulary.decode(ids), nl=False)


def _ids_in(file: Path | None, vocabulary: Vocabulary) -> list[int]:
    name, content = read(file)
    ending = Path(name).suffix
    if ending not in (".npy", ".bin"):
        return _numbers(name, content)
    import numpy as np

    array: Any
    try:
        if ending == ".bin":
            array = np.frombuffer(content, np.dtype(_width(vocabulary)).newbyteorder("<"))
        else:
            array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{name}: holds no ids as `bpe encode -o` writes them ({error})") from error
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name}: holds {array.dtype} of shape {array.shape}; ids are whole numbers in one row")
    ids: list[int] = array.tolist()
    return ids


def _numbers(name: str, content: bytes) -> list[int]:
    try:
        return [int(word) for word in re.split(rb"[\s,\[\]]+", content) if word]
    except ValueError as error:
        raise ValueError(f"{name}: ids should be whole numbers between white space ({error})") from error


@command()
@click.argument("arguments", nargs=-1, required=True, metavar="TOKENIZER... [TEXT]")
@file_option
@FILES.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="web page to write, with the tokens")
@json_option
@errors_option
@rank_file_pattern_option
def inspect(
    arguments: tuple[str, ...], file: Path | None, html: Path | None, as_json: bool, errors: str, pattern: str | None
) -> None:
    """Show how each TOKENIZER cuts TEXT into tokens; without TEXT, describe TOKENIZER.

    Examples:
      bpe inspect tokenizer/
      bpe inspect tokenizer/ 'Some text'
      bpe inspect gpt2.tiktoken cl100k_base.tiktoken '  Hello, world' --html page.html
      bpe inspect tokenizer/ --file page.txt --html page.html

    Of two or more arguments the last one is the text; with --file all are tokenizers. On a terminal each token has a
    colour; elsewhere, or with NO_COLOR set, each has a line. The page of --html shows for each token its id, bytes,
    rank and the two tokens that it was merged from, with several tokenizers side by side.
    """
    from bpe.files import load_vocabulary

    check_apart((file,), html)
    alone = len(arguments) == 1
    paths, words = (arguments, ()) if file or alone else (arguments[:-1], arguments[-1:])
    if words and os.path.exists(words[0]):
        say(f"{words[0]} is taken as text, though a file has this name; --file {words[0]} reads the file")
    try:
        vocabularies = [load_vocabulary(path, pattern) for path in paths]
    except FileNotFoundError as error:
        hint = "; a text of several words goes in quotes" if len(paths) > 1 else ""
        raise FileNotFoundError(f"{error}{hint}") from error
    if alone and not file:
        if html:
            raise click.UsageError("--html shows a text: give TEXT or --file")
        _describe(vocabularies[0], as_json)
        return
    text = text_of((), file, errors) if file else words[0]
    split = [encoder_of(vocabulary).encode(text).tolist() for vocabulary in vocabularies]
    if html:
        from bpe.page import Column, page
        from bpe.whole import write_whole

        columns = [Column(*one) for one in zip(names_of(paths), vocabularies, split, strict=True)]
        write_whole(html, page(columns).encode())
        say(f"{html}: {', '.join(f'{len(ids):,}' for ids in split)} tokens")
    if as_json:
        shown = [_split_facts(*one) for one in zip(paths, vocabularies, split, strict=True)]
        one = {name: value for name, value in shown[0].items() if name != "tokenizer"}
        click.echo(json.dumps({"text": text} | (one if len(shown) == 1 else {"tokenizers": shown})))
    elif not html:
        for path, vocabulary, ids in zip(paths, vocabularies, split, strict=True):
            _show(vocabulary, ids, path if len(paths) > 1 else None)


def _describe(vocabulary: Vocabulary, as_json: bool) -> None:
    longest = sorted(vocabulary.tokens, key=lambda token: (-len(token), token))[:10]
    facts = facts_of(vocabulary) | {"longest_tokens": [_written(token) for token in longest]}
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        written = value if isinstance(value, int | str) else json.dumps(value, ensure_ascii=False)
        click.echo(readable_line(f"{name:<15} {written}"))


def _split_facts(path: str, vocabulary: Vocabulary, ids: Sequence[int]) -> dict[str, Any]:
    tokens = [{"id": token_id, "token": _written(vocabulary.token_bytes(token_id))} for token_id in ids]
    return {"tokenizer": path, "count": len(ids), "tokens": tokens}


def _show(vocabulary: Vocabulary, ids: Sequence[int], heading: str | None) -> None:
    tokens = [vocabulary.token_bytes(token_id) for token_id in ids]
    if not in_colour():
        if heading:
            click.echo(readable_line(f"# {heading}: {len(ids)} tokens"))
        for token_id, token in zip(ids, tokens, strict=True):
            click.echo(f"{token_id:>7}  {_written(token)!r}")
        return
    from bpe.colours import coloured, coloured_ids

    size = sum(map(len, tokens))
    figures = f"{len(ids):,} tokens, {size / max(len(ids), 1):.2f} bytes a token"
    click.secho(readable_line(f"{heading}: {figures}" if heading else figures), bold=True)
    click.echo(coloured(tokens).removesuffix("\n"), color=True)
    if len(ids) <= IDS_SHOWN:
        click.echo(coloured_ids(ids), color=True)


def _written(token: bytes) -> str:
    """The token as text; bytes that are part of a character are written \\x.."""
    return token.decode("utf-8", "backslashreplace")


@command()
@click.argument("tokenizers", nargs=-1, required=True, metavar="TOKENIZER...")
@FILES.option(
    "--data",
    multiple=True,
    required=True,
    type=PATH,
    help="texts to compare on: any SOURCE of `bpe train` (repeatable)",
)
@column_option
@TEXTS.option(
    "--by", show_default="language, if there is one", help="column; the table has a row for each of its values"
)
@TEXTS.option("--limit", type=SIZE, help="stop after so much text, such as 100MB")
@errors_option
@json_option
@rank_file_pattern_option
def compare(
    tokenizers: tuple[str, ...],
    data: tuple[Path, ...],
    column: str,
    by: str | None,
    limit: int | None,
    errors: str,
    as_json: bool,
    pattern: str | None,
) -> None:
    """Measure how well each TOKENIZER suits the texts of --data.

    Examples:
      bpe compare tokenizer/ cl100k_base.tiktoken --data docs/
      bpe compare a/ b/ c/ --data pages.jsonl.gz --by source --limit 100MB

    For each language the table has bytes a token, tokens a word (words are separated by white space) and tokens a
    document. Below it stand the number of tokens that two tokenizers share, and tokens that never occur in the texts.
    """
    from bpe.files import load_vocabulary
    from bpe.sources import files_of

    vocabularies = [load_vocabulary(path, pattern) for path in tokenizers]
    files = [file for source in data for file in files_of(source)]
    encoders = [encoder_of(vocabulary) for vocabulary in vocabularies]
    from bpe.compare import LANGUAGE, count, figures, read_batches, report

    usage = count(encoders, read_batches(files, column, by, limit, errors))
    measured = figures(names_of(tokenizers), vocabularies, usage, by or LANGUAGE)
    click.echo(json.dumps(measured) if as_json else readable(report(measured, by or LANGUAGE)))
