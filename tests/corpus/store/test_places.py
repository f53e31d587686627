"""Files of a run are named relative to it, all others by their whole path, and both are found after a move."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from corpus.dedup.results import find_url, load, open_deduplication
from corpus.store.places import Places, recorded
from corpus.store.records import Input
from corpus.store.shards import Dataset
from tests.support.command import answer, commit_rows, inside

TEXT = "The ship came home to the old harbour at dawn, and the crew went ashore to see their families again."


def test_names_in_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "recipe.toml").touch()
    monkeypatch.chdir(tmp_path)
    for out in ("out", f"{tmp_path}/out", f"file://{tmp_path}/out"):
        assert recorded("out/documents/data/u.parquet", f"{out}/clean") == "documents/data/u.parquet"
        assert recorded(f"{tmp_path}/out/documents", f"{out}/clean") == "documents"
        assert recorded("crawl/a.warc.gz", f"{out}/documents") == f"{tmp_path}/crawl/a.warc.gz"
    assert recorded("docs/data/u.parquet", "unique/_dedup/signatures") == f"{tmp_path}/docs/data/u.parquet"
    assert recorded("unique/_dedup/keys", "unique/_dedup/bands") == "_dedup/keys"
    assert recorded("unique/_dedup/labels/data/u.parquet", "unique") == "_dedup/labels/data/u.parquet"
    assert recorded("docs/data/u.parquet", "unique") == f"{tmp_path}/docs/data/u.parquet"
    assert recorded("s3://bucket/crawl/a.warc.gz", "out/documents") == "s3://bucket/crawl/a.warc.gz"
    assert recorded("s3://bucket/u/_dedup/keys", "s3://bucket/u/_dedup/bands") == "_dedup/keys"


def test_files_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tmp_path / "out" / "documents" / "data" / "u.parquet"
    shard.parent.mkdir(parents=True)
    shard.write_text("12345")
    places = Places(f"{tmp_path}/out/signatures")
    for path in (
        str(shard),
        "documents/data/u.parquet",
        "/gone/out/documents/data/u.parquet",
        "../out/documents/data/u.parquet",
    ):
        assert places.locate(Input(path, 5, "")) == str(shard)
    other = Input("/gone/documents/data/u.parquet", 6, "")  # of another size
    assert Places(f"{tmp_path}/out/signatures").locate(other) == other.path
    monkeypatch.chdir(tmp_path / "out")
    relative = Input("documents/data/u.parquet", 5, "")  # an old record, and another folder has its documents
    assert Places("/tmp/elsewhere/_dedup/signatures").locate(relative) == relative.path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which documents were deduplicated, by relative paths."""
    project = tmp_path / "project"
    rows = [{"id": f"<{number}>", "url": f"https://a.example/{number}", "text": TEXT} for number in range(3)]
    commit_rows(project / "docs", rows)
    inside("corpus", "dedup", "docs", "-o", "unique", "--workers", "1", cwd=project)
    return project


def explained(folder: Path, cwd: Path) -> str:
    done = inside("corpus", "clusters", folder, "--url", "https://a.example/1", cwd=cwd)
    assert "is not there" not in done.stdout + done.stderr
    return done.stdout


def test_a_deduplication_is_read_from_any_folder(project: Path, tmp_path: Path) -> None:
    expected = explained(Path("unique"), project)
    assert "The same 20 words" in expected
    assert explained(project / "unique", tmp_path) == expected
    shutil.move(project / "unique", tmp_path / "alone")  # its documents stay
    assert explained(Path("alone"), tmp_path) == expected
    shutil.move(tmp_path / "alone", project / "unique")
    shutil.move(project, tmp_path / "moved")
    assert explained(Path("moved/unique"), tmp_path) == expected


def test_old_records(project: Path, tmp_path: Path) -> None:
    for name in ("docs", f"{project}/docs"):
        shutil.copytree(project, tmp_path / "copy", dirs_exist_ok=True)
        (record,) = (tmp_path / "copy/unique/_dedup/signatures/_units").iterdir()
        fields = json.loads(record.read_text().replace(f"{project}/docs", name))
        del fields["checksum"]  # records of format 1 have none
        record.write_text(json.dumps(fields | {"format": 1}))
        (tmp_path / "copy/unique/_dedup/signatures/_manifest.parquet").unlink(missing_ok=True)
        done = open_deduplication(str(tmp_path / "copy" / "unique"))
        place = find_url(done, "https://a.example/2")
        assert load(done, [place])[1] is None


def test_a_run_that_was_moved(tmp_path: Path) -> None:
    recipe = "[extract]\n[gopher_quality]\nmin_words = 5\n[dedup]\n"
    (tmp_path / "mine.toml").write_text(recipe)
    page = f"<html><body><p>{TEXT}</p><p>{TEXT.upper()}</p></body></html>"
    with (tmp_path / "a.warc").open("w", newline="") as file:
        for number in range(2):
            fields = f"WARC-Type: resource\r\nWARC-Target-URI: https://a.example/{number}\r\nContent-Type: text/html"
            file.write(f"WARC/1.0\r\n{fields}\r\nContent-Length: {len(page)}\r\n\r\n{page}\r\n\r\n")
    inside("corpus", "run", "mine.toml", "--input", "a.warc", "-o", "out", "--workers", "1", cwd=tmp_path)
    for folder in sorted((tmp_path / "out").glob("*/_units")):
        for record in Dataset(folder.parent).records():
            below = [file.path for file in record.inputs if "a.warc" not in file.path]
            assert all((tmp_path / "out" / path).exists() and not path.startswith("/") for path in below), below
    (tmp_path / "deep").mkdir()
    shutil.move(tmp_path / "out", tmp_path / "deep" / "moved")
    told = answer("corpus", "clusters", tmp_path / "deep" / "moved", "--url", "https://a.example/1")
    assert (told["missing"], told["cluster_size"]) == (None, 2)
    assert told["ngrams"]
    again = inside(
        "corpus", "run", "mine.toml", "--input", "a.warc", "-o", "deep/moved", "--workers", "1", cwd=tmp_path
    )
    assert "made from" not in again.stderr
