"""The Python of docs/python.md and of the README, run as a script without `if __name__ == "__main__"`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.store.shards import Dataset
from tests.support.command import command
from tests.support.paths import REPOSITORY


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python") / "crawl"
    command("corpus", "sample", "--pages", "200", "-o", folder)
    return folder


def run(page: str, folder: Path) -> str:
    """What the blocks of Python of a page print, run as one script in `folder`."""
    blocks = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (folder / "script.py").write_text("\n".join(blocks), "utf-8")
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=600)
    said = [line for line in done.stderr.splitlines() if not line.startswith("compiling for this machine")]
    assert (done.returncode, said) == (0, [])
    return done.stdout


def test_the_page_goes_from_a_warc_file_to_a_model(crawl: Path, tmp_path: Path) -> None:
    (tmp_path / "crawl").symlink_to(crawl)
    printed = run("docs/python.md", tmp_path)
    assert re.search(r"^\d+ documents, 1024 symbols, 1\.\d+ characters a token$", printed, re.MULTILINE)
    assert re.search(r"goes: similarity (1\.00|0\.[789]\d) to https://", printed)
    assert "9 texts have: Home | News | About us" in printed
    kept, read = re.search(r"^(\d+) of (\d+) kept, \d+ tokens; see out/report.html$", printed, re.MULTILINE).groups()  # type: ignore[union-attr]
    assert 0 < int(kept) < int(read)
    assert sum(1 for _ in Dataset(tmp_path / "out/clean").rows()) == int(kept)
    assert {path.name for path in (tmp_path / "hf").iterdir()} >= {"model.safetensors", "config.json"}


def test_the_readme_s_example_trains_a_vocabulary(crawl: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/crawl").symlink_to(crawl)
    assert re.fullmatch(r"\[(\d+, )+\d+\]\n", run("README.md", tmp_path))
