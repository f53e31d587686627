"""`corpus scrub`: masks personal data in documents."""

from __future__ import annotations

from typing import Any

from bpe.terminal.help import command
from corpus.commands.common import (
    columns_options,
    documents_command,
    documents_options,
    stage_steps,
)


@command()
@documents_options("scrub")
@columns_options
def scrub(inputs: tuple[str, ...], output: str, recipe: str | None, **flags: Any) -> int:
    """Mask personal data: e-mail and public IP addresses, phone, card, account and social security numbers, keys.

    Examples:
      corpus scrub unique/ -o clean/
      corpus scrub unique/ -o clean/ --type email --type ip
      corpus scrub unique/ -o clean/ --style tags --audit
      corpus scrub unique/ -o clean/ --style hash --hash-key secret.key

    Account numbers are IBANs; social security numbers are those of the US.
    """
    return documents_command("scrub", stage_steps(("scrub",), recipe), inputs, output, flags)
