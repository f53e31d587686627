"""`corpus clusters`: what was decided about a page, in words; who its twins are; and what differs between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bpe.terminal.help import Heading, command, json_option
from bpe.terminal.progress import Live
from bpe.terminal.text import BOLD, GREEN, GREY, RED, counted, in_colour, paint, readable, readable_line, say, table

if TYPE_CHECKING:
    from corpus.dedup.clusters import Cluster, Member, Nearest, Size
    from corpus.dedup.difference import Difference
    from corpus.dedup.results import Deduplication, Document, Place

CLUSTER = Heading("Which cluster")
SHOWN = Heading("What is shown")


@command()
@click.argument("folder")
@CLUSTER.option("--url", help="the cluster of the page with this address")
@CLUSTER.option("--id", metavar="ID", help="the cluster of the document with this id, <urn:uuid:...>")
@CLUSTER.option("--largest", "count", type=click.IntRange(1), metavar="N", help="a table of the N largest clusters")
@SHOWN.option("--members", type=click.IntRange(0), default=20, show_default=True, help="documents of a cluster to show")
@SHOWN.option(
    "--diff/--no-diff", default=True, show_default=True, help="the difference between the page and the kept document"
)
@json_option
def clusters(
    folder: str, url: str | None, id: str | None, count: int | None, members: int, diff: bool, as_json: bool
) -> int:
    """Explain why a page was dropped as a duplicate or kept, and list its duplicates.

    Examples:
      corpus clusters unique/ --url https://example.org/page
      corpus clusters unique/ --id '<urn:uuid:...>' --no-diff
      corpus clusters unique/ --largest 20

    FOLDER is the output of corpus dedup or corpus run. The difference is between the page and the document that is
    kept for it; if the page itself is kept, between the page and its least similar duplicate. --url searches the
    documents in their order and shows the first one with this address; --id is faster.
    """
    if sum(asked is not None for asked in (url, id, count)) != 1:
        raise click.UsageError("say which cluster: one of --url URL, --id ID and --largest N")
    from corpus.dedup.clusters import cluster_of, largest
    from corpus.dedup.results import find_id, find_url, open_deduplication

    deduplication = open_deduplication(folder)
    colours = in_colour()
    if count is not None:
        _show_largest(deduplication, largest(deduplication, count), as_json, colours)
        return 0
    place = find_url(deduplication, url, _progress()) if url is not None else find_id(deduplication, id or "")
    answer = _answer(deduplication, cluster_of(deduplication, place), members, diff)
    if as_json:
        click.echo(readable(json.dumps(_json(answer), indent=1, ensure_ascii=False)))
    else:
        click.echo(_text(answer, colours))
    return 0


def _progress() -> Callable[[int], None]:
    """Says every ten seconds how many urls the search has read."""
    live = Live("clusters")

    def on_looked(looked: int) -> None:
        if live.due():
            live.line(f"{looked:,} urls searched")

    return on_looked


class Answer(NamedTuple):
    """What is known about one document, to be printed as text or as JSON."""

    deduplication: Deduplication
    cluster: Cluster
    shown: list[Member]  # the first members of the cluster; empty for a cluster of one document
    nearest: Nearest | None  # the candidates, if none was similar enough
    documents: dict[Place, Document]
    missing: str | None  # path of documents that no longer exist
    other: Member | None  # the document that the text is compared with
    common: tuple[int, int] | None  # n-grams that both texts have, n-grams of either
    difference: Difference | None

    def document(self, member: Member) -> Document | None:
        return self.documents.get(member.place) if member.place else None


def _answer(deduplication: Deduplication, cluster: Cluster, members: int, diff: bool) -> Answer:
    from corpus.dedup.clusters import nearest, ngrams_in_common
    from corpus.dedup.difference import difference
    from corpus.dedup.results import load

    near = None
    if cluster.size == 1 and not cluster.alone:
        near = nearest(deduplication, cluster.asked.place, max(1, members)) if cluster.asked.place else None
        near = near and near._replace(members=near.members[:members] or near.members)
    shown = _first(cluster, members) if cluster.size > 1 else []
    asked, other = cluster.asked, _compared_with(cluster, near)
    needed = [asked, cluster.kept, *shown, *(near.members if near else ()), *([other] if other else ())]
    texts = [member.place for member in (asked, other) if member and member.place]
    documents, missing = load(deduplication, [member.place for member in needed if member.place], texts)
    common = differing = None
    if len(texts) == 2 and all(place in documents for place in texts):
        kept, copy = (documents[place].text for place in (texts if asked.keep else reversed(texts)))
        common = ngrams_in_common(kept, copy, deduplication.config)
        differing = difference(kept, copy) if diff else None
    return Answer(deduplication, cluster, shown, near, documents, missing, other, common, differing)


def _first(cluster: Cluster, count: int) -> list[Member]:
    """The first `count` members: the kept document, the document that was asked about, then the others."""
    ahead = [cluster.kept] if cluster.asked is cluster.kept else [cluster.kept, cluster.asked]
    return [*ahead, *(member for member in cluster.members if member not in ahead)][:count]


def _compared_with(cluster: Cluster, near: Nearest | None) -> Member | None:
    """The kept document; for the kept document itself its least similar duplicate, or the nearest candidate."""
    if not cluster.asked.keep:
        return cluster.kept
    if near:
        return next(iter(near.members), None)
    return cluster.members[-1] if cluster.size > 1 else None


def _decision(answer: Answer) -> str:
    """Why the document was kept or dropped."""
    config, cluster, asked = answer.deduplication.config, answer.cluster, answer.cluster.asked
    if cluster.alone:
        return f"kept: no other document{' of its dump' if config.per_dump else ''} has anything in common with it"
    if cluster.size == 1:
        return f"kept: {_not_similar(answer)}"
    if asked.keep:
        best = {"longest": "the longest", "first": "the first"}.get(config.keep, f"highest in {config.score_column}")
        return f"kept: {best} of {cluster.size:,} documents that are alike"
    kept = f"{cluster.kept.id}{'' if cluster.kept.place else ', which is in the index'}"
    if asked.rule == "dedup.exact":
        return f"dropped by dedup.exact: but for case and white space the text of {kept}"
    grams = ""
    if answer.common:
        grams = f", {answer.common[0]:,} of {answer.common[1]:,} distinct {config.ngram}-grams in common"
    if config.verify:
        similar = f"{asked.similarity:.4f} similar to {kept} (threshold {asked.threshold:g})"
        return f"dropped by {asked.rule}: {similar}{grams}"
    similar = f"their similarity is {asked.similarity:.4f}{grams}"
    return f"dropped by {asked.rule}, unverified: bands connect it with {kept}; {similar}"


def _not_similar(answer: Answer) -> str:
    """Why a document that has candidates stays nevertheless."""
    config, near = answer.deduplication.config, answer.nearest
    if not near or not near.members:
        return f"none of its candidates is similar enough (threshold {config.threshold:g})"
    candidates = "1 candidate, not" if near.candidates == 1 else f"{near.candidates:,} candidates, none"
    outcome = f"{candidates} similar enough (threshold {config.threshold:g})"
    closest = near.members[0]
    if (closest.similarity or 0) < config.threshold:
        return outcome
    if not closest.keep:
        return f"{outcome} among those that stay; the nearest was dropped itself, for {closest.representative}"
    unseen = f"the nearest has no band in common with it, or came after {config.checks} others"
    return f"{candidates} of those compared is; {unseen}"


def _text(answer: Answer, colours: bool) -> str:
    cluster = answer.cluster
    document = answer.document(cluster.asked)
    lines = [paint(_name(cluster.asked, document), BOLD, colours)]
    if document and document.url:
        lines.append(readable_line(cluster.asked.id))
    lines += [paint(readable_line(_decision(answer)), GREEN if cluster.asked.keep else RED, colours), ""]
    if cluster.size > 1:
        lines += [_summary(cluster), *_table(answer, answer.shown, cluster.asked, colours)]
        hidden = cluster.size - len(answer.shown)
        lines += [f"  and {hidden:,} more", ""] if hidden > 0 else [""]
    elif answer.nearest:
        lines += [
            "nearest of its candidates",
            *_table(answer, answer.nearest.members, None, colours),
            "",
        ]
    if answer.missing:
        from corpus.dedup.results import GONE

        lines += [readable_line(f"no texts: {answer.missing} {GONE}"), ""]
    return "\n".join([*lines, *_compared(answer, colours)]).rstrip()


def _compared(answer: Answer, colours: bool) -> list[str]:
    """How the text of the asked document differs from the text it is compared with; no lines if one is missing."""
    from corpus.dedup.difference import shown

    if not answer.difference or not answer.common or not answer.other:
        return []
    difference, (common, total) = answer.difference, answer.common
    one, two = _names(answer)
    lines = []
    if answer.cluster.asked.keep:
        grams = f"{common:,} of {total:,} distinct {answer.deduplication.config.ngram}-grams in common"
        lines.append(f"Compared with {_name(answer.other, answer.document(answer.other))}: {grams}")
    same, moved, changes = difference.same, difference.moved(), any(difference.changes())
    removed, added = len(difference.kept.spans) - same, len(difference.other.spans) - same
    if not changes:
        return [*lines, f"The same {counted(same, 'word')}."]
    gone = _mark(f"{counted(removed, 'word')} only in {one}", "[-", "-]", RED, colours)
    new = _mark(f"{counted(added, 'word')} only in {two}", "{+", "+}", GREEN, colours)
    elsewhere = f"; {moved:,} of them have only moved" if moved else ""
    lines.append(f"{gone} {new}, {same:,} in both{elsewhere}")
    if difference.cut:
        lines.append("(too different to compare to the end: more may be in both than is shown)")
    return [*lines, "", shown(difference, colours=colours)]


def _names(answer: Answer) -> tuple[str, str]:
    if not answer.cluster.asked.keep:
        return "the kept document", "this one"
    return "this one", "the nearest" if answer.nearest else "its least similar duplicate"


def _name(member: Member, document: Document | None) -> str:
    return readable_line((document and document.url) or member.id)


def _summary(cluster: Cluster) -> str:
    dropped = ", ".join(f"{count:,} dropped by {rule}" for rule, count in sorted(cluster.rules.items()))
    values = [member.similarity for member in cluster.members if member.similarity is not None]
    text = f"{cluster.size:,} documents: 1 kept, {dropped}; similarity {_range(min(values), max(values))}"
    return readable_line(text)


def _table(answer: Answer, members: list[Member], marked: Member | None, colours: bool) -> list[str]:
    rows = [("", "similarity", "bytes", "dump", "url")]
    for member in members:
        document = answer.document(member)
        state = readable_line(("kept" if member.keep else member.rule) or "")
        similarity = "" if member.similarity is None else f"{member.similarity:.4f}"
        dump, size = (readable_line(document.dump or ""), f"{document.bytes:,}") if document else ("", "")
        rows.append((state if member.place else "in the index", similarity, size, dump, _name(member, document)))
    if not members:
        return []
    head, *body = table(rows, "<>><<")
    lines = [paint(f"  {head}", GREY, colours)]
    for row, member in zip(body, members, strict=True):
        here = member == marked
        lines.append(paint(f"{'>' if here else ' '} {row}", BOLD if here else "", colours))
    return lines


def _show_largest(deduplication: Deduplication, sizes: Sequence[Size], as_json: bool, colours: bool) -> None:
    from corpus.dedup.results import GONE, load

    documents, missing = load(deduplication, [size.kept for size in sizes if size.kept])
    urls = [documents[size.kept].url if size.kept in documents else None for size in sizes]
    if as_json:
        rows_json = [
            {
                "cluster_id": size.cluster_id,
                "cluster_size": size.size,
                "representative": size.representative,
                "url": url,
                "in_index": size.kept is None,
                "rules": dict(sorted(size.rules.items())),
                "similarity": size.similarity,
            }
            for size, url in zip(sizes, urls, strict=True)
        ]
        click.echo(readable(json.dumps({"clusters": rows_json, "missing": missing}, indent=1, ensure_ascii=False)))
        return
    names = ["exact", "minhash"] + ["chain"] * any(size.rules["dedup.chain"] for size in sizes)
    rows = [("size", *names, "similarity", "kept")]
    for size, url in zip(sizes, urls, strict=True):
        name = readable_line(url or size.representative) + ("" if size.kept else " (in the index)")
        counts = [f"{size.rules[f'dedup.{rule}']:,}" for rule in names]
        rows.append((f"{size.size:,}", *counts, _range(*size.similarity) if size.similarity else "", name))
    for number, line in enumerate(table(rows, ">" * (len(names) + 2) + "<")):
        click.echo(paint(line, "" if number else GREY, colours))
    if not sizes:
        click.echo("no document has a duplicate")
    if missing:
        say(f"no urls: {missing} {GONE}")


def _json(answer: Answer) -> dict[str, Any]:
    cluster, near = answer.cluster, answer.nearest

    def facts(member: Member) -> dict[str, Any]:
        document = answer.document(member)
        return {
            "id": member.id,
            "url": document and document.url,
            "dump": document and document.dump,
            "bytes": document and document.bytes,
            "in_index": member.place is None,
            "keep": member.keep,
            "rule": member.rule,
            "similarity": member.similarity,
            "threshold": member.threshold,
        }

    difference = answer.difference and {
        "words_in_both": answer.difference.same,
        "cut": answer.difference.cut,
        "changes": [change._asdict() for change in answer.difference.changes()],
    }
    return facts(cluster.asked) | {
        "decision": _decision(answer),
        "representative": cluster.kept.id,
        "cluster_size": cluster.size,
        "alone": cluster.alone,
        "rules": dict(sorted(cluster.rules.items())),
        "members": [facts(member) for member in answer.shown],
        "candidates": near and near.candidates,
        "nearest": [facts(member) for member in near.members] if near else [],
        "compared_with": answer.other and answer.other.id,
        "ngrams_in_common": answer.common and answer.common[0],
        "ngrams": answer.common and answer.common[1],
        "difference": difference,
        "missing": answer.missing,
    }


def _range(low: float, high: float) -> str:
    return f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}"


def _mark(text: str, opening: str, closing: str, style: str, colours: bool) -> str:
    return paint(text, style, colours) if colours else f"{opening}{text}{closing}"
