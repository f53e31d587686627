"""Vocabularies on disk: the published files, our own directory, damage, exports."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from bpe.encode import Encoder
from bpe.export import hugging_face
from bpe.files import load_vocabulary, save_vocabulary
from bpe.formats import rank_file
from bpe.patterns import REGEX
from bpe.vocabulary import Vocabulary
from tests.support.bpe_texts import texts

BYTES = tuple(bytes([byte]) for byte in range(256))


@pytest.fixture(scope="module")
def ranks(small: Vocabulary) -> Vocabulary:
    """Without a list of merges: by tiktoken's rule."""
    return Vocabulary(small.tokens, small.pattern, small.special_tokens)


def test_published_files(testdata: Path) -> None:
    specs = json.loads((testdata / "tokenizers/specs.json").read_text("utf-8"))
    for name, spec in specs.items():
        vocabulary = load_vocabulary(testdata / "tokenizers" / f"{name}.tiktoken")
        assert vocabulary.size == spec["n_vocab"]
        assert vocabulary.special_tokens == spec["special_tokens"]
        assert REGEX[vocabulary.pattern] == spec["pat_str"]
        assert sum(1 for token in vocabulary.tokens if token) == spec["n_ranks"]


def test_round_trip_and_same_bytes(small: Vocabulary, tmp_path: Path) -> None:
    assert save_vocabulary(small, tmp_path / "a/b")
    assert save_vocabulary(small, tmp_path / "c")
    assert not save_vocabulary(small, tmp_path / "c")
    loaded = load_vocabulary(tmp_path / "a/b")
    assert (loaded, loaded.hash, loaded.end_of_text) == (small, small.hash, 999)
    files = sorted(file.name for file in (tmp_path / "c").iterdir())
    assert files == ["merges.txt", "ranks.tiktoken", "vocab.json"]
    for name in files:
        assert (tmp_path / "a/b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()


def test_merges_round_trip(tmp_path: Path) -> None:
    merged = Vocabulary(
        (*BYTES, b" a", b"\n\x80", b" a\xff"), "gpt2", {"<a>": 300}, ((32, 97), (10, 128), (256, 255)), True
    )
    save_vocabulary(merged, tmp_path)
    assert load_vocabulary(tmp_path) == merged
    merges = tmp_path / "merges.txt"
    assert merges.read_text("utf-8") == "#version: 0.2\nĠ a\nĊ Ģ\nĠa ÿ\n"
    merges.write_text("#version: 0.2\nĠ a\nĊ Ģ\n", "utf-8")
    with pytest.raises(ValueError, match=r"merges.txt do not match the hash"):
        load_vocabulary(tmp_path)
    merges.write_text("#version: 0.2\nĠ a\nĊ\n", "utf-8")
    with pytest.raises(ValueError, match=r"merges.txt, line 3: expected two tokens of the vocabulary, got 'Ċ'"):
        load_vocabulary(tmp_path)


def test_the_header_says_what_it_is(ranks: Vocabulary, tmp_path: Path) -> None:
    save_vocabulary(ranks, tmp_path)
    facts = json.loads((tmp_path / "vocab.json").read_text("ascii"))
    assert "made by bpe" in facts.pop("what")
    assert facts == {
        "format": 2,
        "pattern": "cl100k",
        "regex": REGEX["cl100k"],
        "unicode": {"version": "16.0.0", "classes": r"L Lu Lt Ll Lm Lo M N \s"},
        "special_tokens": {"<|endoftext|>": 999},
        "merges": None,
        "ignore_merges": False,
        "size": 1000,
        "hash": ranks.hash,
    }


@settings(max_examples=300)
@given(data=st.data())
def test_a_byte_changed_anywhere_is_found_out(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    merged = Vocabulary((*BYTES, b"ab", b" c"), r"\w+|\W", {"<a>": 300}, ((97, 98), (32, 99)), True)
    folder = tmp_path_factory.mktemp("damaged")
    save_vocabulary(merged, folder)
    path = folder / data.draw(st.sampled_from(["vocab.json", "ranks.tiktoken", "merges.txt"]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([place, len(content)]))])
    try:
        loaded = load_vocabulary(folder)
    except ValueError as error:
        assert str(folder) in str(error)  # noqa: PT017
    else:
        assert loaded == merged  # the byte was in what only people read, or stayed


def test_merges_are_checked() -> None:
    tokens = (*BYTES, b"ab", b"")
    wrong = {
        r"pair \(97, 257\), of which one id is no token": [(97, 257)],
        r"pair \(-1, 97\), of which": [(-1, 97)],
        r"make b'ba', which is no token": [(97, 98), (98, 97)],
        r"the pair \(97, 98\) 2 times": [(97, 98), (97, 98)],
    }
    for message, merges in wrong.items():
        with pytest.raises(ValueError, match=message):
            Vocabulary(tokens, "gpt2", {}, tuple(merges))
    with pytest.raises(ValueError, match="ignore_merges without merges"):
        Vocabulary(tokens, "gpt2", {}, None, True)


def test_known_spellings_of_a_rule_become_its_name() -> None:
    gpt2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    assert Vocabulary(BYTES, gpt2, {}) == Vocabulary(BYTES, "gpt2", {})
    assert Vocabulary(BYTES, REGEX["o200k"], {}).pattern == "o200k"
    assert Vocabulary(BYTES, r"\S+|\s+", {}).pattern == r"\S+|\s+"
    for mistyped in ("", "gpt3", "cl100k-base"):
        with pytest.raises(ValueError, match=f"pattern = '{mistyped}': should be one of gpt2, cl100k, o200k or a reg"):
            Vocabulary(BYTES, mistyped, {})


def test_directories_of_format_1_are_read(ranks: Vocabulary, tmp_path: Path) -> None:
    """As they were written before there were merges."""
    (tmp_path / "vocabulary.tiktoken").write_bytes(rank_file(ranks))
    head = {"pattern": "cl100k", "special_tokens": [["<|endoftext|>", 999]]}
    content = b"".join(len(token).to_bytes(4, "little") + token for token in ranks.tokens)
    digest = hashlib.sha256(json.dumps(head).encode() + b"\n" + content).hexdigest()
    facts = {"format": 1, "pattern": "cl100k", "regex": "", "special_tokens": {"<|endoftext|>": 999}, "size": 1000}
    (tmp_path / "vocabulary.json").write_text(json.dumps(facts | {"hash": digest}))
    assert load_vocabulary(tmp_path) == ranks
    assert not save_vocabulary(ranks, tmp_path)
    assert save_vocabulary(ranks, tmp_path, overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ranks.tiktoken", "vocab.json"]


def test_another_vocabulary_is_not_replaced_unasked(small: Vocabulary, tmp_path: Path) -> None:
    other = Vocabulary(BYTES, "gpt2", {"<|endoftext|>": 256})
    save_vocabulary(small, tmp_path)
    with pytest.raises(FileExistsError, match="holds another tokenizer"):
        save_vocabulary(other, tmp_path)
    assert save_vocabulary(other, tmp_path, overwrite=True)
    assert load_vocabulary(tmp_path) == other


def test_hash_tells_everything_apart() -> None:
    variants = [
        Vocabulary(BYTES, "gpt2", {}),
        Vocabulary(BYTES, "cl100k", {}),
        Vocabulary(BYTES, "gpt2", {"<a>": 256}),
        Vocabulary(BYTES, "gpt2", {"<a>": 257}),
        Vocabulary((*BYTES, b"ab"), "gpt2", {}),
        Vocabulary((*BYTES, b"", b"ab"), "gpt2", {}),
        Vocabulary((*BYTES, b"ab", b"c\x00\x00"), "gpt2", {}),
        Vocabulary((*BYTES, b"ab"), "gpt2", {}, ()),
        Vocabulary((*BYTES, b"ab"), "gpt2", {}, ((97, 98),)),
        Vocabulary((*BYTES, b"ab"), "gpt2", {}, ((97, 98),), True),
    ]
    assert len({vocabulary.hash for vocabulary in variants}) == len(variants)
    assert Vocabulary(BYTES, "gpt2", {"b": 257, "a": 256}).hash == Vocabulary(BYTES, "gpt2", {"a": 256, "b": 257}).hash


def test_gaps_between_ranks(tmp_path: Path) -> None:
    path = tmp_path / "own.tiktoken"
    path.write_bytes(rank_file(Vocabulary((*BYTES, b"", b"ab"), "gpt2", {})))
    with pytest.raises(ValueError, match="which split rule"):
        load_vocabulary(path)
    vocabulary = load_vocabulary(path, "gpt2")
    assert vocabulary.special_tokens == {"<|endoftext|>": 258}
    assert Encoder(vocabulary).encode("abc").tolist() == [257, ord("c")]
    assert vocabulary.decode([257, 258]) == b"ab<|endoftext|>"
    for unknown in (256, -1, 259):
        with pytest.raises(ValueError, match=f"token id {unknown} is not"):
            vocabulary.decode([unknown])


LINES = rank_file(Vocabulary((*BYTES, b"ab"), "gpt2", {})).splitlines(keepends=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no token in it"),
        (b"".join(LINES[1:]), "no token for byte 0x00"),
        (b"".join(LINES) + b"YWM= 256\n", "line 258: rank 256 is there twice"),
        (b"".join(LINES) + b"YWI= 257\n", "b'ab' 2 times"),
        (b"".join(LINES) + b"Y=WI 257\n", "line 258: expected base64 and a rank"),
        (b"".join(LINES) + b"YWM=\n", "line 258: expected base64 and a rank"),
        (b"".join(LINES) + b"YWM= 99999999\n", "highest rank 99999999"),
    ],
)
def test_damaged_rank_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "gpt2.tiktoken"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_vocabulary(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_directories_are_named(ranks: Vocabulary, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such tokenizer"):
        load_vocabulary(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"no vocab\.json in it"):
        load_vocabulary(tmp_path)
    save_vocabulary(ranks, tmp_path)
    rank_lines, header = tmp_path / "ranks.tiktoken", tmp_path / "vocab.json"
    lines = rank_lines.read_bytes().splitlines(keepends=True)
    rank_lines.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(ValueError, match="does not match the hash"):
        load_vocabulary(tmp_path)
    header.write_bytes(header.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"vocab\.json is damaged"):
        load_vocabulary(tmp_path)


def test_special_tokens_need_their_own_ids() -> None:
    with pytest.raises(ValueError, match="choose one that no token has"):
        Vocabulary(BYTES, "gpt2", {"<a>": 97})
    with pytest.raises(ValueError, match="share an id"):
        Vocabulary(BYTES, "gpt2", {"<a>": 256, "<b>": 256})
    with pytest.raises(ValueError, match=r"has no <\|endoftext\|>"):
        _ = Vocabulary(BYTES, "gpt2", {}).end_of_text


@settings(max_examples=150)
@given(text=texts.filter(lambda text: "<|" not in text))
def test_hugging_face_export_encodes_alike(small: Vocabulary, text: str) -> None:
    assert _exported(small).encode(text).ids == Encoder(small, 64).encode(text).tolist()


def test_hugging_face_export_of_a_published_vocabulary(testdata: Path, news: list[str]) -> None:
    """cl100k_base, whose ids have gaps."""
    vocabulary = load_vocabulary(testdata / "tokenizers/cl100k_base.tiktoken")
    exported, encoder = _exported(vocabulary), Encoder(vocabulary)
    for document in news[:30]:
        assert exported.encode(document).ids == encoder.encode(document).tolist()
        assert exported.decode(encoder.encode(document).tolist()) == document
    for name, token_id in vocabulary.special_tokens.items():
        assert exported.encode(f"a{name}").ids == [97 - 33, token_id]


def test_vocabulary_is_light() -> None:
    code = "import sys, bpe.vocabulary, bpe.cli; print('numba' in sys.modules, 'rich' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False False\n"
    )


def test_rank_file_is_tiktokens(small: Vocabulary) -> None:
    lines = rank_file(small).splitlines()
    assert [base64.b64decode(line.split()[0]) for line in lines] == list(small.tokens)


_CACHE: dict[str, tokenizers.Tokenizer] = {}


def _exported(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    if vocabulary.hash not in _CACHE:
        _CACHE[vocabulary.hash] = tokenizers.Tokenizer.from_buffer(hugging_face(vocabulary))
    return _CACHE[vocabulary.hash]
