"""docs/publish.md as it is written: a run, datasets opened by other readers, an export, a published copy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from corpus.store.shards import Dataset
from tests.support.command import command
from tests.support.loaded import with_pandas
from tests.support.paths import REPOSITORY


def test_the_page_goes_from_a_run_to_a_published_copy(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/publish.md").read_text("utf-8")
    printed = ""
    script: list[str] = []
    environment = with_pandas(tmp_path / "home")
    for kind, block in re.findall(r"^```(sh|python)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        if kind == "sh":
            for line in block.splitlines():
                words = re.findall(r'"[^"]*"|\S+', line)
                code = 1 if line == "corpus verify shared/" else 0
                done = command(*[word.strip('"') for word in words], cwd=tmp_path, code=code)
                assert "dropped/" in done.stderr or code == 0
        else:
            script.append(block)
            (tmp_path / "script.py").write_text("\n".join(script), "utf-8")
            ran = subprocess.run(
                [sys.executable, "script.py"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=600,
                env=environment,
            )
            assert ran.returncode == 0, ran.stderr
            printed = ran.stdout
    count = sum(1 for _ in Dataset(tmp_path / "out/clean").rows())
    assert re.search(rf"^{count} documents, \d+ dropped by the last pass$", printed, re.MULTILINE)
    names = sorted(path.name for path in (tmp_path / "hf/data").iterdir())
    assert len(names) > 1
    assert names == [f"train-{number:05d}-of-{len(names):05d}.parquet" for number in range(len(names))]
    for folder in ("hf", "megatron"):
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path / folder, check=True)
    card = (tmp_path / "hf/README.md").read_text("utf-8")
    recipe = (tmp_path / "out/recipe.toml").read_text("utf-8")
    assert recipe.strip() in card
    for part in ("| **warc** |", "| dedup.minhash |", "masked, scrub: ", "- SAMPLE-00000.warc.gz", "trafilatura"):
        assert part in card
    assert str(tmp_path) not in card
    assert list(Dataset(tmp_path / "shared").rows()) == list(Dataset(tmp_path / "out/clean").rows())
