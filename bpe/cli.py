"""The `bpe` command: train a vocabulary, encode and decode with it, look into it, compare it, carry it elsewhere.

Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage,
130 interrupted. The commands stand in `commands_*.py`; they import what is heavy when they run, so that --help is
there at once.
"""

from __future__ import annotations

import gc
import signal
from typing import Any

import click

from bpe.commands import text as commands_text
from bpe.commands import vocabulary as commands_vocabulary


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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="corpus-toolkit", prog_name="bpe")
def main() -> None:
    """Byte-level BPE: the tokenizer of GPT-2 and its heirs, trained and applied fast.

    A TOKENIZER is a directory made by `bpe train`, a rank file such as cl100k_base.tiktoken, Hugging Face's
    tokenizer.json, or a folder with GPT-2's vocab.json and merges.txt.

    \b
    Examples:
      bpe train clean/*.parquet --vocab-size 32768 -o tokenizer/
      bpe encode -t tokenizer/ 'Hello world'
      bpe inspect tokenizer/ 'How is this split?'
      bpe compare tokenizer/ cl100k_base.tiktoken --data docs/
    """
    # Numba and a vocabulary are some hundred thousand objects that stay: looking through them again and again for
    # garbage was a seventh of the time to the first id.
    gc.set_threshold(100_000)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C


for command in (
    commands_vocabulary.train,
    commands_vocabulary.export,
    commands_vocabulary.import_,
    commands_text.encode,
    commands_text.decode,
    commands_text.inspect,
    commands_text.compare,
):
    main.add_command(command)
