"""Multiple choice: reading questions, encoding them, and scores equal to those of one ending at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import model.choices
from bpe.files import save_vocabulary
from bpe.train import train
from bpe.vocabulary import Vocabulary
from model.checkpoint import save
from model.choices import Question, clean, count_choices, encode, evaluate_choices, log_likelihoods, parse_question
from model.cli import main
from model.config import as_dict
from model.gpt import GPT
from model.tokenizer import Tokenizer
from tests.oracles.model_scores import ending_log_likelihood
from tests.support.model_shards import small_model, write_shard

TEXTS = [
    "The cat sat on the mat. The dog sat by the door. The bird sat in the tree.",
    "A man is sitting on a roof. He starts pulling up roofing on a roof.",
    "Wie schön! Grüße aus Köln, à bientôt, 数据 und mehr.",
]
ROW = {"activity_label": "Roof", "ctx_a": "A man sits.", "ctx_b": "he", "endings": ["falls.", "sings."], "label": 1}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(train(TEXTS * 3, 300))


@pytest.fixture(scope="module")
def gpt(tokenizer: Tokenizer) -> GPT:
    """A model with large random weights, so that its logits differ clearly."""
    model = GPT(small_model(vocab_size=tokenizer.vocabulary.size, context=24), seed=1)
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=generator)
    return model


# --- the file ----------------------------------------------------------------------------------------------


def parsed(row: Any) -> Question:
    return parse_question(json.dumps(row).encode())


def without(row: dict[str, Any], *fields: str, **changes: Any) -> dict[str, Any]:
    return {field: value for field, value in {**row, **changes}.items() if field not in fields}


def test_hellaswag_is_put_together_as_the_harness_does() -> None:
    assert parsed(ROW) == Question("Roof: A man sits. He", ("falls.", "sings."), 1)
    wikihow = {
        "activity_label": "Home and Garden",
        "ctx_a": "[header] How to clean [title] Wipe it. [step] Use  a cloth.",
        "ctx_b": "",
        "endings": ["[substeps] Dry it.", " Wet it [title] Again."],
        "label": "0",
    }
    context = "Home and Garden: How to clean. Wipe it. Use a cloth."
    assert parsed(wikihow) == Question(context, (" Dry it.", "Wet it. Again."), 0)
    assert clean("a   b") == "a  b"  # one pass, which leaves two spaces


def test_other_forms() -> None:
    plain = {"ctx": "A man [title] sits.", "endings": ["falls.", "[x] sings."], "label": 0}
    assert parsed(plain) == Question("A man [title] sits.", ("falls.", "[x] sings."), 0)
    assert parsed({"query": "q", "choices": ["a", "b"], "gold": 1}) == Question("q", ("a", "b"), 1)
    assert parsed({"question": "q", "choices": ["a", "b"], "answer": 1}) == Question("q", ("a", "b"), 1)
    arc = {"question": "Why?", "choices": {"text": ["a", "b", "c"], "label": ["1", "2", "3"]}, "answerKey": "3"}
    assert parsed(arc) == Question("Question: Why?\nAnswer:", ("a", "b", "c"), 2)
    book = {"question_stem": "The sun", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}
    assert parsed(book) == Question("The sun", ("a", "b"), 0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (without(ROW, "label"), "label is missing"),
        (without(ROW, label=""), "label is missing (test sets are often published without)"),
        (without(ROW, label=2), "label: 2 should be a number from 0 to 1"),
        (without(ROW, label=True), "label: True should be a number from 0 to 1"),
        (without(ROW, label="B"), "label: 'B' should be a number from 0 to 1"),
        (without(ROW, endings=["one"]), "endings: should be two or more texts"),
        (without(ROW, endings="one"), "endings: should be two or more texts"),
        (without(ROW, ctx_a=None), "ctx_a: should be a text"),
        (without(ROW, "ctx_a"), "ctx is missing"),
        ({"query": "q", "gold": 1}, "choices is missing"),
        ({"query": "q", "choices": ["a", "b"]}, "gold is missing"),
        ({"question": "q", "choices": {"text": ["a", "b"]}, "answerKey": "A"}, "label is missing"),
        (
            {"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "E"},
            "answerKey: 'E' should be one of the 2 labels of the choices",
        ),
        ({"text": "x"}, "has none of the fields endings, query, question, question_stem"),
        ([1], "not a JSON object"),
    ],
)
def test_malformed_lines_say_what_is_wrong(row: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n\n{json.dumps(row)}\n", "utf-8")
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the whole message is compared
        model.choices.read_questions(path)
    assert str(caught.value).startswith(f"{path}, line 3: {message}")


def test_lines_that_are_no_json_and_empty_files(tmp_path: Path) -> None:
    for content, message in ((b'{"ctx": "cut', "line 1: not a JSON"), (b"\xff\xfe{", "line 1: not a JSON")):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            model.choices.read_questions(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"\n\n")
    with pytest.raises(ValueError, match="holds no examples"):
        model.choices.read_questions(tmp_path / "x")


# --- the scores --------------------------------------------------------------------------------------------


@given(context=st.text(max_size=30), ending=st.text(min_size=1, max_size=20))
def test_boundary_lies_where_the_texts_meet(tokenizer: Tokenizer, context: str, ending: str) -> None:
    row = encode(tokenizer, context, ending)
    assert row.ids[0] == tokenizer.vocabulary.end_of_text
    assert row.ids[1:] == tokenizer.encode(f"{context} {ending}")
    assert 1 <= row.scored < len(row.ids)
    before, own = row.ids[1 : -row.scored], row.ids[-row.scored :]
    whole = tokenizer.vocabulary.decode(row.ids[1:])
    kept = tokenizer.vocabulary.decode(before)
    assert len(kept) <= len(context.encode()) < len(kept) + len(tokenizer.vocabulary.tokens[own[0]])
    assert whole == f"{context} {ending}".encode()
    if context and not context[-1].isspace() and not ending[0].isspace():
        assert before == tokenizer.encode(context)  # a space begins a pretoken, so that no merge crosses it


def brute_force(gpt: GPT, tokenizer: Tokenizer, example: Question) -> list[float]:
    @torch.no_grad()
    def logits(ids: Sequence[int]) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = gpt.logits(torch.tensor([list(ids)]))[0].double().numpy()
        return found

    context = tokenizer.encode(example.context)
    end_of_text, most = tokenizer.vocabulary.end_of_text, gpt.config.context
    return [
        ending_log_likelihood(logits, context, tokenizer.encode(f" {ending}"), end_of_text, most)
        for ending in example.endings
    ]


def random_questions(count: int, seed: int) -> list[Question]:
    random = np.random.default_rng(seed)
    words = " ".join(TEXTS).split()

    def phrase(least: int, most: int) -> str:
        return " ".join(random.choice(words, random.integers(least, most)))

    examples = []
    for _ in range(count):
        endings = tuple(phrase(1, 5) for _ in range(random.integers(2, 5)))
        examples.append(Question(phrase(0, 8), endings, int(random.integers(len(endings)))))
    return examples


@pytest.mark.parametrize("tile", [1, 8, 64])
def test_batches_score_what_one_ending_at_a_time_does(
    gpt: GPT, tokenizer: Tokenizer, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.choices, "TILE", tile)
    monkeypatch.setattr(model.choices, "micro_batch_tokens", lambda device, config: 100)  # several forward passes
    examples = [*random_questions(25, seed=3), Question("The cat sat " * 9, ("on the mat.", "by the door " * 9), 0)]
    by_hand = [brute_force(gpt, tokenizer, example) for example in examples]
    right, right_by_length = 0, 0
    for example, likelihoods in zip(examples, by_hand, strict=True):
        right += max(range(len(likelihoods)), key=lambda n: likelihoods[n]) == example.label
        normed = [score / len(ending) for score, ending in zip(likelihoods, example.endings, strict=True)]
        right_by_length += max(range(len(normed)), key=lambda n: normed[n]) == example.label
    counts = evaluate_choices(gpt, tokenizer, examples)
    assert counts.examples == 26
    assert counts.acc == right / 26
    assert counts.acc_norm == right_by_length / 26
    assert counts.acc_stderr == pytest.approx((counts.acc * (1 - counts.acc) / 25) ** 0.5)
    assert counts.chance == pytest.approx(sum(1 / len(example.endings) for example in examples) / 26)
    assert counts.shortened >= 2
    rows = [encode(tokenizer, example.context, ending) for example in examples[:-1] for ending in example.endings]
    fitting = [row for row in rows if len(row.ids) <= 25]
    ours = log_likelihoods(gpt, fitting, 0)
    flat = [score for scores in by_hand[:-1] for score in scores]
    theirs = [score for score, row in zip(flat, rows, strict=True) if len(row.ids) <= 25]
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_cut_from_the_left(gpt: GPT, tokenizer: Tokenizer) -> None:
    """If a text is too long, the beginning of the context is cut; of a too long ending only the end is scored."""
    for context, ending in (("The cat sat on the mat. " * 8, "The dog."), ("A man", "sat by the door " * 12)):
        example = Question(context.strip(), (ending.strip(), "x"), 0)
        row = encode(tokenizer, example.context, example.endings[0])
        assert len(row.ids) > 25
        cut = model.choices.EncodedEnding(row.ids[-25:], min(row.scored, 24))
        [ours] = log_likelihoods(gpt, [cut], 0)
        assert ours == pytest.approx(brute_force(gpt, tokenizer, example)[0], rel=1e-5)
        assert evaluate_choices(gpt, tokenizer, [example]).shortened >= 1


def test_characters_and_bytes() -> None:
    # -6 over 2 characters of 4 bytes, -5 over 3 of 3
    example = Question("", ("éé", "abc"), 0)
    counts = count_choices([example], np.array([-6.0, -5.0]))
    assert (counts.acc, counts.acc_norm, counts.acc_bytes) == (0.0, 0.0, 1.0)
    assert (counts.acc_stderr, counts.chance) == (None, 0.5)


@pytest.mark.gpu
def test_choices_on_cuda_agree(gpt: GPT, tokenizer: Tokenizer) -> None:
    rows = [encode(tokenizer, example.context, example.endings[0]) for example in random_questions(40, seed=5)]
    fitting = [row for row in rows if len(row.ids) <= 25]
    theirs = log_likelihoods(gpt, fitting, 0)
    on_cuda = GPT(gpt.config)
    on_cuda.load_state_dict(gpt.state_dict())
    ours = log_likelihoods(on_cuda.cuda(), fitting, 0)
    assert ours == pytest.approx(theirs, rel=0.05)  # products in bf16


# --- the command -------------------------------------------------------------------------------------------

SENTENCES = ["the cat sat on the mat", "the dog sat by the door", "the bird sat in the tree"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model has memorised three sentences."""
    vocabulary = Vocabulary(tuple(bytes([b]) for b in range(256)), "gpt2", {"<|endoftext|>": 256})
    gpt = GPT(small_model(vocab_size=257, context=32), seed=0)
    optimizer = torch.optim.AdamW(gpt.parameters(), 5e-3)
    rows = torch.full((3, 33), 256)
    for row, sentence in zip(rows, SENTENCES, strict=True):
        row[1 : 1 + len(sentence)] = torch.tensor(list(sentence.encode()))
    for _ in range(60):
        loss = gpt(rows[:, :-1], rows[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1
    run = tmp_path_factory.mktemp("runs") / "learnt"
    run.mkdir()
    data = {"fingerprint": "f" * 64, "tokenizer_hash": vocabulary.hash, "end_of_text": 256}
    state = {"model": as_dict(gpt.config), "train": None, "data": data, "weights": gpt.state_dict()}
    save(run, 60, state, 1)
    save_vocabulary(vocabulary, run / "tokenizer")
    return run


@pytest.fixture(scope="module")
def questions(run: Path) -> Path:
    rows = [
        {"ctx": "the cat sat", "endings": ["by the door", "in the tree", "on the mat", "on the moon"], "label": 2},
        {"ctx": "the dog", "endings": ["sat by the door", "sat on the mat", "ate", "sat in the tree"], "label": "0"},
        {"ctx": "the bird sat in", "endings": ["the mat", "the tree", "a tree", "the door"], "label": 1},
    ]
    path = run.parent / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def run_eval(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["eval", *(str(argument) for argument in arguments), "--device", "cpu"])


def test_model_chooses_what_it_has_learnt(run: Path, questions: Path) -> None:
    result = run_eval(run, "--choices", questions, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert set(answer) == {"run", "step", "choices"}
    [counts] = answer["choices"]
    assert counts["file"] == str(questions)
    assert (counts["examples"], counts["acc"], counts["acc_norm"], counts["acc_stderr"]) == (3, 1.0, 1.0, 0.0)
    assert counts["chance"] == 0.25
    wrong = questions.with_name("wrong.jsonl")
    wrong.write_text(questions.read_text("utf-8").replace('"label": 2', '"label": 3'), "utf-8")
    [counts] = json.loads(run_eval(run, "--choices", wrong, "--json").stdout)["choices"]
    assert counts["acc"] == pytest.approx(2 / 3)
    assert counts["acc_stderr"] == pytest.approx((2 / 9 / 2) ** 0.5)


def test_tables_of_data_and_choices(run: Path, questions: Path, tmp_path: Path) -> None:
    documents = [list(sentence.encode()) for sentence in SENTENCES]
    tokens_hash = Tokenizer(Vocabulary(tuple(bytes([b]) for b in range(256)), "gpt2", {"<|endoftext|>": 256}))
    write_shard(tmp_path / "tokens/a.parquet", documents, 257, 256, tokens_hash.vocabulary.hash)
    result = run_eval(run, "--data", f"learnt={tmp_path}/tokens", "--choices", questions, "--choices", questions)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1].split()[:4] == ["learnt", "all", "72", "69"]
    assert lines[2] == ""
    assert lines[3].split() == ["choices", "examples", "chance", "acc", "acc_norm", "acc_bytes"]
    assert lines[4].split()[1:6] == ["3", "25.00%", "100.00%", "±", "0.00%"]
    assert lines[5] == lines[4]
    assert max(map(len, lines)) <= 100


def test_choices_errors_are_one_line(run: Path, questions: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"ctx": "x", "endings": ["a", "b"]}\n', "utf-8")
    result = run_eval(run, "--choices", bad)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"model: {bad}, line 1: label is missing")
    assert len(result.stderr.splitlines()) == 1
    result = run_eval(run, "--choices", tmp_path / "none")
    assert result.exit_code == 2
    assert "none' does not exist" in result.stderr
    long = tmp_path / "long.jsonl"
    long.write_text(json.dumps({"ctx": "the cat " * 9, "endings": ["sat", "ate"], "label": 0}) + "\n", "utf-8")
    result = run_eval(run, "--choices", long)
    assert result.exit_code == 0
    assert result.stderr == f"{long}: 2 texts longer than the model's context lost their beginning\n"
    (tmp_path / "bare").mkdir()
    for path in run.glob("*.pt"):
        (tmp_path / "bare" / path.name).write_bytes(path.read_bytes())
    result = run_eval(tmp_path / "bare", "--choices", questions)
    assert result.exit_code == 1
    assert "holds no tokenizer" in result.stderr
