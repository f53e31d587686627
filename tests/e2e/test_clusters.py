"""`corpus clusters`, for a person who asks why a page was dropped."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import answer, commit_documents, commit_rows, inside
from tests.support.paths import REPOSITORY

STORY = """It was the best of gardens, it was the worst of gardens. Nobody who passed the gate in the summer of that
year could say whether the roses had been planted by the old man or had simply come up, and the old man did not tell.

He sat on the bench behind the shed, and when somebody asked him he looked at the sky as if the answer were up there,
between the two chimneys, and said that a garden belongs to whoever waters it. Then it rained for eleven days."""

PAGES = {
    "https://example.org/story": STORY + " That was that.",
    "https://example.org/story?print=1": STORY.replace("\n", " ") + " That was THAT.",
    "https://mirror.example.net/old-story": STORY.replace("sky", "ceiling \x1b[2J") + " That.",
    "https://example.org/other": "Nothing here has been said in any of the other pages, and nobody will miss it.",
}


def commit(folder: Path, pages: dict[str, str] = PAGES, dump: str = "CC-MAIN-2026-43") -> None:
    rows = [
        {"id": f"<urn:{number}>", "url": url, "text": text, "dump": dump}
        for number, (url, text) in enumerate(pages.items())
    ]
    commit_rows(folder, rows)


@pytest.fixture(scope="module")
def unique(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clusters")
    commit(folder / "docs")
    inside("corpus", "dedup", folder / "docs", "-o", folder / "unique")
    return folder / "unique"


def lines(*arguments: str | Path) -> list[str]:
    return inside("corpus", "clusters", *arguments).stdout.splitlines()


def test_why_was_this_page_dropped(unique: Path) -> None:
    told = lines(unique, "--url", "https://mirror.example.net/old-story")
    assert told[:2] == ["https://mirror.example.net/old-story", "<urn:2>"]
    decision = r"dropped by dedup\.minhash: (0\.\d{4}) similar to <urn:0> \(threshold 0\.75\), (\d+) of (\d+) distinct "
    match = re.fullmatch(decision + "5-grams in common", told[2])
    assert match
    assert f"{int(match[2]) / int(match[3]):.4f}" == match[1]
    assert told[4].startswith("3 documents: 1 kept, 1 dropped by dedup.exact, 1 dropped by dedup.minhash; similarity ")
    assert [line.split()[-1] for line in told[5:9]] == [
        "url",
        "https://example.org/story",
        "https://mirror.example.net/old-story",
        "https://example.org/story?print=1",
    ]
    assert told[7].startswith("> dedup.minhash ")
    assert "CC-MAIN-2026-43" in told[7]
    assert told[10] == "[-4 words only in the kept document-] {+3 words only in this one+}, 91 in both"
    text = "\n".join(told[11:])
    assert "at the [-sky-]{+ceiling \\u001b[2J+} as if the answer" in text
    assert text.endswith("for eleven days. [-That was that.-]{+That.+}")


def test_a_copy_is_called_a_copy(tmp_path: Path) -> None:
    commit(tmp_path / "docs", {"https://example.org/1": STORY, "https://example.org/2\n\x1b[2J": STORY}, "D\x07")
    inside("corpus", "dedup", tmp_path / "docs", "-o", tmp_path / "unique")
    told = lines(tmp_path / "unique", "--id", "<urn:1>")
    assert told[0] == r"https://example.org/2\n\u001b[2J"
    assert told[-1] == f"The same {len(STORY.split())} words."
    assert told[-3].split()[-2:] == [r"D\u0007", told[0]]
    closest = inside("corpus", "clusters", tmp_path / "unique", "--url", "https://example.org/2", code=1).stderr
    assert closest.endswith(f"there is {told[0]}\n")


def test_a_kept_page_shows_its_least_similar_duplicate(unique: Path) -> None:
    told = lines(unique, "--id", "<urn:0>")
    assert told[2] == "kept: the longest of 3 documents that are alike"
    assert any(line.startswith("Compared with https://mirror.example.net/old-story: ") for line in told)
    assert any("only in this one-] " in line and "only in its least similar duplicate+}" in line for line in told)


def test_a_page_without_duplicates(unique: Path) -> None:
    told = lines(unique, "--url", "https://example.org/other")
    assert told[2:] == ["kept: no other document has anything in common with it"]


def test_members_and_diff_can_be_left_out(unique: Path) -> None:
    told = lines(unique, "--id", "<urn:2>", "--no-diff", "--members", "1")
    assert [line.split()[0] for line in told[5:]] == ["bytes", "kept", "and"]
    assert told[-1] == "  and 2 more"


def test_the_largest_clusters_in_a_table(unique: Path) -> None:
    head, row = lines(unique, "--largest", "5")
    assert head.split() == ["size", "exact", "minhash", "similarity", "kept"]
    assert row.split()[:3] == ["3", "1", "1"]
    assert row.endswith("to 1.0000  https://example.org/story")
    (cluster,) = answer("corpus", "clusters", unique, "--largest", "5")["clusters"]
    assert cluster["rules"] == {"dedup.exact": 1, "dedup.minhash": 1}
    assert (cluster["url"], cluster["representative"]) == ("https://example.org/story", "<urn:0>")


def test_unverified_a_chain_is_called_a_chain(tmp_path: Path) -> None:
    """Two reports with other numbers: folded, they are one text, and unverified, one of them goes."""
    days = [f"{word} came and {word} went with" for word in re.findall(r"\w+", STORY)]
    reports = [" ".join(f"{day} {at * number} mm" for at, day in enumerate(days)) for number in (11, 13)]
    commit_documents(tmp_path / "docs", [*reports, reports[0] + " That was all."])
    inside("corpus", "dedup", tmp_path / "docs", "-o", tmp_path / "unique", "--preset", "fineweb")
    told = answer("corpus", "clusters", tmp_path / "unique", "--id", "<1>")
    assert (told["rule"], told["representative"]) == ("dedup.chain", "<0>")
    assert told["similarity"] == told["ngrams_in_common"] / told["ngrams"] < 0.3
    assert lines(tmp_path / "unique", "--id", "<1>")[1].startswith(
        f"dropped by dedup.chain, unverified: bands connect it with <0>; their similarity is {told['similarity']:.4f}, "
    )
    assert lines(tmp_path / "unique", "--id", "<2>")[1].startswith("dropped by dedup.minhash, unverified: bands ")
    head, row = lines(tmp_path / "unique", "--largest", "5")
    assert head.split()[:4] == ["size", "exact", "minhash", "chain"]
    assert row.split()[:4] == ["3", "0", "1", "1"]


def test_json_for_programs(unique: Path) -> None:
    told = answer("corpus", "clusters", unique, "--id", "<urn:2>")
    assert (told["keep"], told["rule"], told["representative"], told["cluster_size"]) == (
        False,
        "dedup.minhash",
        "<urn:0>",
        3,
    )
    assert told["similarity"] == told["ngrams_in_common"] / told["ngrams"]
    assert [member["id"] for member in told["members"]] == ["<urn:0>", "<urn:2>", "<urn:1>"]
    assert {"kept": "sky", "other": "ceiling \x1b[2J"} in told["difference"]["changes"]
    assert answer("corpus", "clusters", unique, "--id", "<urn:2>", "--no-diff")["difference"] is None


def test_labels_only_and_a_whole_run_can_be_asked(unique: Path, tmp_path: Path) -> None:
    docs = unique.parent / "docs"
    inside("corpus", "dedup", docs, "-o", tmp_path / "labels", "--labels-only")
    (tmp_path / "mine.toml").write_text("[dedup]\n")
    inside("corpus", "run", tmp_path / "mine.toml", "--input", docs, "-o", tmp_path / "run")
    told = lines(unique, "--id", "<urn:2>")
    assert lines(tmp_path / "labels", "--id", "<urn:2>") == told
    assert lines(tmp_path / "run", "--id", "<urn:2>") == told


def test_clusters_of_documents_that_are_gone(unique: Path, tmp_path: Path) -> None:
    shutil.copytree(unique.parent / "docs", tmp_path / "docs")
    inside("corpus", "dedup", tmp_path / "docs", "-o", tmp_path / "unique")
    shutil.rmtree(tmp_path / "docs")
    told = lines(tmp_path / "unique", "--id", "<urn:2>")
    assert told[0] == "<urn:2>"
    assert told[1].startswith("dropped by dedup.minhash: 0.")
    assert re.fullmatch(rf"no texts: {tmp_path}/docs/data/u-\w+\.parquet is not there .*", told[-1])
    done = inside("corpus", "clusters", tmp_path / "unique", "--url", "https://example.org/story", code=1)
    assert "ask with --id" in done.stderr


def test_questions_that_have_no_answer(unique: Path) -> None:
    def error(*arguments: str | Path, code: int = 1) -> str:
        return inside("corpus", "clusters", *arguments, code=code).stderr

    assert error(unique, "--url", "http://example.org/other/") == (
        "corpus: http://example.org/other/: not among the urls of the 4 documents; there is https://example.org/other\n"
    )
    assert "no document among 4 has this id" in error(unique, "--id", "urn:0")
    assert "should be the output folder of corpus dedup or corpus run" in error(unique.parent / "docs", "--id", "x")
    for arguments in ([], ["--id", "x", "--url", "y"], ["--largest", "0"]):
        assert error(unique, *arguments, code=2).count("\n") == 1


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """The output of a command on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, stdout=theirs, env=os.environ | environment
    ) as running:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the terminal is gone with the process
                break
            if not part:
                break
            parts.append(part)
        assert running.wait() == 0
    os.close(ours)
    return b"".join(parts).decode()


def test_colours_are_for_terminals_and_can_be_declined(unique: Path) -> None:
    asked: Any = ("corpus", "clusters", str(unique), "--id", "<urn:2>")
    coloured = on_a_terminal(*asked)
    assert "\x1b[31msky\x1b[0m \x1b[32mceiling \\u001b[2J\x1b[0m" in coloured
    assert "[-" not in coloured
    plain = on_a_terminal(*asked, NO_COLOR="1")
    assert "\x1b" not in plain
    assert "[-sky-]" in plain
    assert json.loads(on_a_terminal(*asked, "--json"))["id"] == "<urn:2>"
