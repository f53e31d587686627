"""Vocabularies to and from other programs: what they encode, we encode alike, or we say why not."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, pre_tokenizers, processors, trainers

from bpe import Tokenizer
from bpe.encode import Encoder
from bpe.export import TARGETS, export_files
from bpe.files import load_vocabulary, save_vocabulary
from bpe.patterns import ONIGURUMA, REGEX, canonical, from_oniguruma, regex, to_oniguruma
from bpe.terminal.failures import said
from bpe.vocabulary import Vocabulary, all_cuts
from tests.oracles import bpe_merges, bpe_naive
from tests.support.bpe_texts import LLAMA, QWEN, RUSTBPE, texts

BYTES = tuple(bytes([byte]) for byte in range(256))
SPECIAL = ["<|endoftext|>", "<|a b|>", "<|é|>"]


def split_rule(expression: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(expression), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


PRE_TOKENIZERS: dict[str, tuple[Callable[[], pre_tokenizers.PreTokenizer], str]] = {
    "byte_level": (lambda: pre_tokenizers.ByteLevel(add_prefix_space=False), "gpt2"),
    "no_split": (lambda: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), "(?s:.+)"),
    "cl100k": (lambda: split_rule(ONIGURUMA["cl100k"]), "cl100k"),
    "o200k": (lambda: split_rule(REGEX["o200k"]), "o200k"),
    # tiktoken's text in the other engine, where `$` is the end of a line, is another rule.
    "pasted": (lambda: split_rule(REGEX["gpt2"]), REGEX["gpt2"].replace("$", r"(?=\n|\z)")),
    "llama": (lambda: split_rule(LLAMA), LLAMA),
    "qwen": (lambda: split_rule(QWEN), QWEN),
    "lines": (lambda: split_rule(r"^\s+|\s+$|\w+|[^\w\s]+|\s"), r"(?<![^\n])\s+|\s+(?=\n|\z)|\w+|[^\w\s]+|\s"),
}


@pytest.fixture(scope="module", params=list(PRE_TOKENIZERS))
def trained(request: pytest.FixtureRequest, news: list[str]) -> tuple[str, tokenizers.Tokenizer]:
    """A vocabulary of Hugging Face's own making."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[request.param][0]()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL[:2], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(news[:20], trainer)
    tokenizer.add_tokens([SPECIAL[2]])
    return request.param, tokenizer


@pytest.fixture(scope="module")
def imported(trained: tuple[str, tokenizers.Tokenizer], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("hf")
    trained[1].save(str(folder / "tokenizer.json"))
    return Tokenizer.load(folder)


several = st.lists(st.text("abc", min_size=1, max_size=20), max_size=8)
with_names = st.lists(st.one_of(texts, st.sampled_from([*SPECIAL, " <|é|", "<|endoftext|"])), max_size=3).map("".join)


@settings(max_examples=150)
@given(text=with_names)
def test_an_imported_tokenizer_json_encodes_as_there(
    trained: tuple[str, tokenizers.Tokenizer], imported: Tokenizer, text: str
) -> None:
    ids = imported.encode(text, allowed_special="all")
    assert ids == trained[1].encode(text).ids
    assert imported.decode(ids) == text


def test_what_an_import_holds(trained: tuple[str, tokenizers.Tokenizer], imported: Tokenizer) -> None:
    name, theirs = trained
    vocabulary = imported.vocabulary
    assert vocabulary.pattern == PRE_TOKENIZERS[name][1]
    assert vocabulary.special_tokens == {"<|endoftext|>": 0, "<|a b|>": 1, "<|é|>": 700}
    assert (vocabulary.size, vocabulary.ignore_merges) == (theirs.get_vocab_size(), False)
    assert len(vocabulary.merges or ()) == 700 - 256 - 2


@settings(max_examples=60)
@given(text=with_names)
def test_an_import_exported_again_encodes_as_there(
    trained: tuple[str, tokenizers.Tokenizer], imported: Tokenizer, text: str
) -> None:
    expected = trained[1].encode(text).ids
    assert _hugging_face(imported.vocabulary).encode(text).ids == expected
    assert _tiktoken(imported.vocabulary).encode(text, allowed_special="all") == expected


@pytest.mark.parametrize("ignore_merges", [False, True])
@settings(max_examples=150)
@given(data=st.data())
def test_any_list_of_merges_encodes_as_in_hugging_face(ignore_merges: bool, data: st.DataObject) -> None:
    """Lists in any order, tokens that nothing makes, ids that say nothing of the order."""
    vocabulary = data.draw(merge_lists(ignore_merges))
    theirs, ours = _hugging_face(vocabulary), Encoder(vocabulary, 64)
    for text in data.draw(several):
        expected = bpe_merges.encode(text.encode(), vocabulary)
        assert theirs.encode(text).ids == expected
        assert ours.encode(text).tolist() == expected


@settings(max_examples=400)
@given(data=st.data())
def test_an_export_to_tiktoken_is_exact_or_refused(data: st.DataObject) -> None:
    vocabulary = data.draw(merge_lists(data.draw(st.booleans())))
    if refusal(vocabulary, "tiktoken"):
        return
    ranks = Vocabulary(vocabulary.tokens, vocabulary.pattern, {})
    for text in data.draw(several):
        assert bpe_naive.encode(text.encode(), ranks) == bpe_merges.encode(text.encode(), vocabulary)


@settings(max_examples=400)
@given(data=st.data())
def test_ranks_as_a_list_of_merges_encode_alike(data: st.DataObject) -> None:
    """Every cut of every token in the order of ids; GPT-2's way, without whole tokens, where it is not refused."""
    ranks = Vocabulary(data.draw(merge_lists(False)).tokens, "gpt2", {})
    cuts = all_cuts(ranks.tokens)
    for whole in (True,) if refusal(ranks, "gpt2") else (True, False):
        listed = Vocabulary(ranks.tokens, "gpt2", {}, cuts, whole)
        for text in data.draw(several):
            assert bpe_merges.encode(text.encode(), listed) == bpe_naive.encode(text.encode(), ranks)


def refusal(vocabulary: Vocabulary, to: str) -> str:
    try:
        export_files(vocabulary, to)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("to", TARGETS)
def test_round_trips(small: Vocabulary, news: list[str], to: str, tmp_path: Path) -> None:
    vocabulary = Vocabulary(small.tokens, "gpt2", small.special_tokens)
    _write(tmp_path, export_files(vocabulary, to))
    path = tmp_path / "ranks.tiktoken" if to == "tiktoken" else tmp_path
    again = load_vocabulary(path, "gpt2" if to == "tiktoken" else None)
    if to != "gpt2":
        assert again == vocabulary
    assert (again.tokens, again.special_tokens) == (vocabulary.tokens, vocabulary.special_tokens)
    for document in news[:30]:
        assert Encoder(again).encode(document).tolist() == Encoder(vocabulary).encode(document).tolist()
    assert export_files(again, to) == export_files(vocabulary, to)


def test_what_is_trained_here_is_read_there(small: Vocabulary, news: list[str], tmp_path: Path) -> None:
    assert _loaded(tmp_path, export_files(small, "hf")) == small
    save_vocabulary(small, tmp_path / "own")
    assert load_vocabulary(tmp_path / "own/vocab.json") == small
    for document in news[:30]:
        expected = Encoder(small).encode(document).tolist()
        assert _hugging_face(small).encode(document).ids == expected
        assert _tiktoken(small).encode(document) == expected


def test_a_published_vocabulary_in_every_format(testdata: Path, news: list[str], tmp_path: Path) -> None:
    vocabulary = load_vocabulary(testdata / "tokenizers/gpt2.tiktoken")
    encoder = Encoder(vocabulary)
    for to in ("hf", "gpt2"):
        _write(tmp_path / to, export_files(vocabulary, to))
        again = load_vocabulary(tmp_path / to)
        assert export_files(again, "tiktoken") == export_files(vocabulary, "tiktoken")
        assert (again.tokens, again.special_tokens) == (vocabulary.tokens, vocabulary.special_tokens)
        for document in news[:30]:
            assert Encoder(again).encode(document).tolist() == encoder.encode(document).tolist()


def test_transformers_reads_the_exports(small: Vocabulary, news: list[str], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    vocabulary = Vocabulary(small.tokens, "gpt2", small.special_tokens)
    for to in ("hf", "gpt2"):
        _write(tmp_path / to, export_files(vocabulary, to))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "hf/tokenizer.json"))
    gpt2 = transformers.GPT2Tokenizer.from_pretrained(tmp_path / "gpt2")
    for document in news[:30]:
        expected = Encoder(vocabulary).encode(document).tolist()
        assert fast.encode(document) == gpt2.encode(document) == expected
    for theirs in (fast, gpt2):
        assert theirs.encode("a<|endoftext|>") == [vocabulary.tokens.index(b"a"), 999]


def test_gpt2s_own_file_names_and_the_files_themselves(small: Vocabulary, tmp_path: Path) -> None:
    vocabulary = Vocabulary(small.tokens, "gpt2", small.special_tokens)
    files = export_files(vocabulary, "gpt2")
    expected = _loaded(tmp_path / "a", files)
    assert load_vocabulary(tmp_path / "a/vocab.json") == expected
    assert _loaded(tmp_path / "b", {"encoder.json": files["vocab.json"], "vocab.bpe": files["merges.txt"]}) == expected
    assert load_vocabulary(tmp_path / "a", r"\S+|\s+").pattern == r"\S+|\s+"
    (tmp_path / "c").mkdir()
    (tmp_path / "c/any name.json").write_bytes(export_files(vocabulary, "hf")["tokenizer.json"])
    assert load_vocabulary(tmp_path / "c/any name.json") == vocabulary
    with pytest.raises(ValueError, match="has its own split rule, 'gpt2': leave pattern= out"):
        load_vocabulary(tmp_path / "c/any name.json", "cl100k")


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets `content[a][b]` for the path "a.b"."""

    def apply(content: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            content = content[int(parent) if parent.isdigit() else parent]  # type: ignore[call-overload]
        content[int(last) if last.isdigit() else last] = value  # type: ignore[call-overload]

    return apply


LONG = "a\n" * 5000


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.type", "WordPiece", "model WordPiece has no counterpart"),
        ("model.type", "Unigram", "model Unigram has no"),
        ("normalizer", {"type": "NFC"}, "normalizer NFC has no"),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}]}, "normalizer Sequence has no"),
        ("model.dropout", 0.1, "dropout 0.1"),
        ("model.byte_fallback", True, "byte_fallback"),
        ("model.continuing_subword_prefix", "##", "continuing_subword_prefix '##'"),
        ("model.end_of_word_suffix", "</w>", "end_of_word_suffix '</w>'"),
        ("truncation", {"max_length": 5}, "truncation"),
        ("padding", {"strategy": {"Fixed": 5}}, "padding"),
        ("pre_tokenizer", None, "pre_tokenizer is none; only ByteLevel"),
        ("pre_tokenizer", {"type": "Metaspace"}, "pre_tokenizer is Metaspace; only ByteLevel"),
        ("pre_tokenizer.pretokenizers.0", {"type": "Digits"}, "pre_tokenizer is Digits and ByteLevel; only"),
        ("pre_tokenizer.pretokenizers.1.add_prefix_space", True, "ByteLevel with add_prefix_space"),
        ("pre_tokenizer.pretokenizers.1.use_regex", True, "use_regex after a Split splits twice"),
        ("pre_tokenizer.pretokenizers.0.pattern", {"String": " "}, "Split by the string ' '"),
        ("pre_tokenizer.pretokenizers.0.behavior", "Removed", "Split with behavior Removed"),
        ("pre_tokenizer.pretokenizers.0.pattern.Regex", r"\p{N}{1,3}+|.", "engines disagree"),
        ("pre_tokenizer.pretokenizers.0.pattern.Regex", r"\h+", "different things to different engines"),
        ("added_tokens.0.lstrip", True, r"added token '<\|endoftext\|>' with lstrip"),
        ("added_tokens.0.single_word", True, "with single_word"),
        ("added_tokens.0.id", 5, "has id 5, and 999 in the vocabulary"),
        ("added_tokens.0", {"content": "Ġthe", "id": 265}, "added token 'Ġthe' is made by merges too"),
        ("model.vocab.▁x", 1000, "token '▁x' is not written in the letters"),
        ("model.vocab.x y", 99999999, "99999999 for an id"),
        ("model.vocab.!", 1, "two tokens share an id"),
        ("model.merges.3", "a b c", "is not of two tokens"),
        ("model.merges.3", ["a", "no"], "is not of two tokens"),
        ("model.vocab", None, "is no tokenizer.json that can be read"),
        ("model", {}, "is no tokenizer.json that can be read"),
        ("model.vocab.!", {"x": LONG}, "for an id"),
        ("model.vocab." + LONG, 10**9, "for an id"),
        ("model.type", LONG, "has no counterpart"),
        ("model.merges.3", [LONG, LONG], "is not of two tokens"),
        ("normalizer", {"type": LONG}, "has no counterpart"),
        ("added_tokens.0", {"content": LONG, "id": [LONG]}, "is no tokenizer.json that can be read"),
        ("pre_tokenizer", {"type": LONG}, "only ByteLevel"),
        ("pre_tokenizer.pretokenizers.0.pattern", {"String": LONG}, "Split by the string"),
        ("pre_tokenizer.pretokenizers.0.behavior", LONG, "Split with behavior"),
    ],
)
def test_what_cannot_be_reproduced_is_named(
    small: Vocabulary, tmp_path: Path, path: str, value: Any, message: str
) -> None:
    content = json.loads(export_files(small, "hf")["tokenizer.json"])
    if "Ġthe" in message:
        value["id"] = content["model"]["vocab"]["Ġthe"]
    change(path, value)(content)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        load_vocabulary(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("normalizer", {"type": "Sequence", "normalizers": []}),
        ("model.dropout", 0.0),
        ("model.unk_token", "<|endoftext|>"),
        ("post_processor", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}),
        ("pre_tokenizer.pretokenizers.0.invert", True),
        ("added_tokens.0.special", False),
    ],
)
def test_what_changes_nothing_is_read(small: Vocabulary, tmp_path: Path, path: str, value: Any) -> None:
    content = json.loads(export_files(small, "hf")["tokenizer.json"])
    change(path, value)(content)
    assert _loaded(tmp_path, {"tokenizer.json": json.dumps(content).encode()}) == small


def test_damaged_folders_are_named(small: Vocabulary, tmp_path: Path) -> None:
    files = export_files(Vocabulary(small.tokens, "gpt2", {}), "gpt2")
    for content, message in (
        (b"[1]", "holds a list, no tokenizer"),
        (b"{", "vocab.json is damaged"),
        (b"{}", "line 2: expected two tokens of the vocabulary"),
    ):
        with pytest.raises(ValueError, match=message):
            _loaded(tmp_path, {**files, "vocab.json": content})
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(ValueError, match=r"vocab.json is damaged or lacks merges.txt beside it"):
        _loaded(tmp_path, {"vocab.json": files["vocab.json"]})


def test_exports_that_would_not_encode_alike_say_why(small: Vocabulary) -> None:
    merges = ((98, 99), (97, 98))
    reasons = {
        "after token 257": Vocabulary((*BYTES, b"ab", b"bc"), "gpt2", {}, merges),
        "do not make token 256": Vocabulary((*BYTES, b"abc", b"ab"), "gpt2", {}, ((257, 99),)),
        "do not make token 258": Vocabulary((*BYTES, b"ab", b"bc", b"xyz"), "gpt2", {}, merges[::-1]),
    }
    for reason, vocabulary in reasons.items():
        with pytest.raises(ValueError, match=f"export to tiktoken would not encode alike: .*{reason}"):
            export_files(vocabulary, "tiktoken")
    with pytest.raises(ValueError, match="its split rule is gpt2, and that of the vocabulary is 'cl100k'"):
        export_files(small, "gpt2")
    with pytest.raises(ValueError, match=r"do not make b'xyz' of its bytes"):
        export_files(Vocabulary((*BYTES, b"xyz"), "gpt2", {}), "gpt2")
    with pytest.raises(ValueError, match="'ab' is an ordinary token too"):
        export_files(Vocabulary((*BYTES, b"ab"), "gpt2", {"ab": 300}), "hf")
    with pytest.raises(ValueError, match="should be one of tiktoken, hf, gpt2"):
        export_files(small, "sentencepiece")


def test_patterns_between_engines() -> None:
    for name, expression in ONIGURUMA.items():
        assert (from_oniguruma(expression), to_oniguruma(name)) == (name, expression)
    for expression in (LLAMA, QWEN, RUSTBPE):
        assert canonical(expression) == from_oniguruma(expression) == to_oniguruma(expression) == expression
    assert to_oniguruma(r"^a$|[$^]|\$\^|[^$]$") == r"\Aa\z|[$^]|\$\^|[^$]\z"
    assert from_oniguruma(r"[]$]$") == r"[]$](?=\n|\z)"
    with pytest.raises(ValueError, match="engines disagree"):
        to_oniguruma(r"(?s:.+)")
    with pytest.raises(ValueError, match="engines disagree"):
        from_oniguruma(REGEX["cl100k"])


@st.composite
def merge_lists(draw: st.DrawFn, ignore_merges: bool) -> Vocabulary:
    """Tokens over three letters, merged in any order; some not made at all."""
    tokens = [b"a", b"b", b"c"]
    for _ in range(draw(st.integers(1, 8))):
        joined = draw(st.sampled_from(tokens)) + draw(st.sampled_from(tokens))
        if joined not in tokens and len(joined) < 9:
            tokens.append(joined)
    cuts = [(x, y) for x in tokens for y in tokens if x + y in tokens]
    kind = draw(st.sampled_from(["as made", "shuffled", "some"]))
    cuts.sort(key=lambda cut: tokens.index(cut[0] + cut[1]))
    if kind == "shuffled":
        cuts = draw(st.permutations(cuts))
    if kind == "some":
        cuts = [cut for cut in cuts if draw(st.booleans())]
    made = [*BYTES, *(draw(st.permutations(tokens[3:])) if draw(st.booleans()) else tokens[3:])]
    merges = tuple((made.index(x), made.index(y)) for x, y in cuts)
    return Vocabulary(tuple(made), "gpt2", {}, merges, ignore_merges)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _loaded(folder: Path, files: dict[str, bytes]) -> Vocabulary:
    _write(folder, files)
    return load_vocabulary(folder)


_CACHE: dict[tuple[str, str], Any] = {}


def _hugging_face(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    key = ("hf", vocabulary.hash)
    if key not in _CACHE:
        _CACHE[key] = tokenizers.Tokenizer.from_buffer(export_files(vocabulary, "hf")["tokenizer.json"])
    return _CACHE[key]


def _tiktoken(vocabulary: Vocabulary) -> tiktoken.Encoding:
    key = ("tiktoken", vocabulary.hash)
    if key not in _CACHE:
        export_files(vocabulary, "tiktoken")
        ranks = {token: rank for rank, token in enumerate(vocabulary.tokens) if token}
        rule = regex(vocabulary.pattern)
        _CACHE[key] = tiktoken.Encoding(
            "t", pat_str=rule, mergeable_ranks=ranks, special_tokens=vocabulary.special_tokens
        )
    return _CACHE[key]


def test_tokenizer_json_counts_where_it_lies_beside_gpt2s_files(small: Vocabulary, tmp_path: Path) -> None:
    """As in the folders of Qwen and others: only tokenizer.json says how text is split."""
    own = Vocabulary(small.tokens, "cl100k", small.special_tokens, all_cuts(small.tokens))
    for name, content in export_files(Vocabulary(own.tokens, "gpt2", own.special_tokens, own.merges), "gpt2").items():
        (tmp_path / name).write_bytes(content)
    assert load_vocabulary(tmp_path).pattern == "gpt2"
    (beside,) = export_files(own, "hf").items()
    (tmp_path / beside[0]).write_bytes(beside[1])
    assert load_vocabulary(tmp_path) == own
    with pytest.raises(ValueError, match=r"vocab\.json: tokenizer\.json beside it says how text is split; give that"):
        load_vocabulary(tmp_path / "vocab.json")
    assert load_vocabulary(tmp_path / "vocab.json", "gpt2").pattern == "gpt2"
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2Tokenizer"}')
    with pytest.raises(
        ValueError, match=r"which split rule\? tokenizer_config\.json names Qwen2Tokenizer, not GPT-2's"
    ):
        load_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2TokenizerFast"}')
    assert load_vocabulary(tmp_path).pattern == "gpt2"


WRONG: list[Any] = [None, True, -1, 10**30, 1e300, "x", "", [], {}, [[1]], {"x": [None]}, ["a b c"]]


def shapes(value: Any) -> Any:
    """The value with one part of another shape, for each part and each shape; of long lists, the first two parts."""
    yield from WRONG
    if isinstance(value, dict):
        for name in list(value)[:8]:
            yield {key: item for key, item in value.items() if key != name}
            yield from (value | {name: other} for other in shapes(value[name]))
    elif isinstance(value, list):
        for at in range(min(len(value), 2)):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in shapes(value[at]))


@contextlib.contextmanager
def _said_with(folder: Path) -> Iterator[None]:
    """An exception of the block has a message for the user, which names the folder."""
    try:
        yield
    except (ValueError, OSError) as error:
        if str(folder) not in (said(error) or ""):
            raise AssertionError("no message for the user") from error
        raise


def test_json_of_another_shape_is_an_error_that_names_the_file(small: Vocabulary, tmp_path: Path) -> None:
    vocabulary = Vocabulary(small.tokens, "cl100k", small.special_tokens, all_cuts(small.tokens))
    for to, name in (("hf", "tokenizer.json"), ("gpt2", "vocab.json"), ("", "vocab.json")):
        folder = tmp_path / f"of_{to}"
        folder.mkdir()
        if to:
            exported = vocabulary if to == "hf" else Vocabulary(vocabulary.tokens, "gpt2", {}, vocabulary.merges)
            for file, content in export_files(exported, to).items():
                (folder / file).write_bytes(content)
        else:
            save_vocabulary(vocabulary, folder)
        header = folder / name
        content = json.loads(header.read_bytes())
        for shape in shapes(content):
            header.write_text(json.dumps(shape))
            with contextlib.suppress(ValueError, FileNotFoundError), _said_with(folder):
                load_vocabulary(folder)
        for deep in ("[" * 100_000, '{"a":' * 100_000, "\0", ""):
            header.write_text(deep)
            with pytest.raises(ValueError, match=re.escape(f"{header} is ")):
                load_vocabulary(folder)
