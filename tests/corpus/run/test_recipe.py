from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from corpus.config import check, setting
from corpus.run.recipe import STAGES, describe, load_recipe, make_step, parse_override
from tests.support.paths import REPOSITORY


@dataclasses.dataclass(frozen=True)
class Example:
    count: int = setting(3, "how many", low=1, high=9)
    share: float = setting(0.5, "how much", low=0, high=1)
    names: tuple[str, ...] = setting(("a",), "which")
    mode: str = setting("x", "how", choices=("x", "y"))
    maybe: str | None = setting(None, "perhaps")
    on: bool = setting(True, "whether")


def test_equal_settings_are_equal_whatever_they_were_written_as() -> None:
    assert check(Example(share=1, names=["b"])) == Example(share=1.0, names=("b",))  # type: ignore[arg-type]
    assert type(check(Example(share=1)).share) is float


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "count = 0: should be between 1 and 9"),
        ({"count": 2.5}, "count = 2.5: should be a whole number"),
        ({"count": True}, "count = True: should be a whole number"),
        ({"share": "much"}, "share = 'much': should be a number"),
        ({"share": float("nan")}, "share = nan: should be a number"),
        ({"names": "a"}, "names = 'a': should be a list of a string each"),
        ({"names": [1]}, "names = 1: should be a string"),
        ({"mode": "z"}, "mode = 'z': should be one of x, y"),
        ({"maybe": 1}, "maybe = 1: should be a string"),
        ({"on": "yes"}, "on = 'yes': should be true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        check(Example(**settings))


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_valid_documented_defaults(stage: str) -> None:
    # What has no default; any path that is there will do.
    needed = {
        "token_count": {"tokenizer": "recipes"},
        "classifier": {"model": "README.md"},
        "decontaminate": {"benchmarks": ["README.md"]},
    }
    config = make_step(stage, needed.get(stage)).config
    fields = dataclasses.fields(config)
    assert all(field.metadata["help"] for field in fields)
    assert config.__dataclass_params__.frozen


@pytest.mark.parametrize("path", sorted((REPOSITORY / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_our_recipes_load(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    stages = [step.stage for step in recipe.steps if step.stage not in ("optout", "prescreen")]
    assert stages[:3] == (
        ["urls", "extract", "language"] if path.stem != "fineweb-text" else ["language", *stages[1:3]]
    )
    assert recipe.tokenizer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[language]\nthreshold = 0.5\ntreshold = 0.6", ":3: [language] treshold: unknown setting"),
        ("[language]\ntreshold = 0.6", "did you mean threshold?"),
        ("\n\n[language]\n\nthreshold = 1.5", ":5: [language] threshold = 1.5: should be between 0 and 1"),
        ("[language]\nthreshold = 'high'", ":2: [language] threshold = 'high': should be a number"),
        ("[language]\nlanguages = 'en'", ":2: [language] languages = 'en': should be a list"),
        ("[urls]\n[langauge]", ":2: langauge: no such stage or setting; did you mean language?"),
        ("name = 3", ":1: name = 3: should be a string"),
        ("[extract]\nfavor = 'speed'", ":2: [extract] favor = 'speed': should be one of"),
        ("[urls]\nblocklist = ['no/such/list']", ":2: [urls] blocklist = 'no/such/list': no such file"),
        ("[language]\n[extract]", ":2: [extract] should come before [language]"),
        ("[extract]\n[urls]", ":2: [urls] should come before [extract]"),
        ("[extract]\n[prescreen]", ":2: [prescreen] should come before [extract]"),
        ("[prescreen]\nlanguages = ['en']", ":2: [prescreen] languages: unknown setting of [prescreen]"),
        ("[language]\nlanguages = ['EN']", ":2: [language] languages = 'EN': no such language; did you mean en?"),
        ("[language]\nlanguages = ['all', 'en']", ":2: [language] languages = ['all', 'en']: should be all alone"),
        ("[token_count]", ":1: [token_count] tokenizer = '': should name a vocabulary"),
        ("[tokenizer]\n[c4]", ":1: [tokenizer] should be the last stage"),
        ("[dedup]\npreset = {x = 1}", ":2: [dedup] preset = {'x': 1}: should be one of"),
        ("[language\n", "not TOML: "),
        ("[language]\nthreshold = " + "9" * 400, ":2: [language] threshold = 999"),
        ("[language]\nthreshold = " + "9" * 5000, "not TOML: "),
        ("[language]\nthreshold = ['" + "x" * 5000 + "']", "should be a number"),
        ("name = ['" + "x" * 5000 + "']", "should be a string"),
        ("[c4]\n[c4]", "not TOML: "),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="mine") as raised:
        load_recipe(path)
    assert str(raised.value).startswith(str(path))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_missing_recipe() -> None:
    with pytest.raises(ValueError, match=r"nowhere\.toml: no such recipe"):
        load_recipe("nowhere.toml")


def test_a_built_in_recipe_has_a_name_and_a_file_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    built_in = load_recipe("fineweb")
    assert built_in == load_recipe(REPOSITORY / "recipes/fineweb.toml")
    Path("fineweb").mkdir()  # a folder is no recipe
    assert load_recipe("fineweb") == built_in
    Path("fineweb").rmdir()
    Path("fineweb").write_text('name = "mine"')
    assert load_recipe("fineweb").name == "mine"


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[extract]\n[language]\nthreshold = 0.7")
    recipe = load_recipe(path, [parse_override("language.threshold=0.5"), parse_override('language.languages=["de"]')])
    assert (recipe.config("language").threshold, recipe.config("language").languages) == (0.5, ("de",))
    assert parse_override("extract.favor=recall") == ("extract", "favor", "recall")
    with pytest.raises(ValueError, match=r"language\.threshold = 2\.0: should be between"):
        load_recipe(path, [("language", "threshold", 2)])
    with pytest.raises(ValueError, match=r"c4\.min_sentences: .* has no stage \[c4\]"):
        load_recipe(path, [("c4", "min_sentences", 2)])
    with pytest.raises(ValueError, match=r"should be STAGE\.SETTING=VALUE"):
        parse_override("threshold=2")


def test_the_description_follows_the_content_of_files_not_their_names(tmp_path: Path) -> None:
    names = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path in names:
        path.write_text("blocked.example\n")
    first, second = (describe([make_step("urls", {"blocklist": [str(path)]})]) for path in names)
    assert first == second
    names[1].write_text("other.example\n")
    assert describe([make_step("urls", {"blocklist": [str(names[1])]})]) != first
    assert first["versions"]["corpus"]
    assert describe([make_step("extract")])["versions"]["trafilatura"]


PRESCREENED = [
    ("[extract]\n[language]\nlanguages = ['de', 'en']", ("de", "en")),
    ("[urls]\n[prescreen]\nthreshold = 0.2\n[extract]\n[language]", ("en",)),
    ("[extract]\n[language]\nlanguages = ['en', 'de', 'fr', 'it', 'es']", ("en", "de", "fr", "it", "es")),
]
NOT_PRESCREENED = [
    "[extract]",
    "[language]",
    "[extract]\n[language]\nlanguages = 'all'",
    "[extract]\n[language]\nlanguages = ['all']",
    "[extract]\n[language]\nlanguages = []",
    "[extract]\n[language]\nlanguages = ['en', 'de', 'fr', 'it', 'es', 'pl']",
    "[prescreen]\nenabled = false\n[extract]\n[language]",
]


@pytest.mark.parametrize(("text", "languages"), PRESCREENED)
def test_pages_are_prescreened_for_the_languages_that_are_wanted(
    tmp_path: Path, text: str, languages: tuple[str, ...]
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    recipe = load_recipe(tmp_path / "mine.toml")
    stages = [step.stage for step in recipe.steps]
    assert stages.index("prescreen") + 1 == stages.index("extract")
    assert recipe.config("prescreen").languages == languages


@pytest.mark.parametrize("text", NOT_PRESCREENED)
def test_there_is_no_prescreen_where_it_would_have_nothing_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    assert load_recipe(tmp_path / "mine.toml").config("prescreen") is None


def test_the_prescreen_takes_the_model_of_the_language_stage_and_is_part_of_the_hash(tmp_path: Path) -> None:
    models = [tmp_path / "one.ftz", tmp_path / "two.ftz"]
    for model in models:
        model.write_bytes(b"a model")
    (tmp_path / "mine.toml").write_text("[extract]\n[language]\n")
    path = tmp_path / "mine.toml"
    on, other = (load_recipe(path, [("language", "model", str(model))]) for model in models)
    off = load_recipe(path, [("language", "model", str(models[0])), ("prescreen", "enabled", False)])
    assert on.config("prescreen").model == str(models[0])
    assert describe(on.steps) == describe(other.steps)
    assert describe(on.steps)["prescreen"]["model"] == describe(on.steps)["language"]["model"]
    assert describe(on.steps) != describe(off.steps)
    assert describe(off.steps)["order"] == ["extract", "language"]
    wider = load_recipe(path, [("prescreen", "threshold", 0.2)])
    assert wider.config("prescreen").threshold == 0.2
    assert describe(load_recipe(path).steps)["prescreen"]["resources"]["model"]
    with pytest.raises(ValueError, match=r"prescreen\.threshold = 2\.0: should be between"):
        load_recipe(path, [("prescreen", "threshold", 2)])
    (tmp_path / "text.toml").write_text("[language]")
    with pytest.raises(ValueError, match=r"prescreen\.enabled: .* has no stage \[prescreen\]"):
        load_recipe(tmp_path / "text.toml", [("prescreen", "enabled", False)])
