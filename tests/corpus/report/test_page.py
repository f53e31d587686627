"""The report page: self-contained, escaped, readable by a screen reader, the same bytes every time."""

from __future__ import annotations

import math
import re
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from corpus.report.curve import loss_curve, points, thinned
from corpus.report.funnel import Funnel, funnel
from corpus.report.page import page
from tests.support.funnels import count, record, small

TRAINING = [
    {"step": step, "loss": 9 * math.exp(-step / 40) + 3, "lr": 1e-3, "tokens_per_second": 12345.6}
    | ({"validation_loss": 3.5} if step % 50 == 0 else {})
    for step in range(1, 201)
]
NASTY = "<script>alert('x')</script><img src=https://bad.example/x.png>"
EXAMPLES = [
    {"rule": "warc.status", "url": f"https://odd.example/{n}/{NASTY}", "value": "404", "threshold": "200"}
    for n in range(5)
] + [{"rule": "c4.few_sentences", "url": None, "value": "0.123456789", "threshold": None}]


def whole(found: Funnel | None = None) -> str:
    return page(
        found or funnel(small()),
        title=f"Run {NASTY}",
        recipe_text=f'name = "demo" # {NASTY}',
        training=TRAINING,
        samples=["The keeper", NASTY, "  "],
        examples=EXAMPLES,
    )


def tree(text: str) -> Any:
    return lxml_html.document_fromstring(text)


def test_nothing_is_fetched_and_nothing_runs() -> None:
    text = whole()
    found = tree(text)
    assert found.xpath("//script | //link | //iframe | //object | //img | //*[local-name()='image']") == []
    for element in found.iter(etree.Element):
        for name, value in element.attrib.items():
            assert not name.startswith("on"), (element.tag, name)
            if name.split(":")[-1].split("}")[-1] in ("src", "href", "srcset", "action", "data"):
                assert value.startswith("#"), (element.tag, name, value)
    styles = "".join(found.xpath("//style/text()")) + "".join(found.xpath("//@style"))
    assert "@import" not in styles
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]+)", text))


def test_what_others_wrote_is_shown_as_text() -> None:
    found = tree(whole())
    assert found.findtext(".//h1") == f"Run {NASTY}"
    assert NASTY in found.xpath("string(//blockquote[2])")
    assert NASTY in found.xpath("string(//pre)")
    assert f"https://odd.example/0/{NASTY}" in found.xpath("//details//code/text()")


def test_the_same_input_gives_the_same_page() -> None:
    one, two = (page(funnel(small()), title="x", training=TRAINING, samples=["a"], examples=EXAMPLES) for _ in range(2))
    assert one == two


def test_figures_tables_and_pictures() -> None:
    found = tree(whole())
    assert found.xpath("//*[@class='figures']//b/text()")[:3] == ["1,200", "700", "300,045"]
    rows = found.xpath("//tbody/tr")
    assert [row.xpath("string(th)") for row in rows] == ["warc", "c4", "dedup", "tokens"]
    assert rows[1].xpath("td/text()") == ["1,170", "410", "760", "65.0%", "63.3%"]
    for table in found.xpath("//table"):
        assert table.xpath("caption")
        assert len(table.xpath("thead//th[@scope='col']")) == 6
        assert table.xpath("count(.//tbody//tr)") == table.xpath("count(.//tbody//th[@scope='row'])")
    for picture in found.xpath("//*[local-name()='svg']"):
        assert picture.get("role") == "img"
        (title,) = found.xpath(f"//*[@id='{picture.get('aria-labelledby')}']")
        assert "Training loss" in title.text
    assert len(found.xpath("//details")) == 2
    assert len(found.xpath("//details[1]//li | //details[2]//li")) == 3 + 1  # at most three of a rule
    assert "measured 0.1235" in found.text_content()
    ids = found.xpath("//@id")
    assert len(ids) == len(set(ids))


def test_every_drop_has_its_bar() -> None:
    found = tree(whole())
    rows = found.xpath("//*[contains(@class, 'rules')]/*[@class='row']")
    assert [row.xpath("string(*[@class='name'])") for row in rows] == [
        "c4.few_sentences", "dedup.minhash", "warc.status", "c4.curly_bracket", "warc.content_type",
    ]  # fmt: skip
    widths = [float(re.findall(r"[\d.]+", row.xpath("string(.//*[@class='lost']/@style)"))[0]) for row in rows]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == 100


def test_an_account_that_does_not_add_up_is_said_at_the_top() -> None:
    leaky = funnel([("d", record("A", count("warc", 5, {}), count("c4", 4, {})))])
    alert = tree(whole(leaky)).xpath("//*[@role='alert']")
    assert "warc kept 5 but c4 read 4" in alert[0].text_content()
    assert tree(whole()).xpath("//*[@role='alert']") == []


def test_a_page_with_the_funnel_alone() -> None:
    headings = tree(page(funnel([]), title="nothing yet")).xpath("//h2/text()")
    assert headings == ["The funnel", "What the rules dropped", "How to read this"]


def test_the_curve_is_well_formed_svg_in_the_colour_of_the_page() -> None:
    svg = loss_curve(TRAINING)
    assert svg is not None
    root = etree.fromstring(svg)
    assert "currentColor" in svg
    assert "#010203" not in svg
    texts = root.xpath("//*[local-name()='text']/text()")
    assert {"step", "training loss", "validation loss"} <= {text.strip() for text in texts}
    assert root.get("width") is None
    assert root.get("viewBox")


def test_the_curve_skips_what_is_no_number() -> None:
    rows = [{"step": 1, "loss": float("nan")}, {"step": 2}, {"loss": 1.0}, {"step": 3, "loss": "x"}]
    rows += [{"step": 4, "loss": 10**400}, {"step": 10**400, "loss": 1.0}]
    assert points(rows, "loss") == []
    assert loss_curve(rows) is None
    assert loss_curve([{"step": 4, "validation_loss": 2}]) is not None


def test_long_runs_are_thinned_to_means() -> None:
    series = [(step, float(step % 2)) for step in range(10_000)]
    found = thinned(series, most=100)
    assert len(found) == 100
    assert found[0] == (49.5, 0.5)
    assert thinned(series[:7], most=100) == [(float(step), value) for step, value in series[:7]]
