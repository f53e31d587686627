"""The `bpe` command: train a vocabulary, encode and decode with it, look into it, compare it, carry it elsewhere.

How errors become lines and exit codes stands in bpe.terminal.program. Modules that are slow to import are imported
when a command runs, so that --help answers at once.
"""

from __future__ import annotations

import gc

from bpe.terminal.program import Program

COMMANDS = {
    "train": ("bpe.commands.vocabulary:train", "Learn a vocabulary from texts."),
    "export": ("bpe.commands.vocabulary:export", "Write a tokenizer in the format of another library."),
    "import": ("bpe.commands.vocabulary:import_", "Make a tokenizer of another library's files."),
    "encode": ("bpe.commands.text:encode", "Text -> token ids."),
    "decode": ("bpe.commands.text:decode", "Token ids -> text."),
    "inspect": ("bpe.commands.text:inspect", "Show a tokenizer, or how it cuts a text."),
    "compare": ("bpe.commands.text:compare", "Measure how well tokenizers suit your texts."),
}


def _start() -> None:
    # Numba and a vocabulary are some hundred thousand objects that stay: looking through them again and again for
    # garbage was a seventh of the time to the first id.
    gc.set_threshold(100_000)


main = Program(
    "bpe",
    COMMANDS,
    help="""Byte-level BPE: train and apply the kind of tokenizer that GPT-2 and most models after it use.

    Examples:
      bpe train clean/*.parquet --vocab-size 32768 -o tokenizer/
      bpe encode -t tokenizer/ 'Hello world'
      bpe inspect tokenizer/ 'How is this split?'
      bpe compare tokenizer/ cl100k_base.tiktoken --data docs/

    A TOKENIZER is a directory made by `bpe train`, a rank file such as cl100k_base.tiktoken, Hugging Face's
    tokenizer.json, or a folder with GPT-2's vocab.json and merges.txt.
    """,
    start=_start,
)
