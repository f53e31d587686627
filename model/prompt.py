"""Prompts: the examples before a prompt, and the stop texts that end a sample.

Few-shot prompting (GPT-3, arXiv:2005.14165) puts solved examples before a prompt; no weight changes. A file of examples
has one of two forms. JSON lines have an `input` and an `output` each. An example becomes `Input: ...`, `Output: ...`
and a blank line, the prompt becomes one more input, and the model's answer ends with the line. Any other file is text:
its paragraphs are the examples and stand unchanged before the prompt.

A sample ends before the first stop text. Stop texts are searched in bytes, because a token need not be whole
characters.
"""

from __future__ import annotations

import codecs
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpe.parse import parse_json
from bpe.texts import utf8
from model.tokenizer import Tokenizer

JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Examples:
    """The examples of a file, for few-shot prompting."""

    texts: tuple[str, ...]  # each with the blank line after it
    asks: bool  # whether the examples have inputs and outputs, so that a prompt is an input

    def ask(self, prompt: str) -> str:
        """The prompt as it stands after the examples."""
        return f"Input: {prompt}\nOutput:" if self.asks else prompt

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts that end an answer."""
        return ("\n",) if self.asks else ()


NO_EXAMPLES = Examples((), asks=False)


def read_examples(path: Path) -> Examples:
    """The examples of a file, in one of the forms above; its suffix tells which.

    Raises OSError if it cannot be read, ValueError naming file and line if it has no examples or another form.
    """
    if path.suffix in JSON_LINES:
        texts = [f"Input: {text}\nOutput: {answer}\n\n" for text, answer in _rows(path, ("input", "output"))]
    else:
        paragraphs = [""]
        for line in _read(path).splitlines():
            if line.strip():
                paragraphs[-1] += line + "\n"
            elif paragraphs[-1]:
                paragraphs.append("")
        texts = [paragraph + "\n" for paragraph in paragraphs if paragraph]
    if not texts:
        raise ValueError(f"{path}: holds no example; give JSON lines of input and output, or paragraphs of text")
    return Examples(tuple(texts), asks=path.suffix in JSON_LINES)


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file: one a line, or JSON lines with a `prompt` each. Blank lines do not count.

    Raises OSError if it cannot be read, ValueError naming file and line if it has no prompts or another form.
    """
    if path.suffix in JSON_LINES:
        prompts = [prompt for (prompt,) in _rows(path, ("prompt",))]
    else:
        prompts = [line for line in _read(path).splitlines() if line.strip()]
    if not prompts:
        raise ValueError(f"{path}: holds no prompt; give one a line, or JSON lines of prompt in a .jsonl file")
    return prompts


def fitting_ids(examples: Examples, prompt: str, tokenizer: Tokenizer, room: int) -> tuple[list[int], int]:
    """The ids of examples and prompt, and how many of the first examples were left out to have at most `room` ids.

    If even the prompt alone has more ids, all of its ids are returned.
    """
    asked_prompt = examples.ask(prompt)

    def ids(dropped: int) -> list[int]:
        return tokenizer.encode("".join(examples.texts[dropped:]) + asked_prompt)

    count = len(examples.texts)
    dropped = bisect_left(range(count), True, key=lambda number: len(ids(number)) <= room)
    return ids(dropped), dropped


def _rows(path: Path, keys: tuple[str, ...]) -> list[list[str]]:
    """The strings that each line's JSON object has for `keys`. Raises ValueError naming file and line."""
    rows = []
    for number, line in enumerate(_read(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in keys):
            raise ValueError(
                f"{path}:{number}: should be an object with the text{'s' * (len(keys) > 1)} {' and '.join(keys)}"
            )
        rows.append([row[key] for key in keys])
    return rows


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from error


# --- the end of a text -------------------------------------------------------------------------------------


class Ending:
    """Finds stop texts in tokens."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        """`stops` are the stop texts; raises ValueError if one is empty."""
        self.check(stops)
        self.tokenizer = tokenizer
        self.stops = [utf8(stop) for stop in stops]
        self.longest = max(map(len, self.stops), default=0)

    @staticmethod
    def check(stops: Sequence[str]) -> None:
        """Raises ValueError if a stop text is empty."""
        if "" in stops:
            raise ValueError("a stop text is empty: give the characters to stop at")

    def reached(self, tokens: Sequence[int]) -> bool:
        """Whether a stop text ends within the last of these tokens."""
        if not self.stops:
            return False
        tail, token = b"", b""
        for number, token_id in enumerate(reversed(tokens)):
            tail = token_bytes(self.tokenizer, token_id) + tail
            if number == 0:
                token = tail
            if len(tail) >= self.longest + len(token):
                break
        return self.find(tail) >= 0

    def find(self, text: bytes) -> int:
        """The offset of the first stop text in `text`; -1 if there is none."""
        return min((offset for stop in self.stops if (offset := text.find(stop)) >= 0), default=-1)

    def partial(self, text: bytes) -> int:
        """The number of bytes at the end of `text` that may be the beginning of a stop text."""
        most = min(len(text), self.longest - 1)
        return next((n for n in range(most, 0, -1) if any(stop.startswith(text[-n:]) for stop in self.stops)), 0)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of the tokens, up to the first stop text. Bytes that are not UTF-8 become U+FFFD."""
        text = b"".join(token_bytes(self.tokenizer, token_id) for token_id in tokens)
        offset = self.find(text)
        return (text if offset < 0 else text[:offset]).decode("utf-8", "replace")


class Writer:
    """Writes a text while its tokens arrive: whole characters, and no bytes that may begin a stop text.

    After `close` it has written exactly `Ending.text` of the tokens.
    """

    def __init__(self, ending: Ending, write: Callable[[str], None]) -> None:
        self.ending, self.write = ending, write
        self.pending = b""
        self.stopped = False
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def token(self, token_id: int) -> None:
        """Take the next token."""
        if self.stopped:
            return
        self.pending += token_bytes(self.ending.tokenizer, token_id)
        offset = self.ending.find(self.pending)
        self.stopped = offset >= 0
        self._write(offset if self.stopped else len(self.pending) - self.ending.partial(self.pending))

    def close(self) -> None:
        """Write what is pending: no more tokens will arrive."""
        self._write(0 if self.stopped else len(self.pending), final=True)

    def _write(self, count: int, final: bool = False) -> None:
        text = self.decoder.decode(self.pending[:count], final)
        self.pending = self.pending[count:]
        if text:
            self.write(text)


def token_bytes(tokenizer: Tokenizer, token_id: int) -> bytes:
    """The bytes of a token; empty for an id that is no token of the vocabulary, which a model may draw."""
    try:
        return tokenizer.vocabulary.token_bytes(token_id)
    except ValueError:
        return b""
