"""`model plot`: reading a run's files, drawing charts, and the page."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from bpe.files import save_vocabulary
from bpe.vocabulary import Vocabulary
from model.chart import INNER, Axis, Curve, chart, extremes, short, smoothed, y_range
from model.cli import main
from model.history import read_run, read_runs
from model.plot import page, samples
from tests.oracles.training import lowest_and_highest, mean_around
from tests.support.model_runs import CONFIG, make_run, steps
from tests.support.model_shards import write_shard


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Balanced(HTMLParser):
    """Parses the page, fails on a tag that is closed out of order, and keeps what the tests ask about."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def checked(html: str) -> Balanced:
    """The parsed page, after checks: it is complete, its charts are well-formed XML, and it loads nothing."""
    found = Balanced()
    found.feed(html)
    found.close()
    assert found.open == []
    for svg in re.findall(r'<svg class="chart".*?</svg></svg>', html, re.DOTALL):
        ElementTree.fromstring(svg)
        assert "nan" not in svg
        assert "inf" not in svg
    assert not {name for name, _ in found.attributes} & {"src", "href", "srcset", "xlink:href"}
    assert "url(" not in html
    assert "@import" not in html
    return found


def paths(html: str, kind: str) -> list[str]:
    return re.findall(rf'<path class="{kind} r\d+" d="([^"]*)"', html)


# --- drawing ---------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 30))
def test_a_long_curve_keeps_the_lowest_and_highest_of_each_stretch(series: list[float], stretches: int) -> None:
    assert extremes(np.array(series), stretches).tolist() == lowest_and_highest(series, stretches)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=1500), st.floats(0, 1))
def test_the_moving_mean_is_a_mean_of_what_is_around(series: list[float], start: float) -> None:
    n = len(series)
    x_N, mean_N = smoothed(np.arange(n) / n, np.array(series), start)
    widest = max(n // 100, min(8, n // 20))
    for x, mean in list(zip(x_N, mean_N, strict=True))[:: max(1, len(x_N) // 50)]:
        at = round(x * n)
        assert mean == pytest.approx(mean_around(series, at, min(at // 4, widest)), abs=1e-4)
    assert x_N[-1] == (n - 1) / n
    assert len(x_N) <= 800


@given(st.floats(1e-6, 1e12), st.floats(1.0001, 1e9), st.booleans())
def test_ticks_are_round_and_inside(low: float, factor: float, logarithmic: bool) -> None:
    axis = Axis(low, low * factor, logarithmic)
    ticks = axis.ticks()
    assert len(ticks) <= 12
    assert ticks == sorted(set(ticks))
    assert all(low * (1 - 1e-6) <= tick <= low * factor * (1 + 1e-6) for tick in ticks)
    if not logarithmic:
        assert len(ticks) >= 2
        widths = np.diff(ticks)
        assert widths == pytest.approx([widths[0]] * len(widths), rel=1e-3)
    if logarithmic and factor > 100:
        assert ticks


def test_one_step_of_a_hundred_thousand_is_seen() -> None:
    n, spike = 100_000, 61_803
    x_N = np.arange(1, n + 1, dtype=float)
    y_N = 3 + 1 / np.sqrt(x_N)
    y_N[spike] = 50.0
    drawn = chart("Loss", [Curve(0, "a", x_N, y_N, "mean")], "steps", short)
    assert drawn is not None
    [faint] = paths(drawn.svg, "faint")
    points = [tuple(map(float, point.split())) for point in faint[1:].split("L")]
    above = [left for left, top in points if top < 0 and left > INNER[0] * 0.05]
    assert above == [pytest.approx(spike / n * INNER[0], abs=0.1)]
    assert drawn.notes == ["a leaves the picture: 50 at 61.8 k steps"]
    assert len(drawn.svg) < 30_000


def test_the_axis_is_made_for_the_end_of_a_run_and_logarithmic_where_it_spans_much() -> None:
    x_N = np.arange(1000.0)
    falling = Curve(0, "a", x_N, 3 + 8 * np.exp(-x_N / 10), "mean")
    axis = y_range([falling], 40, from_zero=False)
    assert 2.8 < axis.low < 3 < axis.high < 4
    assert not axis.logarithmic
    measured = falling._replace(kind="line")
    assert y_range([measured], 40, from_zero=False).high > 11
    assert y_range([Curve(0, "a", x_N, 10 ** (x_N / 500), "mean")], 40, from_zero=False).logarithmic
    assert y_range([Curve(0, "a", x_N, np.zeros(1000), "mean")], 40, from_zero=True) == Axis(0.0, 1.0)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (512, "512"), (0.0006, "0.0006"), (1500, "1.5 k"), (999_999, "1 M"), (2e7, "20 M"), (1.2e9, "1.2 B"),
     (3e12, "3 T")],
)  # fmt: skip
def test_counts_are_short(number: float, text: str) -> None:
    assert short(number) == text


# --- the page --------------------------------------------------------------------------------------------------


def test_page_of_two_runs(tmp_path: Path) -> None:
    first = steps(40, mfu=0.41, memory_bytes=3 * 2**30)
    for row in first[9::10]:
        row.update(validation_loss=row["loss"] + 0.1, bits_per_byte=row["loss"] / 3, samples=[f"at {row['step']}"])
    first[20].update(loss=None, skipped=True, reason="gradient <norm>")
    other = {**CONFIG, "train": {**CONFIG["train"], "batch_tokens": 4000}}
    second = [{**row, "samples": None} for row in steps(20)]
    runs = read_runs([make_run(tmp_path / "a", first), make_run(tmp_path / "b", second, other)])
    html = page(runs)
    text = checked(html).text
    for title in ("Loss", "Bits a byte", "Tokens a second", "MFU", "Learning rate", "Gradient norm", "Peak memory"):
        assert title in text
    assert html.count('<svg class="chart"') == 2 * 7
    assert len(paths(html, "faint")) == 2 * (2 + 2 + 1 + 2)
    dots = paths(html, "dots")
    assert [path.count("M") for path in dots] == [4] * 4  # held-out loss and bits, over tokens and over steps
    # 40 steps of 1000 tokens end where 10 of 4000 do: half way over tokens, at the end over steps.
    ends = [float(path.split("L")[-1].split()[0]) / INNER[0] for path in paths(html, "faint")[:4]]
    assert ends == pytest.approx([0.5, 1, 1, 0.5], abs=1e-3)
    assert html.count('class="cross r0"') == 2
    assert "a: update 21 skipped, gradient &lt;norm&gt;" in html
    assert (
        '<tr class="differs"><th scope="row"><code>train.batch_tokens</code></th><td>1,000</td><td>4,000</td>' in html
    )
    assert "No samples." in text
    assert html == page(runs)


def test_what_a_model_wrote_is_shown_as_text_and_thinned(tmp_path: Path) -> None:
    rows = steps(300)
    for row in rows:
        row["samples"] = [f"<script>alert({row['step']})</script> & {{{{ x }}}}", "</style>", "long " * 1000]
    run = read_run(make_run(tmp_path / "a", rows))
    html = page([run])
    assert "alert(300)&lt;/script&gt; &amp; {{ x }}" in html
    assert html.count("<script>") == html.count("</style>") == 1
    checked(html)
    sampled = samples(run)
    assert sampled["all"] == 300
    numbers = [int(shown["step"]) for shown in sampled["shown"]]
    assert (numbers[0], numbers[-1]) == (1, 300)
    assert len(numbers) <= 24
    assert sorted(np.diff(numbers)) == list(np.diff(numbers))  # the distances grow
    assert len(html) < 400_000


@pytest.mark.parametrize(
    ("rows", "pictures"),
    [
        (b"", 0),
        (steps(1), 4),
        ([{"step": 1}], 0),
        ([{"step": n, "loss": None, "skipped": True} for n in range(1, 4)], 0),
        ([{"step": n, "loss": 0.0, "grad_norm": 0, "lr": -1} for n in range(1, 4)], 3),
        ([{"step": 0, "loss": 1e300}, {"step": 1, "loss": 1e-300}], 1),
        ([{"step": n, "loss": math.nan, "validation_loss": 3.0} for n in range(1, 200)], 1),
    ],
)
def test_page_of_little(tmp_path: Path, rows: list[Any] | bytes, pictures: int) -> None:
    html = page([read_run(make_run(tmp_path / "a", rows))])
    checked(html)
    assert html.count("<figure") == pictures


def test_run_without_a_configuration_has_curves_over_steps(tmp_path: Path) -> None:
    html = page(read_runs([make_run(tmp_path / "a", steps(5), None)]))
    text = " ".join(checked(html).text)
    assert "The number of tokens is not known for any run." in text
    assert "a: no config.json" in text
    assert html.count('<svg class="chart"') == 4


def test_more_runs_than_colours_have_colours(tmp_path: Path) -> None:
    html = page(read_runs([make_run(tmp_path / f"run-{n}", steps(5)) for n in range(11)]))
    checked(html)
    colours = re.findall(r"^\.r\d+ \{ --run: ([^;]+);", html, re.MULTILINE)
    assert len(set(colours)) == len(colours) == 11
    assert "<title>11 runs</title>" in html


def test_page_of_a_long_run_is_small(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [
        {"step": n, "loss": 3 + noise, "lr": 1e-3, "grad_norm": 1 + noise, "tokens_per_second": 1000 + noise,
         "mfu": 0.4, "validation_loss": 3 + noise, "samples": ["word " * 20]}
        for n, noise in enumerate(random.random(30_000).tolist(), 1)
    ]  # fmt: skip
    html = page([read_run(make_run(tmp_path / "a", rows))])
    assert len(html) < 250_000
    checked(html)


# --- the command -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of `model pretrain` with different learning rates."""
    root = tmp_path_factory.mktemp("work")
    vocabulary = Vocabulary(tuple(bytes([b]) for b in range(256)), "gpt2", {"<|endoftext|>": 256})
    save_vocabulary(vocabulary, root / "tokenizer")
    sentence = b"The cat sat on the mat, and the dog sat by the door of the old house. "
    documents = [list(sentence[shift:] + sentence * 3) for shift in range(30)]
    write_shard(root / "tokens/a.parquet", documents, vocabulary.size, 256, vocabulary.hash)
    runs = [root / "runs/low", root / "runs/high"]
    for run, lr in zip(runs, (1e-3, 4e-3), strict=True):
        result = run_command(
            "pretrain", "--data", root / "tokens", "-o", run, "--context", 32, "--batch-tokens", 64, "--device", "cpu",
            "--steps", 6, "--lr", lr, "--validate-every", 3, "--sample-every", 3,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    return runs


def test_plot_writes_a_page_of_trained_runs(trained: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "new/compared.html"
    result = run_command("plot", *trained, "-o", target, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["page"] == str(target)
    assert summary["differing"] == {"train.lr": [1e-3, 4e-3]}
    rows = [json.loads(line) for line in (trained[0] / "metrics.jsonl").read_text().splitlines()]
    low, high = summary["runs"]
    assert (low["name"], high["name"]) == ("low", "high")
    assert low["validation_loss"] == rows[-1]["validation_loss"]
    assert low["preset"] == "tiny"
    assert low["tokens"] == 6 * 64
    text = " ".join(checked(target.read_text("utf-8")).text)
    assert rows[-1]["samples"][0] in text
    assert [path.name for path in target.parent.iterdir()] == ["compared.html"]
    result = run_command("plot", trained[0], "-o", target)
    assert result.stdout == f"{target}\n"
    assert "high" not in checked(target.read_text("utf-8")).text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/none"], "/none: not a run, it holds no metrics.jsonl; should be what `model pretrain -o` made"),
        (["{tmp}"], "not a run, it holds no metrics.jsonl; the runs in it are bad, good, list"),
        (["{tmp}/good", "{tmp}/bad"], "bad/config.json: not JSON"),
        (["{tmp}/list"], "list/config.json: should be a JSON object"),
        (["{tmp}/good", "-o", "{tmp}"], "Is a directory"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    make_run(tmp_path / "good", steps(3))
    (make_run(tmp_path / "bad", steps(3)) / "config.json").write_text("{")
    (make_run(tmp_path / "list", steps(3)) / "config.json").write_text("[]")
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    result = run_command("plot", *given, *([] if "-o" in given else ["-o", tmp_path / "page.html"]))
    assert result.exit_code == 1, result.output
    [line] = result.stderr.splitlines()
    assert line.startswith("model: ")
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "good", "list"]


def test_usage() -> None:
    assert run_command("plot").exit_code == 2
    assert "Examples:\n" in run_command("plot", "--help").stdout


def test_plot_does_without_torch(tmp_path: Path) -> None:
    make_run(tmp_path / "a", steps(3))
    code = (
        "import sys; from model.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert not {'torch', 'pyarrow', 'numba', 'matplotlib'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code, "plot", tmp_path / "a", "-o", tmp_path / "page.html"], check=True)
    assert (tmp_path / "page.html").is_file()


def test_missing_package_is_reported_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path / "a", steps(3))
    monkeypatch.setitem(sys.modules, "jinja2", None)
    result = run_command("plot", tmp_path / "a", "-o", tmp_path / "page.html")
    assert result.exit_code == 1
    assert result.stderr == "model: jinja2 is not installed; pip install '.[model]' brings what model needs\n"


def test_numbers_of_tokens_that_do_not_rise_have_short_coordinates(tmp_path: Path) -> None:
    rows = steps(3)
    rows[0]["tokens"], rows[1]["tokens"], rows[2]["tokens"] = 1e308, -1e308, 64
    html = page(read_runs([make_run(tmp_path / "run", rows)]))
    assert not re.search(r"\d{20}|\binf\b", html)
