"""Who is in a document's cluster, found again in what a deduplication left."""

from __future__ import annotations

import random
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpus.dedup import Config, shards
from corpus.dedup.clusters import Cluster, cluster_of, largest, nearest, ngrams_in_common
from corpus.dedup.passes import dedup_passes
from corpus.dedup.published import IndexOptions
from corpus.dedup.results import Deduplication, NotFound, Place, find_id, find_url, load, open_deduplication
from corpus.engine.local import LocalEngine
from corpus.run import barrier
from corpus.run.barrier import BarrierJob
from corpus.run.execute import run_pass
from corpus.run.recipe import Recipe, make_step
from corpus.store.shards import Dataset
from tests.support.command import commit_rows

# Many short bands: whatever is a little alike is a candidate.
CONFIG = Config(bands=60, rows=2)


def words(seed: int, count: int = 304) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices("abcdefgh", k=7)) for _ in range(count)]


def edited(text: list[str], first: int, count: int) -> list[str]:
    """`count` words are others, ten words apart: each of them is in five 5-grams."""
    changed = list(text)
    for number in range(count):
        changed[first + 10 * number] = f"e{first:03}x{number:02}"
    return changed


def commit(folder: Path, unit: str, documents: dict[str, list[str]]) -> None:
    """Commit a shard of documents with these names: their ids are <name>, their urls https://example.org/name."""
    rows = [
        {"id": f"<{name}>", "url": f"https://example.org/{name}", "dump": "CC-MAIN-2026-43", "text": " ".join(text)}
        for name, text in documents.items()
    ]
    commit_rows(folder, rows, unit)


def deduplicate(documents: Path, output: Path, config: Config = CONFIG, **more: Any) -> Deduplication:
    steps = (make_step("dedup")._replace(config=config),)
    keys = Dataset(documents).units()
    job = BarrierJob(str(documents), keys, Recipe("x", steps), f"{output}/_dedup", options=IndexOptions(**more))
    with LocalEngine(1) as engine:
        for plan in dedup_passes(job, steps, str(output)):
            assert run_pass(plan, engine, lambda event: None).failures == []
    return open_deduplication(str(output))


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    """Many partitions, and groups of one shard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(barrier, "_PARTITION", 2000)
        patch.setattr(shards, "_SMALLEST_GROUP", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards: a page, its copy, and a near copy; one that is a little like it; a chain of three; one alone."""
    folder = tmp_path_factory.mktemp("clusters")
    page, chain = words(1), words(2)
    commit(
        folder / "docs",
        "u0",
        {
            "alone": words(3),
            "page": [*page, "longer"],
            "chain0": [*chain, "longer", "still"],
            "chain1": [*edited(chain, 10, 6), "longer"],
        },
    )
    twin = [word.upper() for word in [*page, "longer"]]
    rest = {
        "near": edited(page, 10, 6),
        "twin": twin,
        "chain2": edited(edited(chain, 10, 6), 100, 6),
        "like": edited(page, 10, 12),
    }
    commit(folder / "docs", "u1", rest)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Deduplication:
    return deduplicate(folder / "docs", folder / "unique")


def cluster(found: Deduplication, name: str) -> Cluster:
    return cluster_of(found, find_id(found, f"<{name}>"))


def test_there_is_more_than_one_file_of_everything(found: Deduplication) -> None:
    assert len(found.decisions) > 1
    assert len(Dataset(f"{found.work}/candidates").files("candidates")) == 2


def test_a_dropped_page_is_shown_with_its_twins(found: Deduplication) -> None:
    near = cluster(found, "near")
    assert (near.size, near.kept.id, near.asked.id) == (3, "<page>", "<near>")
    assert [(member.id, member.keep, member.rule) for member in near.members] == [
        ("<page>", True, None),
        ("<twin>", False, "dedup.exact"),
        ("<near>", False, "dedup.minhash"),
    ]
    assert near.rules == Counter({"dedup.exact": 1, "dedup.minhash": 1})
    assert near.asked.place == Place(1, 0)


def test_the_n_grams_in_common_are_the_similarity_that_decided(found: Deduplication) -> None:
    near = cluster(found, "near")
    assert near.asked.place
    assert near.kept.place
    places = (near.kept.place, near.asked.place)
    documents, missing = load(found, places, places)
    assert missing is None
    common, total = ngrams_in_common(*(documents[place].text for place in places), found.config)
    assert common / total == near.asked.similarity
    assert (common, total) == (270, 331)  # of 300 and 301 5-grams, six edits cost 30


def test_a_kept_page_has_the_same_cluster(found: Deduplication) -> None:
    page = cluster(found, "page")
    assert page.asked is page.kept
    assert page.members == cluster(found, "twin").members


def test_a_page_alone_is_told_from_one_that_is_not_like_its_candidates(found: Deduplication) -> None:
    assert cluster(found, "alone").alone
    like = cluster(found, "like")
    assert (like.size, like.alone) == (1, False)
    near = nearest(found, Place(1, 3), 2)
    assert near
    assert near.candidates == 3
    assert [member.id for member in near.members] == ["<near>", "<page>"]
    assert not near.members[0].keep
    assert near.members[0].representative == "<page>"


def test_what_resembles_only_a_dropped_page_stays_and_one_sees_why(found: Deduplication) -> None:
    assert cluster(found, "chain1").kept.id == "<chain0>"
    chain2 = cluster(found, "chain2")
    assert (chain2.size, chain2.asked.keep, chain2.asked.place) == (1, True, Place(1, 2))
    assert chain2.asked.place
    near = nearest(found, chain2.asked.place, 10)
    assert near
    first, second = near.members
    assert (first.id, first.keep, first.representative) == ("<chain1>", False, "<chain0>")
    assert (second.id, second.keep) == ("<chain0>", True)
    assert (first.similarity or 0) >= CONFIG.threshold > (second.similarity or 1)


def test_a_page_is_found_by_its_url(found: Deduplication) -> None:
    looked: list[int] = []
    assert find_url(found, "https://example.org/twin", looked.append) == Place(1, 1)
    assert looked == [4]  # the first shard


def test_a_url_that_is_not_there_is_told_what_comes_closest(found: Deduplication) -> None:
    with pytest.raises(NotFound, match=r"not among the urls of the 8 documents; there is https://example\.org/page$"):
        find_url(found, "http://www.Example.org/page/")
    with pytest.raises(NotFound, match=r"there is https://example\.org/page$"):
        find_url(found, "https://example.org/page?session=1")
    with pytest.raises(NotFound, match=r"documents$"):
        find_url(found, "https://elsewhere.org/")


def test_an_id_that_is_not_there(found: Deduplication) -> None:
    with pytest.raises(NotFound, match=r"page: no document among 8 has this id; ids of Common Crawl's pages look like"):
        find_id(found, "page")


def test_the_largest_clusters(found: Deduplication) -> None:
    first, second = largest(found, 10)
    assert (first.representative, first.size, first.kept) == ("<page>", 3, Place(0, 1))
    assert first.rules == Counter({"dedup.exact": 1, "dedup.minhash": 1})
    assert first.similarity == (270 / 331, 1.0)
    assert (second.representative, second.size, second.kept) == ("<chain0>", 2, Place(0, 2))
    assert largest(found, 1) == [first]


def test_every_cluster_of_a_corpus_is_that_of_its_labels(tmp_path: Path) -> None:
    chance = random.Random(4)
    texts = [words(seed, 60) for seed in range(30)]
    texts += [chance.choice(texts[:30]) + ["more"] * chance.randrange(3) for _ in range(60)]
    for unit in range(3):
        part = dict(list(enumerate(texts))[30 * unit : 30 * unit + 30])
        commit(tmp_path / "docs", f"u{unit}", {str(number): text for number, text in part.items()})
    found = deduplicate(tmp_path / "docs", tmp_path / "unique")
    labels = [row for output in found.labels.files("labels") for row in found.labels.table(output).to_pylist()]
    clusters: dict[int, set[str]] = defaultdict(set)
    for row in labels:
        clusters[row["cluster_id"]].add(row["id"])
    for number, row in enumerate(labels):
        shown = cluster_of(found, Place(number // 30, number % 30))
        assert shown.asked.id == row["id"]
        assert {member.id for member in shown.members} == clusters[row["cluster_id"]]
        assert shown.kept.id == row["representative"]
    sizes = sorted((len(members) for members in clusters.values() if len(members) > 1), reverse=True)
    for count in (1, 3, 100):
        assert [item.size for item in largest(found, count)] == sizes[:count]


def test_what_an_index_has_stands_for_documents_without_being_one(folder: Path, tmp_path: Path) -> None:
    index = str(tmp_path / "index")
    deduplicate(folder / "docs", tmp_path / "first", against=index, update_index=True)
    new = {"new0": words(7), "new1": edited(words(1), 10, 2), "new2": edited(words(1), 150, 12)}
    commit(tmp_path / "new", "n", new)
    found = deduplicate(tmp_path / "new", tmp_path / "second", against=index)
    twin = cluster(found, "new1")
    assert (twin.kept.id, twin.kept.place, twin.size) == ("<page>", None, 2)
    assert [member.id for member in twin.members] == ["<new1>"]
    assert cluster(found, "new0").alone
    (only,) = largest(found, 3)
    assert (only.representative, only.kept, only.size) == ("<page>", None, 2)


def test_without_the_documents_ids_are_known_and_the_path_is_said(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "docs", tmp_path / "docs")
    found = deduplicate(tmp_path / "docs", tmp_path / "unique")
    shutil.rmtree(tmp_path / "docs")
    near = cluster(found, "near")
    assert near.kept.place
    documents, missing = load(found, [near.kept.place])
    assert documents == {}
    assert missing
    assert missing.startswith(f"{tmp_path}/docs/data/u0-")
    with pytest.raises(FileNotFoundError, match=r"u0-\w+\.parquet: is not there .*ask with --id"):
        find_url(found, "https://example.org/page")


def test_unverified_there_is_nothing_to_tell_of_candidates(folder: Path, tmp_path: Path) -> None:
    found = deduplicate(folder / "docs", tmp_path, Config(bands=60, rows=2, verify=False, keep="first"))
    like = cluster(found, "like")
    assert (like.kept.id, like.size) == ("<page>", 4)
    assert nearest(found, Place(1, 3), 3) is None


def test_a_folder_without_a_deduplication(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no duplicates were sought here"):
        open_deduplication(str(folder / "docs"))
    shutil.copytree(folder / "unique", tmp_path / "unique")
    next((tmp_path / "unique/_dedup/decisions/_units").iterdir()).unlink()
    with pytest.raises(ValueError, match="not finished"):
        open_deduplication(str(tmp_path / "unique"))
