"""What the three commands share: tables of subcommands, errors and their exit codes, help pages, figures as text."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from bpe.terminal.failures import said, unexpected
from bpe.terminal.help import FILES, SIZE, WIDTH, Heading, command
from bpe.terminal.program import Forbidden, Program
from bpe.terminal.text import counted, duration, readable, readable_line, say, size_of, table

ERRORS: dict[str, BaseException] = {
    "value": ValueError("a.txt: no text;\n  give another file"),
    "file": FileNotFoundError(2, "No such file or directory", "a.txt"),
    "diverged": FloatingPointError("the loss is nan"),
    "missing": ModuleNotFoundError("No module named 'abacus'", name="abacus"),
    "usage": click.UsageError("give --a or --b, not both"),
    "forbidden": Forbidden("403: the server forbids it"),
    "interrupt": KeyboardInterrupt(),
    "stopped": KeyboardInterrupt("interrupted; half is there"),
    "ended": EOFError("the data end early"),
    "deep": RecursionError("maximum recursion depth exceeded"),
    "memory": MemoryError(),
    "bug": KeyError("tokens"),
    "ours": ModuleNotFoundError("No module named 'bpe.typo'", name="bpe.typo"),
}
MORE = Heading("More")
# What a terminal obeys: an escape sequence in 7 and in 8 bits, a title, back to the start of the line, the direction of
# writing, a line separator, half of a surrogate pair.
HOSTILE = "a\x1b[2Jb\x9b31mc\x1b]0;t\x07d\re\u202ef\u2066g\u200fh\u2028i\ud800j\x7f"
HARMLESS = "a\\u001b[2Jb\\u009b31mc\\u001b]0;t\\u0007d\\u000de\\u202ef\\u2066g\\u200fh\\u2028i\\ud800j\\u007f"


@command()
@FILES.option("--raise", "error", type=click.Choice(list(ERRORS)), help="What to raise.")
@MORE.option("--code", type=int, default=0, show_default=True, help="Exit code.")
@MORE.option("--size", "--older", type=SIZE, help="Bytes.")
@MORE.option("--fast/--no-fast", default=True, show_default=True, help="Be fast.")
@MORE.option("--name", multiple=True, default=("x", "y"), show_default=True, metavar="NAME", help="Names.")
@FILES.option("-o", "--output", required=True, help="Where to write.")
def act(error: str | None, code: int, size: int | None, fast: bool, name: tuple[str, ...], output: str) -> int:
    """Do something.

    Examples:
      tool act -o here
      tool act -o here --size 2GB

    This is about nothing.
    """
    if error:
        raise ERRORS[error]
    click.echo(f"{size} {fast} {name} {output}")
    return code


TABLE = {"act": (f"{__name__}:act", "Do something."), "gone": ("no.such.module:gone", "Never loaded.")}
TOOL = Program("tool", TABLE, help="A tool.\n\nExamples:\n  tool act -o here", extra="[tools]")


def tool(*arguments: str) -> Result:
    return CliRunner().invoke(TOOL, arguments)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("value", 1, "tool: a.txt: no text; give another file"),
        ("file", 1, "tool: a.txt: No such file or directory; check the name, and that all folders before it are there"),
        ("diverged", 1, "tool: the loss is nan"),
        ("missing", 1, "tool: abacus is not installed; pip install '.[tools]' brings what tool needs"),
        ("usage", 2, "tool: give --a or --b, not both"),
        ("forbidden", 4, "tool: 403: the server forbids it"),
        ("interrupt", 130, "tool: interrupted"),
        ("stopped", 130, "tool: interrupted; half is there"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(error: str, code: int, line: str) -> None:
    result = tool("act", "-o", "x", "--raise", error)
    assert (result.exit_code, result.stdout, result.stderr.strip("\n")) == (code, "", line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["act"], "tool: Missing option '-o' / '--output'. See tool act --help."),
        (["act", "-o", "x", "--codes", "1"], "See tool act --help."),
        (["act", "-o", "x", "y"], "tool: Got unexpected extra argument (y). See tool act --help."),
        (["act", "-o", "x", "--code", "one"], "tool: Invalid value for '--code': 'one' is not a valid integer."),
        (["act", "-o", "x", "--size", "much"], "write a number of bytes such as 10GB, 4GiB or 500MB"),
        (["frobnicate"], "tool: No such command 'frobnicate'; choose one of act, gone"),
    ],
)
def test_wrong_usage_names_the_fix(arguments: list[str], line: str) -> None:
    result = tool(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("bug", "unexpected KeyError: 'tokens'; check the input"),
        ("ended", "unexpected EOFError: the data end early; check the input"),
        ("ours", "unexpected ModuleNotFoundError: No module named 'bpe.typo'; check the input"),
        ("deep", "the input is nested too deeply to be read; give another file"),
        ("memory", "not enough memory; use fewer --workers or a smaller input"),
    ],
)
def test_the_last_net_keeps_the_traceback_in_a_file(
    error: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = tool("act", "-o", "x", "--raise", error)
    (file,) = tmp_path.iterdir()
    expected = f"tool: {line}; its traceback is in {file}"
    assert (result.exit_code, result.stdout, result.stderr.strip("\n")) == (1, "", expected)
    trace = file.read_text()
    assert trace.startswith("Traceback")
    assert type(ERRORS[error]).__name__ in trace


def test_a_librarys_words_are_not_for_users(tmp_path: Path) -> None:
    """A ValueError that no `raise` of ours made: the line names the file that was at work."""
    damaged = tmp_path / "tokenizer.json"
    damaged.write_text("{}")
    with pytest.raises(ValueError, match="char 0") as caught:
        _as_ours(damaged)
    assert said(caught.value) is None
    line = unexpected(caught.value, "tool")
    assert line.startswith(f"{damaged}: unexpected JSONDecodeError: Expecting value: line 1 column 1 (char 0); check")
    Path(line.rpartition(" ")[2]).unlink()


def _as_ours(path: Path) -> None:
    """`json.loads("")` in a function of a module of ours, which has the path among its variables."""
    scope = {"__name__": "corpus.some"}
    exec("import json\ndef read(path):\n    return json.loads('')", scope)
    scope["read"](path)  # type: ignore[operator]


USER_ERRNOS = [
    "ENOENT",
    "ENOTDIR",
    "EISDIR",
    "EACCES",
    "EPERM",
    "ENAMETOOLONG",
    "EMFILE",
    "ELOOP",
    "EROFS",
    "ENOSPC",
    "EDQUOT",
    "EEXIST",
    "EIO",
]


@pytest.mark.parametrize("name", USER_ERRNOS)
def test_errors_of_the_system_name_the_file_and_the_fix(name: str) -> None:
    number = getattr(errno, name)
    line = said(OSError(number, os.strerror(number), "some/file")) or ""
    assert line.startswith(f"some/file: {os.strerror(number)}; ")
    assert len(line.rpartition("; ")[2]) > 8
    assert "Errno" not in line


def test_errors_of_the_system_as_they_come(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    cases = {"none": "that all folders", "file/below": "a file is where a folder should be", "": "name a file"}
    cases |= {"loop": "lead in a circle", "n" * 300: "at most 255 bytes"}
    for name, fix in cases.items():
        with pytest.raises(OSError, match="Errno") as caught:
            (tmp_path / name).read_bytes()
        line = said(caught.value) or ""
        assert line.startswith(f"{tmp_path / name}: ")
        assert fix in line
    with pytest.raises(OSError, match="local file") as caught:
        pa.OSFile(str(tmp_path / "none"))
    assert said(caught.value) == (
        f"Failed to open local file '{tmp_path}/none': No such file or directory; "
        "check the name, and that all folders before it are there"
    )


def test_what_a_command_returns_is_the_exit_code() -> None:
    done = tool("act", "-o", "x", "--code", "3", "--older", "2kB")
    assert (done.exit_code, done.stdout) == (3, "2000 True ('x', 'y') x\n")
    assert TOOL.main(["act", "-o", "x", "--code", "3"], standalone_mode=False) == 3
    with pytest.raises(ValueError, match="no text"):
        TOOL.main(["act", "-o", "x", "--raise", "value"], standalone_mode=False)


def test_help_of_the_program_loads_no_command() -> None:
    page = tool("--help").stdout
    assert "  gone  Never loaded.\n" in page
    assert "\n  Examples:\n    tool act -o here\n" in page
    nothing = tool()
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (2, "", page)
    assert tool("--version").stdout.startswith("tool, version ")


def test_a_help_page() -> None:
    page = tool("act", "--help").stdout
    assert page.startswith(
        "Usage: tool act [OPTIONS]\n\n  Do something.\n\n  Examples:\n    tool act -o here\n    tool"
    )
    assert "\n\n  This is about nothing.\n\nInput and output:\n  --raise value|file|diverged|" in page
    assert "  -o, --output TEXT" in page.partition("Where to write.  [required]\n\nMore:\n")[0]
    more = page.partition("\n\nMore:\n")[2].splitlines()
    assert more == [
        "  --code N     Exit code.  [default: 0]",
        "  --size SIZE  Bytes.",
        "  --[no-]fast  Be fast.  [default: on]",
        "  --name NAME  Names.  [default: x, y]",
        "  -h, --help   Show this message and exit.",
    ]
    assert max(map(len, page.splitlines())) <= WIDTH


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts(stop: signal.Signals) -> None:
    code = (
        "import signal, sys, time; from bpe.terminal.program import Program; from bpe.terminal.help import command\n"
        "wait = command()(lambda: print('ready', flush=True) or time.sleep(100))\n"
        "sys.modules['here'] = sys.modules['__main__']\n"
        "table, both = {'wait': ('here:wait', '')}, (signal.SIGINT, signal.SIGTERM)\n"
        "Program('tool', table, help='A tool.', signals=both).main(['wait'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], text=True, stdout=-1, stderr=-1, cwd=Path.cwd()) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "ready\n"
        process.send_signal(stop)
        assert process.wait(30) == 130
        assert process.stderr.read().strip("\n") == "tool: interrupted"


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
def test_an_interrupt_in_a_finalizer_is_not_lost() -> None:
    code = (
        "import signal, sys, time; from bpe.terminal.program import Program; from bpe.terminal.help import command\n"
        "class Item:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "def work():\n"
        "    item = Item()\n"
        "    del item\n"
        "    time.sleep(100)\n"
        "sys.modules['here'] = sys.modules['__main__']\n"
        "work = command()(work)\n"
        "Program('tool', {'work': ('here:work', '')}, help='A tool.').main(['work'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr.strip("\n")) == (130, "tool: interrupted")


def test_sizes() -> None:
    sizes = {"10GB": 10**10, "4GiB": 4 << 30, "1.5 kb": 1500, "7": 7, "2M": 2_000_000, "1ti": 1 << 40, "9B": 9}
    assert {text: size_of(text) for text in sizes} == sizes
    for wrong in ("", "ten", "-1", "1XB", "0", "1e9", "GB", "1 2", "i"):
        with pytest.raises(ValueError, match=r"is not a size; write .* 10GB"):
            size_of(wrong)


def test_durations_have_two_units() -> None:
    cases = {0: "0s", 45.4: "45s", 59.6: "1m00s", 185: "3m05s", 3_599.9: "1h00m", 3_725: "1h02m", 370_800: "4d07h"}
    assert {seconds: duration(seconds) for seconds in cases} == cases


def test_counts_and_tables() -> None:
    assert [counted(1, "word"), counted(2000, "word")] == ["1 word", "2,000 words"]
    rows = [("name", "size", "note"), ("a", "10", ""), ("long name", "5", "")]
    assert table(rows, "<><") == ["name       size", "a            10", "long name     5"]


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert readable(HOSTILE) == HARMLESS
    assert readable("Füße\tشكرا\nnext \u4e00 \U0001f600") == "Füße\tشكرا\nnext \u4e00 \U0001f600"
    assert readable_line(f"a\n\tb{HOSTILE}") == f"a\\n\\tb{HARMLESS}"
    written = json.dumps({"text": HOSTILE}, indent=1, ensure_ascii=False)
    assert json.loads(readable(written)) == {"text": HOSTILE}


def test_a_message_that_quotes_input_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    assert capsys.readouterr().err == f"{HARMLESS}\n"

    @command()
    def fail() -> None:
        raise ValueError(f"a.txt: holds {HOSTILE}")

    program = Program("program", {"fail": ("", "Fail.")}, help="")
    program.get_command = lambda ctx, name: fail  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        program.main(["fail"])
    error = capsys.readouterr().err
    assert error.startswith("program: a.txt: holds a\\u001b[2J")
    assert error.strip().isprintable()
