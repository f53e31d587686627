"""`corpus dedup`, used for the first time: every command of its documentation, and likely mistakes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.store.open import storage
from corpus.store.shards import Dataset
from tests.faults import ray_cluster
from tests.support.command import answer, command, commit_documents, inside, shard_hashes
from tests.support.object_server import BUCKET, object_server
from tests.support.paths import REPOSITORY

COLUMNS = ["text", "id"]
BETWEEN = ["signatures", "keys", "bands", "blocks", "candidates", "decisions", "labels"]


def commit_texts(folder: Path, table: pa.Table, shards: int = 4, first: int = 0) -> Path:
    """Commit the texts as documents, in several shards; the ids are `<row>`."""
    texts = table["text"].to_pylist()
    for number in range(shards):
        start, end = number * len(texts) // shards, (number + 1) * len(texts) // shards
        commit_documents(folder, texts[start:end], f"s{number}", first=first + start)
    return folder


@pytest.fixture(scope="module")
def docs(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,577 real pages and edited copies of them."""
    table = pq.read_table(testdata / "neardup/docs.parquet", columns=COLUMNS)
    return commit_texts(tmp_path_factory.mktemp("dedup") / "docs", table)


@pytest.fixture(scope="module")
def few(docs: Path) -> Path:
    """A quarter of the pages, as two crawls and as one."""
    folder = docs.parent / "few"
    dataset = Dataset(docs)
    table = dataset.table(dataset.files("documents")[0])
    half = table.num_rows // 2
    commit_texts(folder / "old", table.slice(0, half), 2)
    commit_texts(folder / "new", table.slice(half), 2, first=half)
    commit_documents(folder / "both", table["text"].to_pylist()[:half], "a")
    commit_documents(folder / "both", table["text"].to_pylist()[half:], "b", first=half)
    return folder


@pytest.fixture(scope="module")
def unique(docs: Path) -> Path:
    output = docs.parent / "unique"
    inside("corpus", "dedup", docs, "-o", output)
    return output


def rows(folder: Path | str, kind: str = "documents") -> list[dict[str, Any]]:
    dataset = Dataset(folder)
    return [row for output in dataset.files(kind) for row in dataset.table(output).to_pylist()]


def kept(folder: Path | str) -> set[str]:
    return {row["id"] for row in rows(folder)}


def results(folder: Path) -> dict[str, str]:
    """sha256 of all files that users read."""
    return {name: digest for name, digest in shard_hashes(folder).items() if "_dedup" not in name}


def similarity(one: str, other: str) -> float:
    """The similarity as docs/dedup.md defines it."""

    def ngrams(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}

    return len(ngrams(one) & ngrams(other)) / len(ngrams(one) | ngrams(other))


def test_what_is_dropped_is_as_similar_as_its_row_says_to_a_document_that_stays(docs: Path, unique: Path) -> None:
    texts = {row["id"]: row["text"] for row in rows(docs)}
    stay, dropped = rows(unique), rows(unique, "dropped")
    assert len(stay) + len(dropped) == len(texts)
    assert sum(row["minhash_cluster_size"] for row in stay) == len(texts)
    assert {row["duplicate_of"] for row in dropped} <= {row["id"] for row in stay}
    for row in dropped:
        assert float(row["value"]) == pytest.approx(similarity(texts[row["id"]], texts[row["duplicate_of"]]), abs=0.01)
        assert float(row["value"]) >= 0.75
        assert row["rule"] in ("dedup.exact", "dedup.minhash")


def test_hardly_any_pair_of_duplicates_stays(testdata: Path, docs: Path, unique: Path) -> None:
    stay = kept(unique)
    names = pq.read_table(testdata / "neardup/docs.parquet", columns=["id"])["id"].to_pylist()
    number = {name: f"<{row}>" for row, name in enumerate(names)}
    pairs = pq.read_table(testdata / "neardup/pairs.parquet").to_pylist()
    for similar, share in ((0.8, 0.0005), (0.75, 0.003)):
        alike = [{number[pair["a"]], number[pair["b"]]} for pair in pairs if pair["jaccard"] >= similar]
        assert sum(pair <= stay for pair in alike) <= share * len(alike)


def test_a_second_call_does_nothing_and_says_so(docs: Path, unique: Path) -> None:
    before = shard_hashes(unique)
    told = inside("corpus", "dedup", docs, "-o", unique).stderr.splitlines()
    assert [line.split(": nothing to do")[0] for line in told] == [*BETWEEN, "dedup"]
    assert shard_hashes(unique) == before


def test_memory_and_workers_do_not_change_the_documents(docs: Path, unique: Path, tmp_path: Path) -> None:
    done = inside("corpus", "dedup", docs, "-o", tmp_path / "out", "--memory", "16", "--workers", "1")
    assert "decisions: 4 of 4 units" in done.stderr
    assert results(tmp_path / "out") == results(unique)


def test_fineweb_keeps_the_first_of_all_that_is_connected(docs: Path, tmp_path: Path) -> None:
    inside("corpus", "dedup", docs, "-o", tmp_path / "out", "--preset", "fineweb")
    stay, dropped = kept(tmp_path / "out"), rows(tmp_path / "out", "dropped")
    assert len(stay) == 2606
    assert all(int(row["duplicate_of"][1:-1]) < int(row["id"][1:-1]) for row in dropped)
    told = inside("corpus", "clusters", tmp_path / "out", "--id", dropped[0]["id"], "--no-diff").stdout
    assert "unverified: " in told


def test_changed_settings(few: Path, tmp_path: Path) -> None:
    flags = ["--threshold", "0.8", "--bands", "18", "--rows", "6", "--keep", "first"]
    inside("corpus", "dedup", few / "both", "-o", tmp_path / "first", *flags)
    dropped = rows(tmp_path / "first", "dropped")
    assert {row["threshold"] for row in dropped if row["rule"] == "dedup.minhash"} == {"0.8"}
    assert all(float(row["value"]) >= 0.8 for row in dropped)
    assert all(int(row["duplicate_of"][1:-1]) < int(row["id"][1:-1]) for row in dropped)
    inside("corpus", "dedup", few / "both", "-o", tmp_path / "score", "--keep", "score:warc_offset")
    dropped = rows(tmp_path / "score", "dropped")
    assert dropped
    assert all(int(row["duplicate_of"][1:-1]) > int(row["id"][1:-1]) for row in dropped)


def test_two_crawls_with_an_index_keep_what_one_run_keeps(few: Path, tmp_path: Path) -> None:
    """Two crawls, the second against the index of the first, keep what one run over both keeps, the older first."""
    flags: list[str | Path] = ["--keep", "first", "--against", tmp_path / "index", "--update-index"]
    inside("corpus", "dedup", few / "old", "-o", tmp_path / "old", *flags)
    done = inside("corpus", "dedup", few / "new", "-o", tmp_path / "new", *flags)
    assert done.stderr.splitlines()[-1].startswith("index: 2 of 2 units done")
    inside("corpus", "dedup", few / "both", "-o", tmp_path / "both", "--keep", "first")
    assert kept(tmp_path / "old") | kept(tmp_path / "new") == kept(tmp_path / "both")
    published = {row["id"] for row in rows(tmp_path / "index", "signatures")}
    assert published == kept(tmp_path / "both")
    before = shard_hashes(tmp_path)
    told = inside("corpus", "dedup", few / "new", "-o", tmp_path / "new", *flags).stderr.splitlines()
    assert all("nothing to do" in line for line in told)
    assert shard_hashes(tmp_path) == before
    # Who asks why a page of the new crawl is gone is told of its twin in the index.
    gone = next(row for row in rows(tmp_path / "new", "dropped") if row["duplicate_of"] in kept(tmp_path / "old"))
    told = inside("corpus", "clusters", tmp_path / "new", "--id", gone["id"]).stdout.splitlines()
    assert f"{gone['duplicate_of']}, which is in the index" in told[1]


def test_labels_only_say_what_would_be_dropped(docs: Path, unique: Path, tmp_path: Path) -> None:
    inside("corpus", "dedup", docs, "-o", tmp_path / "labels", "--labels-only")
    labels = rows(tmp_path / "labels", "labels")
    assert [row["id"] for row in labels] == [row["id"] for row in rows(docs)]
    assert {row["id"] for row in labels if row["keep"]} == kept(unique)
    dropped = {row["id"]: row for row in rows(unique, "dropped")}
    assert all(
        (row["rule"], row["representative"]) == (dropped[row["id"]]["rule"], dropped[row["id"]]["duplicate_of"])
        for row in labels
        if not row["keep"]
    )


def with_notice(few: Path, folder: Path) -> Path:
    """Half of the pages end with the same two lines."""
    table = Dataset(few / "both").table(Dataset(few / "both").files("documents")[0])
    ends = ["", "\nRead our notice on cookies\nAll rights are reserved here"]
    texts = [f"{text}{ends[number % 2]}" for number, text in enumerate(table["text"].to_pylist())]
    commit_documents(folder, texts)
    return folder


def test_lines_go_from_all_documents_but_the_first(few: Path, tmp_path: Path) -> None:
    given = with_notice(few, tmp_path / "docs")
    inside("corpus", "dedup", given, "-o", tmp_path / "plain")
    told = inside("corpus", "dedup", given, "-o", tmp_path / "out", "--lines").stderr.splitlines()
    assert [line.split(":")[0] for line in told[-4:]] == ["hashes", "repeated", "table", "lines"]
    assert kept(tmp_path / "out/_dedup/unique") == kept(tmp_path / "plain")
    before = {row["id"]: row["text"] for row in rows(tmp_path / "plain")}
    noticed = [row for row in rows(tmp_path / "out") if "Read our notice" in row["text"]]
    first = next(name for name, text in before.items() if "Read our notice" in text)
    assert [row["id"] for row in noticed] == [first]
    for row in rows(tmp_path / "out"):
        lines = (line.strip() for line in before[row["id"]].split("\n"))
        assert all(line.strip() in lines for line in row["text"].split("\n"))
        assert row["lines_removed"] >= ("Read our notice" in before[row["id"]] and row["id"] != first)


def test_lines_exact_compares_digits_and_may_keep_what_becomes_empty(tmp_path: Path) -> None:
    texts = [f"Here is page {page} of it{end}" for page, end in ((1, ""), (2, ""), (3, ""), (3, "\n\n!"))]
    commit_documents(tmp_path / "docs", texts)
    flags = ["--line-documents", "2", "--line-min-kept-words", "0"]

    def left(name: str, *more: str) -> list[str]:
        inside("corpus", "dedup", *flags, *more, tmp_path / "docs", "-o", tmp_path / name)
        return [row["text"] for row in rows(tmp_path / name)]

    assert left("folded", "--lines") == [texts[0], "", "", "!"]
    assert left("exact", "--lines", "exact") == [*texts[:3], "!"]


def test_a_recipe_of_both_and_an_index(few: Path, tmp_path: Path) -> None:
    given = with_notice(few, tmp_path / "docs")
    (tmp_path / "mine.toml").write_text('[dedup]\npreset = "fineweb"\n[lines]\ndocuments = 7\n')
    flags: list[str | Path] = ["--against", tmp_path / "index", "--update-index"]
    recipe: list[str | Path] = ["run", tmp_path / "mine.toml", "--input", given]
    inside("corpus", *recipe, "-o", tmp_path / "run", *flags)
    inside("corpus", "dedup", given, "-o", tmp_path / "out", "--preset", "fineweb", "--lines")
    assert kept(tmp_path / "run/unique") == kept(tmp_path / "out/_dedup/unique")
    assert [row["text"] for row in rows(tmp_path / "run/clean")] == [row["text"] for row in rows(tmp_path / "out")]
    inside("corpus", "run", tmp_path / "mine.toml", "--input", few / "new", "-o", tmp_path / "run2", *flags)
    inside("corpus", "run", tmp_path / "mine.toml", "--input", given, "-o", tmp_path / "again", *flags[:2])
    assert kept(tmp_path / "again/unique") == set()
    for folder in ("run", "run2", "again", "index"):
        assert answer("corpus", "verify", tmp_path / folder)["problems"] == []


def test_json_for_programs(few: Path, tmp_path: Path) -> None:
    told = answer("corpus", "dedup", few / "old", "-o", tmp_path / "out")
    assert (told["ok"], told["waiting"]) == (True, None)
    assert [item["pass"] for item in told["passes"]] == [*BETWEEN, "dedup"]
    (account,) = told["passes"][-1]["stages"]
    assert account["kept"] == len(kept(tmp_path / "out"))
    assert account["read"] == account["kept"] + sum(account["dropped"].values())


def test_many_tasks_that_wait_write_the_same_bytes_as_one(docs: Path, unique: Path, tmp_path: Path) -> None:
    line = ["dedup", str(docs), "-o", str(tmp_path / "out"), "--workers", "1"]
    told = inside("corpus", *line, "--units", "2/2").stderr.splitlines()
    assert told[-1].startswith(f"waiting: {tmp_path}/out/_dedup/signatures: 2 of 4 units are with other tasks, e.g. s0")
    base = [sys.executable, "-m", "corpus", *line, "--wait", "10", "--units"]
    tasks = [subprocess.Popen([*base, f"{task}/2"], cwd=REPOSITORY, stderr=subprocess.DEVNULL) for task in (1, 2)]
    assert [task.wait(600) for task in tasks] == [0, 0]
    assert shard_hashes(tmp_path / "out") == shard_hashes(unique)


def refused(*arguments: str | Path, code: int = 1) -> str:
    """The one line that a command ends with."""
    (line,) = inside("corpus", "dedup", *arguments, code=code).stderr.splitlines()
    return line


def test_another_setting_needs_another_folder(few: Path, tmp_path: Path) -> None:
    inside("corpus", "dedup", few / "old", "-o", tmp_path / "out")
    before = shard_hashes(tmp_path)
    line = refused(few / "old", "-o", tmp_path / "out", "--threshold", "0.8")
    assert "dedup.threshold is 0.75 there, 0.8 here; use another output folder" in line
    assert "holds unit u, which is none of this call's" not in line
    line = refused(few / "new", "-o", tmp_path / "out")
    assert f"{tmp_path}/out/_dedup/signatures: unit s0 was made from {few}/old/data/s0-" in line
    assert shard_hashes(tmp_path) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--keep", "best"], "keep = 'best': should be longest, first or score:COLUMN"),
        (["--keep", "score:"], "keep = 'score:': should be longest, first or score:COLUMN"),
        (["--preset", "unknown"], "'unknown' is not one of 'verified', 'fineweb'"),
        (["--update-index"], "say which index, with --against DIR"),
        (["--threshold", "80"], "threshold = 80.0: should be between 0.01 and 1"),
        (["--no-exact", "--no-minhash"], "leave one of the two on"),
        (["--memory", "1"], "1 is not in the range x>=16"),
        (["--labels-only", "--lines"], "give --labels-only or --lines, not both"),
        (["--line-match", "exact"], "--line-match: is a setting of --lines; say --lines as well"),
        (["--lines", "exact", "--line-match", "numbers"], "give --lines exact or --line-match, not both"),
    ],
)
def test_flags_that_make_no_sense_are_wrong_usage(few: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    assert message in refused(few / "old", "-o", tmp_path / "out", *flags, code=2)
    assert not (tmp_path / "out").exists()


def test_wrong_folders_are_refused(few: Path, unique: Path, tmp_path: Path) -> None:
    def told(*arguments: str | Path) -> str:
        line = refused(*arguments)
        assert not (tmp_path / "out").exists()
        return line.removeprefix("corpus: ")

    old, out = few / "old", tmp_path / "out"
    (tmp_path / "empty").mkdir()
    before = shard_hashes(old)
    assert told(tmp_path / "empty", "-o", out).startswith(f"{tmp_path}/empty: holds no files to read")
    assert told(tmp_path / "nothing", "-o", out) == f"{tmp_path}/nothing: no such file or directory; check the name"
    assert told(old, "-o", out, "--keep", "score:text").startswith("keep = 'score:text': the documents' column text is")
    assert told(old, "-o", out, "--against", tmp_path / "index").endswith(
        "make one with --update-index, from published documents"
    )
    assert "no index, unit s0 was made by dedup" in told(old, "-o", out, "--against", unique)
    for index in (old, out, f"{out}/_dedup/keys"):
        assert told(old, "-o", out, "--against", index, "--update-index").endswith("needs a folder of its own")
    for flags in ([], ["--lines"], ["--labels-only"]):
        line = inside("corpus", "dedup", old, "-o", old, *flags, code=2).stderr
        assert line == f"corpus: {old}: is the input too; name another output\n"
    assert shard_hashes(old) == before
    assert not (old / "_dedup").exists()


def test_a_shard_that_vanished_is_named_and_what_was_done_stays(few: Path, tmp_path: Path) -> None:
    shutil.copytree(few / "old", tmp_path / "docs")
    (gone,) = (tmp_path / "docs/data").glob("s1-*")
    shutil.move(gone, tmp_path / "aside")
    done = inside("corpus", "dedup", tmp_path / "docs", "-o", tmp_path / "out", code=1)
    assert f"FAILED s1: {gone}: No such file or directory; check the name" in done.stderr
    assert "corpus: " not in done.stderr
    line = inside("corpus", "clusters", tmp_path / "out", "--largest", "1", code=1).stderr
    assert line == f"corpus: {tmp_path}/out: the deduplication is not finished; run it again, and it goes on\n"
    shutil.move(tmp_path / "aside", gone)
    done = inside("corpus", "dedup", tmp_path / "docs", "-o", tmp_path / "out")
    assert "signatures: 1 of 2 units done, 1 done before" in done.stderr


def test_an_object_store_and_ray_hold_the_same_bytes(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    flags: list[str | Path] = ["--keep", "first", "--lines", "--against"]
    for name in ("old", "new"):
        inside("corpus", "dedup", few / name, "-o", tmp_path / name, *flags, tmp_path / "index", "--update-index")
    with object_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
            monkeypatch.setitem(ray_cluster.ENVIRONMENT, name, value)
        store = f"s3://{BUCKET}/crawls"
        place = storage(store)
        for path in sorted(few.rglob("*.*")):
            place.publish(path, f"docs/{path.relative_to(few)}")
        with ray_cluster.head("127.0.0.4", 2) as node, ray_cluster.environment(node):
            for name, engine in (("old", "local"), ("new", "ray")):
                line = ["dedup", f"{store}/docs/{name}/", "-o", f"{store}/{name}", *flags, f"{store}/index/"]
                command("corpus", *line, "--update-index", "--engine", engine)
        for name in ("old", "new", "index"):
            assert answer("corpus", "verify", f"{store}/{name}")["problems"] == []
            expected = shard_hashes(tmp_path / name)
            found = {key: hashlib.sha256(place.read(f"{name}/{key}") or b"").hexdigest() for key in expected}
            assert found == expected
        twins = rows(tmp_path / "new/_dedup/unique", "dropped")
        for asked in (["--id", twins[0]["id"]], ["--largest", "3"]):
            told = inside("corpus", "clusters", f"{store}/new", *asked).stdout
            assert told == inside("corpus", "clusters", tmp_path / "new", *asked).stdout


def test_the_summary_of_a_pass_says_what_its_stage_counted(tmp_path: Path) -> None:
    commit_documents(tmp_path / "docs", ["!!! ???", "some words are here", "..."])
    done = inside("corpus", "dedup", tmp_path / "docs", "-o", tmp_path / "unique")
    assert "(3 read, 3 kept; 2 without words)" in done.stderr
