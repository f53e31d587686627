"""`corpus tokenize`: documents -> token shards."""

from __future__ import annotations

from typing import Any

import click

from bpe.terminal.help import FILES, command, json_option
from corpus.commands.common import (
    columns_of,
    columns_options,
    documents_source,
    execute,
    inputs_argument,
    output_option,
    work_options,
)


@command()
@inputs_argument
@output_option
@FILES.option(
    "-t",
    "--tokenizer",
    required=True,
    metavar="PATH",
    help="folder made by bpe train, gpt2/cl100k_base/o200k_base.tiktoken, or a tokenizer.json",
)
@FILES.option(
    "--end-of-text", default="", metavar="NAME", show_default="the tokenizer's", help="special token that ends a text"
)
@columns_options
@work_options
@json_option
def tokenize(inputs: tuple[str, ...], output: str, tokenizer: str, end_of_text: str, **flags: Any) -> int:
    """Make token shards of documents: one row a document, with the ids of a byte-level BPE vocabulary.

    Examples:
      corpus tokenize clean/ -t tokenizer/ -o tokens/
      corpus tokenize fineweb/ -t llama3/ -o tokens/
      corpus tokenize clean/ -t nanochat/tokenizer.json --end-of-text '<|bos|>' -o tokens/

    `bpe train` makes the vocabulary; `model pretrain` reads the shards.
    """
    from corpus.inputs import source_keys
    from corpus.store.open import exists
    from corpus.tokens.passes import UnknownEnd, tokens_pass

    source = documents_source("tokenize", inputs, output, columns_of(flags))
    if not exists(tokenizer):
        raise click.UsageError(f"-t {tokenizer}: no such tokenizer; give a folder made by bpe train, or a file")
    try:
        plan = tokens_pass(source, source_keys(source), tokenizer, output, end_of_text)
    except UnknownEnd as error:
        raise click.UsageError(f"--end-of-text: {error}") from None
    return execute([plan], flags)
