"""What stands before the text that a model writes, and where that text ends.

Few-shot prompting (GPT-3, arXiv:2005.14165) puts solved examples before a prompt; no weight changes. A file of
examples is either of two kinds. In JSON lines of `input` and `output` each becomes `Input: ...`, `Output: ...` and a
blank line, the prompt stands as another input, and what the model writes up to the end of the line is its answer. Any
other file is text: its paragraphs are the examples and stand before the prompt as they are.

A stop text ends a sample before the stop text. Both are looked for in bytes, because a token need not be whole
characters.
"""

from __future__ import annotations

import codecs
import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.tokenizer import Tokenizer

JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Examples:
    texts: tuple[str, ...]  # each with the blank line after it
    asks: bool  # the prompt is an input whose output is wanted

    def ask(self, prompt: str) -> str:
        return f"Input: {prompt}\nOutput:" if self.asks else prompt

    @property
    def stops(self) -> tuple[str, ...]:
        return ("\n",) if self.asks else ()


NO_EXAMPLES = Examples((), asks=False)


def read_examples(path: Path) -> Examples:
    """The examples of a file. Raises ValueError, naming file and line, for one that has none or is not as above."""
    if path.suffix in JSON_LINES:
        texts = [f"Input: {given}\nOutput: {wanted}\n\n" for given, wanted in _rows(path, ("input", "output"))]
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
    """A prompt a line, or JSON lines of `prompt`; blank lines do not count. Raises ValueError as `read_examples`."""
    if path.suffix in JSON_LINES:
        prompts = [prompt for (prompt,) in _rows(path, ("prompt",))]
    else:
        prompts = [line for line in _read(path).splitlines() if line.strip()]
    if not prompts:
        raise ValueError(f"{path}: holds no prompt; give one a line, or JSON lines of prompt in a .jsonl file")
    return prompts


def fitting_ids(examples: Examples, prompt: str, tokenizer: Tokenizer, room: int) -> tuple[list[int], int]:
    """Ids of the examples and the prompt, and how many of the first examples had to go to make at most `room` ids."""
    asked = examples.ask(prompt)

    def ids(dropped: int) -> list[int]:
        return tokenizer.encode("".join(examples.texts[dropped:]) + asked)

    count = len(examples.texts)
    dropped = bisect_left(range(count), True, key=lambda number: len(ids(number)) <= room)
    return ids(dropped), dropped


def _rows(path: Path, keys: tuple[str, ...]) -> list[list[str]]:
    """The strings of `keys` in each line's object."""
    rows = []
    for number, line in enumerate(_read(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except json.JSONDecodeError as error:
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
    """Stop texts, looked for in tokens."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        if "" in stops:
            raise ValueError("a stop text is empty: give the characters to stop at")
        self.tokenizer = tokenizer
        self.stops = [stop.encode() for stop in stops]
        self.longest = max(map(len, self.stops), default=0)

    def reached(self, tokens: Sequence[int]) -> bool:
        """Does a stop text end in the last of these tokens?"""
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
        """Where the first stop text begins; -1 if there is none."""
        return min((place for stop in self.stops if (place := text.find(stop)) >= 0), default=-1)

    def held(self, text: bytes) -> int:
        """Bytes at the end of `text` that may be the beginning of a stop text."""
        most = min(len(text), self.longest - 1)
        return next((n for n in range(most, 0, -1) if any(stop.startswith(text[-n:]) for stop in self.stops)), 0)

    def text(self, tokens: Sequence[int]) -> str:
        """What the tokens say before a stop text; what is not UTF-8 shows as U+FFFD."""
        whole = b"".join(token_bytes(self.tokenizer, token_id) for token_id in tokens)
        place = self.find(whole)
        return (whole if place < 0 else whole[:place]).decode("utf-8", "replace")


class Writer:
    """Hands a text on as its tokens come: whole characters, and nothing that may yet turn out a stop text.

    All that was handed on is `Ending.text` of the tokens.
    """

    def __init__(self, ending: Ending, write: Callable[[str], None]) -> None:
        self.ending, self.write = ending, write
        self.waiting = b""
        self.stopped = False
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def token(self, token_id: int) -> None:
        if self.stopped:
            return
        self.waiting += token_bytes(self.ending.tokenizer, token_id)
        place = self.ending.find(self.waiting)
        self.stopped = place >= 0
        self._hand_on(place if self.stopped else len(self.waiting) - self.ending.held(self.waiting))

    def close(self) -> None:
        self._hand_on(0 if self.stopped else len(self.waiting), final=True)

    def _hand_on(self, count: int, final: bool = False) -> None:
        text = self.decoder.decode(self.waiting[:count], final)
        self.waiting = self.waiting[count:]
        if text:
            self.write(text)


def token_bytes(tokenizer: Tokenizer, token_id: int) -> bytes:
    """A token's bytes; of an id in a gap of the vocabulary, which a model may draw, nothing."""
    try:
        return tokenizer.vocabulary.token_bytes(token_id)
    except ValueError:
        return b""
