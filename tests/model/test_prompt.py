"""Files of examples and prompts, the examples that fit before a prompt, and stop texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe.vocabulary import Vocabulary
from model.prompt import NO_EXAMPLES, Ending, Writer, fitting_ids, read_examples, read_prompts
from model.tokenizer import Tokenizer

# A token a byte, a few that are longer or half a character, and a gap (at 260) before the special token.
TOKENS = (*(bytes([byte]) for byte in range(256)), b"ab", b"\xc3\xa4b", b"\n\n", b"a\xe2\x82", b"")
TOKENIZER = Tokenizer(Vocabulary(TOKENS, "gpt2", {"<|endoftext|>": 261}))


def test_json_examples_ask_for_an_output(tmp_path: Path) -> None:
    path = tmp_path / "capitals.jsonl"
    path.write_text('{"input": "France", "output": "Paris"}\n\n{"input": "Ärger", "output": "two\\u2028 words"}\n')
    examples = read_examples(path)
    assert examples.texts == ("Input: France\nOutput: Paris\n\n", "Input: Ärger\nOutput: two\u2028 words\n\n")
    assert examples.ask("Italy") == "Input: Italy\nOutput:"
    assert examples.stops == ("\n",)


def test_paragraphs_stand_before_the_prompt(tmp_path: Path) -> None:
    path = tmp_path / "verses.txt"
    path.write_text("\nOne line,\nanother.\n\n \nThe next\n")
    examples = read_examples(path)
    assert examples.texts == ("One line,\nanother.\n\n", "The next\n\n")
    assert examples.ask("And") == "And"
    assert examples.stops == ()


def test_prompts_are_lines_or_json(tmp_path: Path) -> None:
    lines, rows = tmp_path / "p.txt", tmp_path / "p.jsonl"
    lines.write_text("Once upon\n\n  a time\n")
    rows.write_text('{"prompt": "Once\\nupon", "id": 3}\n{"prompt": ""}\n')
    assert read_prompts(lines) == ["Once upon", "  a time"]
    assert read_prompts(rows) == ["Once\nupon", ""]


@pytest.mark.parametrize(
    ("name", "content", "read", "message"),
    [
        ("e.jsonl", b'{"input": "a", "output": "b"}\n{"input": 3}\n', read_examples, "e.jsonl:2: should be an object"),
        ("e.jsonl", b"[1]\n", read_examples, "e.jsonl:1: should be an object with the texts input and output"),
        ("e.jsonl", b"\n", read_examples, "e.jsonl: holds no example"),
        ("e.txt", b" \n\n", read_examples, "e.txt: holds no example"),
        ("p.jsonl", b'{"prompt": "a"}\n{"prompt"\n', read_prompts, "p.jsonl:2: not JSON"),
        ("p.jsonl", b'{"text": "a"}\n', read_prompts, "p.jsonl:1: should be an object with the text prompt"),
        ("p.txt", b"\n \n", read_prompts, "p.txt: holds no prompt"),
        ("p.txt", b"ab\xff\n", read_prompts, "p.txt: byte 2 is not UTF-8"),
    ],
)
def test_bad_files_are_named(
    tmp_path: Path, name: str, content: bytes, read: Callable[[Path], object], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)


def test_the_first_examples_go_when_not_all_fit(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text("".join(json.dumps({"input": f"{n}", "output": "yes"}) + "\n" for n in range(10)))
    examples = read_examples(path)
    asked = TOKENIZER.encode(examples.ask("7"))
    everything = TOKENIZER.encode("".join(examples.texts) + examples.ask("7"))
    one = (len(everything) - len(asked)) // 10
    assert fitting_ids(examples, "7", TOKENIZER, len(everything)) == (everything, 0)
    ids, dropped = fitting_ids(examples, "7", TOKENIZER, len(everything) - 1)
    assert dropped == 1
    assert ids == everything[one:]
    assert fitting_ids(examples, "7", TOKENIZER, len(asked) + one - 1) == (asked, 10)
    assert fitting_ids(examples, "7", TOKENIZER, 1) == (asked, 10)  # a prompt is never cut here
    assert fitting_ids(NO_EXAMPLES, "abc", TOKENIZER, 1) == (TOKENIZER.encode("abc"), 0)


IDS = st.lists(st.one_of(st.sampled_from([97, 98, 10, 256, 257, 258, 259, 260, 261, 0xAC]), st.integers(0, 255)))


@given(tokens=IDS, stops=st.lists(st.sampled_from(["b", "ab", "\n\n", "ä", "€", "aab", "abab"]), max_size=3))
def test_a_stream_is_the_text_and_ends_where_it_does(tokens: list[int], stops: list[str]) -> None:
    ending = Ending(TOKENIZER, stops)
    # Generation stops at the first token in which a stop text ends, as `reached` says.
    ends = [n for n in range(1, len(tokens) + 1) if ending.reached(tokens[:n])]
    whole = [b"".join(TOKENS[t] if t < 261 else b"<|endoftext|>" for t in tokens[:n]) for n in range(len(tokens) + 1)]
    holding = [n for n, text in enumerate(whole) if any(stop.encode() in text for stop in stops)]
    assert ends[:1] == holding[:1]
    tokens = tokens[: ends[0]] if ends else tokens
    parts: list[str] = []
    writer = Writer(ending, parts.append)
    for token in tokens:
        writer.token(token)
    writer.close()
    assert "".join(parts) == ending.text(tokens)
    assert not any(stop in "".join(parts) for stop in stops)
    if not stops:
        assert ending.text(tokens) == TOKENIZER.decode(tokens)


def test_a_stream_holds_back_half_characters_and_beginnings_of_stop_texts() -> None:
    parts: list[str] = []
    writer = Writer(Ending(TOKENIZER, ["abc"]), parts.append)
    written = []
    for byte in "xäabdabc€".encode():
        writer.token(byte)
        written.append("".join(parts))
    assert written == ["x", "x", "xä", "xä", "xä", "xäabd", "xäabd", "xäabd", "xäabd", "xäabd", "xäabd", "xäabd"]


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(ValueError, match="a stop text is empty"):
        Ending(TOKENIZER, ["a", ""])
