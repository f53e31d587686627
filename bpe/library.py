"""The functions of `import bpe`: what `bpe train`, `compare`, `export` and `import` do, from Python and in memory.

Each function checks its arguments and calls the code that the command calls. Nothing is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from bpe import arguments
from bpe.export import write_export
from bpe.files import load_vocabulary
from bpe.sources import files_of
from bpe.sources import read_texts as read_files
from bpe.terminal.program import cores
from bpe.texts import SEVERAL_TEXTS, utf8
from bpe.tokenizer import Tokenizer
from bpe.vocabulary import END_OF_TEXT

Texts: TypeAlias = "Iterable[str] | Iterable[pa.Array] | pa.Array | pa.ChunkedArray"
MOST_TOKENS = 1 << 21  # of a vocabulary that can encode (`bpe.encode`)


def train_tokenizer(
    texts: Texts,
    vocab_size: int = 32768,
    *,
    pattern: str = "cl100k",
    special_tokens: Sequence[str] = (END_OF_TEXT,),
    end_of_text: str | None = None,
    ties: str = "bytes",
    min_count: int = 1,
    memory: int | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Tokenizer:
    """Learn a vocabulary from texts by byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909), as `bpe train` does.

    `texts` are documents: strings, an Arrow array of strings, or several such arrays; `read_texts` reads them from
    files. They are read once, and the vocabulary depends on them alone, not on their order, `threads` or `memory`.

    `vocab_size` is the number of ids, the 256 bytes and the special tokens included; the vocabulary is smaller if the
    texts run out of pairs. `pattern` is the split rule: a name in `PATTERNS`, or a regular expression (slower).
    `end_of_text` names the special token that ends a text, by default `<|endoftext|>` if it is a special token. `ties`
    says which of equally frequent pairs merges first: "bytes" (as GPT-2), "hf" or "ids" (as Hugging Face, rustbpe).
    Pretokens that occur less than `min_count` times are left out. `memory` (bytes) bounds the tables of counts;
    counts that do not fit go to temporary files. `threads` count side by side, by default one for each core.
    `progress` is called with ("counting", bytes so far, None), then with ("merging", tokens so far, tokens wanted).

    Raises TypeError, naming the argument, for a value of a wrong type, such as a single string for `texts`, and
    ValueError, naming the argument, for texts without any text, for an unknown pattern or tie rule, for an
    `end_of_text` that is no special token, and for sizes out of bounds.

    >>> from bpe import train_tokenizer
    >>> tokenizer = train_tokenizer(["low low lower", "lowest"], vocab_size=260, special_tokens=["<|end|>"])
    >>> tokenizer.encode("lowest")
    [258, 82, 83]
    >>> tokenizer.special_tokens
    {'<|end|>': 259}
    """
    from bpe.train import train  # brings compiled kernels, which the other functions may not need

    items, special = _texts("texts", texts), _special_tokens(special_tokens)
    if end_of_text is not None and end_of_text not in special:
        raise ValueError(f"end_of_text = {end_of_text!r}: should be one of special_tokens, {list(special)}")
    vocab_size = arguments.whole_number("vocab_size", vocab_size, high=MOST_TOKENS)
    threads = cores() if threads is None else arguments.whole_number("threads", threads, 1)
    memory = None if memory is None else arguments.whole_number("memory", memory, 1)
    min_count = arguments.whole_number("min_count", min_count, 1)
    arguments.function("progress", progress)
    vocabulary = train(items, vocab_size, pattern, special, ties, progress, threads, memory, min_count)
    return Tokenizer(vocabulary.with_end(end_of_text))


def _texts(name: str, texts: Texts) -> Iterable[Any]:
    """Texts as items, of which each is a string or an Arrow array of strings. Raises TypeError for a single string."""
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return [texts]
    return arguments.several(name, texts, SEVERAL_TEXTS)


def _special_tokens(names: Sequence[str]) -> tuple[str, ...]:
    special = arguments.strings("special_tokens", names)
    for name in special:
        if utf8(name) != name.encode("utf-8", "surrogatepass"):
            raise ValueError(f"special_tokens holds {name!r}: it has a lone surrogate, which UTF-8 cannot hold")
    return special


def read_texts(
    *sources: str | Path,
    column: str = "text",
    limit: int | None = None,
    sample: float | None = None,
    seed: int = 0,
    errors: str = "strict",
) -> Iterator[str | pa.Array]:
    """The texts of files, for `train_tokenizer` and `compare_tokenizers`: strings, or Arrow arrays of strings.

    A source is a Parquet file, JSON lines (.jsonl) or a text file (.txt), also as .gz or .zst; a folder of such files;
    or a dataset made by `corpus`. `column` is the column of Parquet and the field of JSON lines. A text file comes in
    runs of lines of about 1 MB. `limit` (bytes of text) ends the reading after the document that reaches it. `sample`
    (above 0, at most 1) is the share of documents to keep, drawn by a hash of the text and `seed`. `errors="replace"`
    puts U+FFFD in the place of bytes that are not UTF-8.

    Raises FileNotFoundError or ValueError, naming the file, for a source that is missing, unknown, damaged or not
    UTF-8.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from bpe import read_texts
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "pages.jsonl").write_text('{"text": "one"}\\n{"text": "two"}\\n')
    ...     list(read_texts(folder))
    ['one', 'two']
    """
    if not sources:
        raise TypeError("sources: name at least one file or folder")
    column = arguments.string("column", column)
    limit = None if limit is None else arguments.whole_number("limit", limit, 1)
    sample = None if sample is None else arguments.number("sample", sample)
    seed = arguments.whole_number("seed", seed, -(1 << 63), (1 << 63) - 1)
    arguments.one_of("errors", errors, ("strict", "replace"))
    files = [file for source in sources for file in files_of(Path(arguments.path("sources", source)))]
    return _without_flags(read_files(files, column, limit, sample, seed, errors))


def _without_flags(texts: Iterator[Any]) -> Iterator[Any]:
    with arguments.without_flags():
        yield from texts


def compare_tokenizers(tokenizers: Mapping[str, Tokenizer], texts: Texts | Mapping[str, Texts]) -> dict[str, Any]:
    """Measure how well tokenizers suit texts: what `bpe compare --json` prints.

    `tokenizers` are the tokenizers by the names that the figures shall have. `texts` are documents, or groups of
    documents by name, such as languages; each group is measured by itself too.

    In the answer `tokenizers` has a record for each tokenizer, with the tokens that never occur. `all` and each of
    `groups` have documents, bytes, words, tokens, bytes a token, tokens a word and tokens a document; a list has a
    figure for each tokenizer, in order. `overlap` has the tokens that two tokenizers share. A ratio with the divisor 0
    is None.

    Raises TypeError if `tokenizers` is no mapping or `texts` a single string, ValueError if there is no text.

    >>> from bpe import compare_tokenizers, train_tokenizer
    >>> texts = ["low low lower", "lowest"]
    >>> small, large = (train_tokenizer(texts, size) for size in (257, 262))
    >>> compare_tokenizers({"small": small, "large": large}, texts)["all"]["bytes_a_token"]
    [1.0, 2.7143]
    """
    from bpe.compare import compare_texts  # brings compiled kernels

    if not isinstance(tokenizers, Mapping) or not all(isinstance(one, Tokenizer) for one in tokenizers.values()):
        raise TypeError("tokenizers: pass a dict of names and tokenizers, {'mine': tokenizer}")
    if not tokenizers:
        raise ValueError("tokenizers is empty: pass a tokenizer at least, {'mine': tokenizer}")
    vocabularies = {name: one.vocabulary for name, one in tokenizers.items()}
    if isinstance(texts, Mapping):
        return compare_texts(vocabularies, {name: _texts(f"texts[{name!r}]", group) for name, group in texts.items()})
    return compare_texts(vocabularies, _texts("texts", texts))


def export_tokenizer(
    tokenizer: Tokenizer, output: str | Path, *, to: str | None = None, overwrite: bool = False
) -> list[Path]:
    """Write a tokenizer in the format of another library, as `bpe export` does. Returns the paths of its files.

    `to` is "tiktoken" (a rank file), "hf" (Hugging Face's tokenizer.json) or "gpt2" (GPT-2's vocab.json and
    merges.txt). Without it, the ending of `output` decides: .tiktoken or .json. An output with such an ending is the
    file to write, any other output a folder for the files.

    Raises ValueError for a format that is unknown or cannot hold the vocabulary, and FileExistsError for a file that is
    there and differs, unless `overwrite`.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from bpe import Tokenizer, export_tokenizer, train_tokenizer
    >>> tokenizer = train_tokenizer(["low low lower", "lowest"], 262)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [file] = export_tokenizer(tokenizer, Path(folder, "tokenizer.json"))
    ...     Tokenizer.load(file).encode("lower") == tokenizer.encode("lower")
    True
    """
    arguments.instance("tokenizer", tokenizer, Tokenizer, "or call Tokenizer.load")
    return list(write_export(tokenizer.vocabulary, Path(arguments.path("output", output)), to, overwrite))


def import_tokenizer(
    source: str | Path,
    output: str | Path,
    *,
    pattern: str | None = None,
    end_of_text: str | None = None,
    overwrite: bool = False,
) -> Tokenizer:
    """Make a tokenizer folder of another library's files, as `bpe import` does. Returns the tokenizer.

    `source` is Hugging Face's tokenizer.json, a .tiktoken file, or a folder with GPT-2's vocab.json and merges.txt.
    `pattern` is the split rule of a .tiktoken file whose name does not tell it. `end_of_text` names the special token
    that ends a text; without it, that is `<|endoftext|>`, or else the token that config.json or tokenizer_config.json
    beside the file names. (`Tokenizer.load` reads all these files too, without a copy.)

    Raises FileNotFoundError or ValueError, naming file and fix, for a file that is missing or that this package would
    apply differently from its library, ValueError for an `end_of_text` that is no special token, and FileExistsError if
    `output` holds another tokenizer, unless `overwrite`.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from bpe import export_tokenizer, import_tokenizer, train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ranks = Path(folder, "ranks.tiktoken")
    ...     _ = export_tokenizer(train_tokenizer(["low low lower"], 260), ranks)
    ...     import_tokenizer(ranks, Path(folder, "tokenizer"), pattern="cl100k").encode("low")
    [257]
    """
    output = arguments.path("output", output)
    with arguments.without_flags():
        vocabulary = load_vocabulary(arguments.path("source", source), pattern)
    tokenizer = Tokenizer(vocabulary if end_of_text is None else vocabulary.with_end(end_of_text))
    tokenizer.save(output, overwrite=overwrite)
    return tokenizer
