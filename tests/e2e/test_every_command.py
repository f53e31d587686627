"""Every command of the three programs: its help, a wrong option, a missing input; and commands in the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.support.command import command, inside
from tests.support.commands import PROGRAMS, commands
from tests.support.model_shards import random_documents, write_shard
from tests.support.paths import REPOSITORY

# What the user gets whose input does not exist: arguments, exit code, and what the one line names. `{out}` is a folder.
MISSING_INPUT = {
    "corpus sample": ("", 2, "-o"),
    "corpus records": ("none.warc.gz", 1, "none.warc.gz"),
    "corpus fetch": ("CC-MAIN-2026-43 -o {out} --base http://127.0.0.1:9 --retries 0", 1, "http://127.0.0.1:9/"),
    "corpus optout": ("none.warc.gz -o {out}", 1, "none.warc.gz"),
    "corpus import": ("none -o {out}", 1, "none"),
    "corpus extract": ("none.warc.gz -o {out}", 1, "none.warc.gz"),
    "corpus filter": ("none -o {out}", 1, "none"),
    "corpus classify train": ("--positive none --negative recipes -o {out}.bin", 1, "none"),
    "corpus dedup": ("none -o {out}", 1, "none"),
    "corpus decontaminate": ("none --benchmarks README.md -o {out}", 1, "none"),
    "corpus scrub": ("none -o {out}", 1, "none"),
    "corpus mix": ("none=1 -o {out}", 1, "none"),
    "corpus tokenize": ("none -t none -o {out}", 1, "none"),
    "corpus export": ("none -o {out}", 1, "none"),
    "corpus publish": ("none {out}", 1, "none"),
    "corpus clusters": ("none --largest 3", 1, "none"),
    "corpus run": ("none.toml --input recipes -o {out}", 2, "none.toml"),
    "corpus warm-up": ("none", 2, "none"),
    "corpus verify": ("none", 1, "none"),
    "corpus gc": ("none", 1, "none"),
    "corpus report": ("none", 1, "none"),
    "bpe train": ("none -o {out}", 1, "none"),
    "bpe encode": ("-t none text", 1, "none"),
    "bpe decode": ("-t none 1", 1, "none"),
    "bpe inspect": ("none text", 1, "none"),
    "bpe compare": ("none --data none", 1, "none"),
    "bpe export": ("none --to hf -o {out}", 1, "none"),
    "bpe import": ("none -o {out}", 1, "none"),
    "model pretrain": ("--data none -o {out}", 1, "none"),
    "model sample": ("none", 1, "none"),
    "model eval": ("none --data none", 1, "none"),
    "model export": ("none --to hf -o {out}", 1, "none"),
    "model import": ("none -o {out}", 1, "none/config.json"),
    "model plot": ("none -o {out}.html", 1, "none"),
}
HEAVY = {"numba", "torch", "trafilatura", "fasttext", "matplotlib", "rich", "lxml", "datasketch", "urllib3", "scipy"}

every_command = pytest.mark.parametrize("words", commands(), ids=" ".join)


@cache
def help_of(words: tuple[str, ...]) -> tuple[str, set[str]]:
    """The help page above its options, and all flags of the options; `--[no-]x` is `--x` and `--no-x`."""
    page = inside(*words, "--help").stdout
    above, _, options = re.sub(r"--\[no-\]([a-z-]+)", r"--\1 --no-\1", page).partition("\nInput and output:")
    return above, set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", options))


def test_every_command_has_its_line_here() -> None:
    assert set(MISSING_INPUT) == set(map(" ".join, commands()))


@every_command
def test_help_has_an_example_with_options_that_exist(words: tuple[str, ...]) -> None:
    above, flags = help_of(words)
    assert "\\b" not in above
    name = " ".join(words)
    _, _, examples = above.partition("Usage:")[2].partition("\n")
    assert f"{name} " in examples
    own = " ".join(re.findall(rf"{name} [^\n&|]*", examples))  # an example may call other commands beside it
    assert set(re.findall(r" (--[a-z][a-z-]*)", own)) <= flags


@every_command
def test_an_unknown_option_is_named_in_one_line(words: tuple[str, ...]) -> None:
    done = inside(*words, "--frobnicate", code=2)
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if "--frobnicate" in line]
    assert "No such option" in line


@every_command
def test_a_missing_input_is_named_in_one_line(tmp_path: Path, words: tuple[str, ...]) -> None:
    arguments, code, name = MISSING_INPUT[" ".join(words)]
    call = command if words == ("corpus", "classify", "train") else inside  # its end closes the files of texts
    done = call(*words, *arguments.format(out=tmp_path / "out").split(), code=code)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert name in done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_lists_its_commands_and_its_version(program: str) -> None:
    assert "0.1.0" in command(program, "--version").stdout
    listing = command(program, "--help").stdout
    assert all(re.search(rf"^ +{words[1]}\b", listing, re.MULTILINE) for words in commands() if words[0] == program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_loads_nothing_heavy(program: str) -> None:
    script = (
        "import sys, contextlib, io\n"
        f"from {program}.cli import main\n"
        "for line in sys.argv[1:]:\n"
        "    sys.argv = [*line.split(), '--help']\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main()\n"
        "print(*sys.modules)"
    )
    own = [" ".join(words) for words in commands() if words[0] == program]
    done = subprocess.run(
        [sys.executable, "-c", script, *own], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert not HEAVY & set(done.stdout.split())


def test_without_pytorch_the_way_to_it_is_named(tmp_path: Path) -> None:
    script = "import sys; sys.modules['torch'] = None; from model.cli import main; main()"
    write_shard(tmp_path / "tokens/a.parquet", random_documents(9))
    arguments = ["pretrain", "--data", str(tmp_path / "tokens"), "-o", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert done.returncode == 1
    assert "torch is not installed; pip install '.[model]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["extract", "README.md", "-o", "{out}"], 1, "README.md"),
        (["extract", "recipes", "-o", "{out}"], 1, "recipes: holds no .warc or .wet files (.gz, .zst)"),
        (["extract", "README.md"], 2, "Missing option '-o'"),
        (["filter", "README.md", "-o", "{out}"], 1, "for WARC files run corpus extract first"),
        (["filter", "README.md", "-o", "{out}", "--only", "classifier"], 2, "corpus: --classifier: model = ''"),
        (["filter", "README.md", "-o", "{out}", "--only", "x"], 2, "--only x: should be one of gopher_repetition,"),
        (["filter", "README.md", "-o", "{out}", "--min-words", "many"], 2, "'many' is not a valid integer"),
        (
            ["filter", "README.md", "-o", "{out}", "--min-sentences", "-1"],
            2,
            "min_sentences = -1: should be at least 0",
        ),
        (
            ["extract", "README.md", "-o", "{out}", "--lid-model", "no.bin"],
            2,
            "corpus: --lid-model: model = 'no.bin': no such file",
        ),
        (["run", "recipes/demo.toml", "--input", "no/*.gz", "-o", "{out}"], 1, "no/*.gz: no such file"),
        (["run", "recipes/demo.toml", "--input", "README.md", "-o", "{out}", "--set", "x"], 2, "STAGE.SETTING=VALUE"),
        (["report", "recipes"], 1, "recipes: holds no committed units"),
        (["tokenize", "README.md", "--tokenizer", "x", "-o", "{out}"], 1, "tokenize reads documents"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
    ],
)
def test_bad_input_is_one_line_and_a_code(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    done = inside("corpus", *[argument.format(out=tmp_path / "out") for argument in arguments], code=code)
    assert done.stdout == ""
    assert message in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("corpus:")]
    assert len(lines) == 1 or "FAILED" in done.stderr


# ---- Documentation ----

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "Makefile",
    *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")),
]
EXAMPLES = {"README.md": 60, "Makefile": 4, "docs/train.md": 12}  # with options, at least


def commands_in(page: str) -> list[tuple[tuple[str, ...], str]]:
    """(command, line) wherever a line of a page has a command of ours."""
    text = (REPOSITORY / page).read_text("utf-8")
    lines = re.findall(r"(?:^|`|\$\(BIN\)/| )((?:corpus|bpe|model) [a-z]+ [^`\n#]*)", text, re.MULTILINE)
    return [(words, line) for line in lines for words in commands() if line.startswith(" ".join(words) + " ")]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_commands_in_the_documentation_exist(page: str) -> None:
    checked = 0
    for words, line in commands_in(page):
        flags = set(re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", line))
        assert flags <= help_of(words)[1], line
        checked += bool(flags)
    assert checked >= EXAMPLES.get(page, 0)


def test_every_module_has_its_line_in_contributing() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    for package in PROGRAMS:
        for path in (REPOSITORY / package).iterdir():
            name = f"{path.name}/" if path.is_dir() else path.name
            if not path.name.startswith("__") and path.suffix in ("", ".py"):
                assert re.search(rf"\b{re.escape(name)}", text), f"{package}/{name}"
