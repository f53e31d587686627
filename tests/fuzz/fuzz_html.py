"""`python -m tests.fuzz.fuzz_html --minutes 15 --seed 1`: does the fast path ever give another text than trafilatura?

Gives both real pages that were changed at random, and soup, with all settings, until the time is up. With `--atheris`,
atheris chooses the bytes. The first difference is written to `--out` and ends the run.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

from bench.harness import data_folder
from corpus.extract import stage as extract
from corpus.text.charset import decode_html
from tests.support.extract_pages import SETTINGS, decoded
from tests.support.odd_pages import mutated, soup

_SLOW = 20.0  # processor seconds: a page of this size that takes as long is a finding too


def differs(page: str, config: extract.Config) -> bool:
    """Whether the text, or the exception, is different without the fast path."""
    stock = extract._main_text(page, replace(config, accelerated=False))
    return extract._main_text(page, config) != stock


def run(minutes: float, seed: int, out: Path) -> int:
    pages = [page for path in sorted((data_folder() / "warc").glob("DEV-*.warc.gz")) for page in decoded(path)]
    chance = random.Random(seed)
    end = time.process_time() + 60 * minutes
    cases = 0
    while time.process_time() < end:
        page = soup(chance) if chance.random() < 0.3 else mutated(chance.choice(pages), chance)
        config = chance.choice(SETTINGS) if chance.random() < 0.7 else SETTINGS[0]
        start = time.process_time()
        if differs(page, config) or time.process_time() - start > _SLOW:
            out.mkdir(parents=True, exist_ok=True)
            name = out / f"{seed}-{cases}.html"
            name.write_text(page, encoding="utf-8", errors="surrogatepass")
            print(f"{name}: {config}", file=sys.stderr)
            return 1
        cases += 1
    print(f"{cases} pages, no difference (seed {seed})")
    return 0


def run_atheris() -> None:
    import atheris

    def one(data: bytes) -> None:
        if not data:
            return
        config = SETTINGS[data[0] % len(SETTINGS)]
        assert not differs(decode_html(data[1:], None), config)

    atheris.Setup([sys.argv[0]], one)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0, help="processor time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-html"), help="folder for a page that differs")
    parser.add_argument("--atheris", action="store_true", help="let atheris choose the bytes, without end")
    options = parser.parse_args()
    if options.atheris:
        run_atheris()
    return run(options.minutes, options.seed, options.out)


if __name__ == "__main__":
    sys.exit(main())
