"""Reading the files of a run: curves, figures, settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import history
from model.config import as_dict
from model.gpt import GPT, parameter_count
from model.history import differing, figures, parameters, preset, read_run, read_runs
from model.plot import page
from model.presets import PRESETS, from_preset
from tests.oracles.training import finite, rows_that_count
from tests.support.model_runs import CONFIG, make_run, steps
from tests.support.model_shards import small_model

values = st.one_of(st.none(), st.floats(), st.integers(-5, 10**25), st.booleans(), st.text("ab", max_size=2))
lines = st.one_of(
    st.fixed_dictionaries(
        {"step": st.integers(0, 12)},
        optional={"loss": values, "tokens": st.integers(0, 10**13), "samples": st.lists(st.text(max_size=3))},
    ).map(lambda row: json.dumps(row).encode()),
    st.sampled_from(
        [b"", b"{", b"[1", b"2]", b"7", b"null", b'{"step": 3', b'{"step": true}', b'{"step": "4"}', b"\xff"]
    ),
)


@given(content=st.lists(lines, max_size=12), ended=st.booleans(), chunk=st.sampled_from([1, 64, 1 << 20]))
def test_columns_are_those_of_the_rows_that_count(
    tmp_path_factory: pytest.TempPathFactory, content: list[bytes], ended: bool, chunk: int
) -> None:
    text = b"\n".join(content) + (b"\n" if ended else b"")
    folder = make_run(tmp_path_factory.mktemp("case") / "run", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "_CHUNK", chunk)
        run = read_run(folder)
    expected = rows_that_count(text)
    assert run.step_N.tolist() == [row["step"] for row in expected]
    tokens = [row.get("tokens", row["step"] * 1000) for row in expected]
    assert run.tokens_N.tolist() == tokens
    np.testing.assert_array_equal(run.columns["loss"], [finite(row.get("loss")) for row in expected])
    wrote = [(row["step"], tuple(row["samples"])) for row in expected if row.get("samples")]
    assert [(sample.step, sample.texts) for sample in run.samples] == wrote


def test_a_line_cut_short_at_the_end_is_a_run_in_progress_and_elsewhere_is_reported(tmp_path: Path) -> None:
    whole = b'{"step": 1, "loss": 2.5}\n{"step": 2, "loss": NaN}\n'
    run = read_run(make_run(tmp_path / "a", whole + b'{"step": 3, "lo'))
    assert run.step_N.tolist() == [1, 2]
    assert run.unreadable == 0
    run = read_run(make_run(tmp_path / "b", b'{"step": 0, "lo\n7\n' + whole))
    assert run.step_N.tolist() == [1, 2]
    assert run.unreadable == 2
    assert figures(run).loss == 2.5
    assert "b: 2 lines of metrics.jsonl cannot be read" in page([run])


def test_figures_of_a_run(tmp_path: Path) -> None:
    rows = steps(10, mfu=0.4, memory_bytes=2**30)
    rows[3].update(loss=None, grad_norm=None, skipped=True, reason="loss spike")
    rows[7].update(validation_loss=2.0, bits_per_byte=1.5)
    rows[9].update(validation_loss=2.25, bits_per_byte=1.625, loss=None)
    result = figures(read_run(make_run(tmp_path / "a", rows)))
    assert (result.name, result.step, result.steps, result.tokens) == ("a", 10, 100, 10_000)
    assert result.loss == rows[8]["loss"]
    assert result.recent_loss == pytest.approx(np.mean([row["loss"] for row in rows if row["loss"] is not None]))
    assert (result.validation_loss, result.best_validation_loss, result.best_validation_step) == (2.25, 2.0, 8)
    assert result.bits_per_byte == 1.625
    assert result.tokens_per_second == 905.5
    assert (result.mfu, result.memory_bytes, result.skipped, result.reasons) == (
        0.4,
        2**30,
        1,
        {"loss spike": 1},
    )


def test_size_is_counted_as_the_model_counts_it_and_gpt2_as_published() -> None:
    for config in (small_model(), small_model(vocab_size=1000, heads=2, kv_heads=1, layers=3)):
        assert parameters(as_dict(config)) == parameter_count(GPT(config))
    published = {"124m": 124_439_808, "350m": 354_823_168, "774m": 774_030_080, "1558m": 1_557_611_200}
    for size, count in published.items():
        config, _ = from_preset(f"gpt2-{size}", 50_257)
        padding = (config.padded_vocab_size - 50_257) * config.width
        assert parameters(as_dict(config)) == count + padding
    assert parameters({"width": 3}) is None
    assert parameters({**CONFIG["model"], "layers": "many"}) is None


def test_a_shape_is_called_by_its_preset() -> None:
    for name in PRESETS:
        assert preset(as_dict(from_preset(name, 777, {"context": 64}, {"batch_tokens": 64})[0])) == name
    assert preset(CONFIG["model"]) is None
    assert preset({}) is None


def test_settings_that_differ_are_found_in_each_section(tmp_path: Path) -> None:
    other = {**CONFIG, "train": {**CONFIG["train"], "lr": 1e-3, "optimizer": "muon"}}
    runs = read_runs([make_run(tmp_path / "a", steps(3)), make_run(tmp_path / "b", steps(3), other)])
    assert differing(runs) == {"train.lr": [3e-3, 1e-3], "train.optimizer": [None, "muon"]}
    assert differing(runs[:1]) == {}


def test_runs_of_one_name_are_called_by_their_paths_and_one_named_twice_is_one(tmp_path: Path) -> None:
    first, second = make_run(tmp_path / "x/run", steps(3)), make_run(tmp_path / "y/run", steps(3))
    assert [run.name for run in read_runs([first, second])] == [str(first), str(second)]
    assert [run.name for run in read_runs([first, first / "../run"])] == ["run"]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 2**70, 10**400, "x", [1], None, True])
@pytest.mark.parametrize("section", ["model", "train"])
def test_any_number_in_the_configuration_gives_a_page(tmp_path: Path, section: str, value: object) -> None:
    config = {**CONFIG, section: dict.fromkeys(CONFIG[section], value)}
    run = read_run(make_run(tmp_path / "run", steps(3), config))
    json.dumps(figures(run)._asdict())
    assert page([run])
