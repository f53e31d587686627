"""How tokenizers cut one text, as a web page: tokens in colour, a column a tokenizer, a card for the token in hand.

In go a vocabulary and the ids of the text for each column. Out comes one HTML file that needs nothing else: no network
and no library. The card (mouse, touch or arrow keys) shows id, bytes, rank and the two tokens that were merged into
the token. The facts of a token are written once and its places refer to them, so that the page of a text of 100 kB
stays light. The page itself is `page.html.j2`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bpe.colours import pieces, visible
from bpe.vocabulary import Vocabulary

Origin = tuple[int | None, tuple[int, int] | None]  # rank, and the ids that were merged


class Column(NamedTuple):
    """What one tokenizer made of the text."""

    name: str
    vocabulary: Vocabulary
    ids: Sequence[int]


def page(columns: Sequence[Column]) -> str:
    """The page, as UTF-8 text. Raises ValueError for an id that its vocabulary does not have."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bpe", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.get_template("page.html.j2").render(columns=[_shown(column) for column in columns])


def origins(vocabulary: Vocabulary) -> Callable[[int], Origin]:
    """A function from a token's id to its rank and the two ids that merge into it.

    The rank is the place in the list of merges, or the id if the vocabulary has no list. A byte, and a token that no
    merge makes, come from no merge: they have no ids, and no rank in a list. A special token has neither.
    """
    if vocabulary.merges is not None:
        listed: dict[bytes, Origin] = {}
        for rank, (left, right) in enumerate(vocabulary.merges):
            made = vocabulary.tokens[left] + vocabulary.tokens[right]
            listed.setdefault(made, (rank, (left, right)))  # if several make the token, the first merges
        return lambda token_id: listed.get(_ordinary(vocabulary, token_id), (None, None))

    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens) if token}

    def origin(token_id: int) -> Origin:
        token = _ordinary(vocabulary, token_id)
        return (token_id, _merged_from(token, ids)) if token else (None, None)

    return origin


def _ordinary(vocabulary: Vocabulary, token_id: int) -> bytes:
    """The bytes of an ordinary token, b"" for a special one."""
    return vocabulary.tokens[token_id] if token_id < len(vocabulary.tokens) else b""


def _merged_from(token: bytes, ids: dict[bytes, int]) -> tuple[int, int] | None:
    """The last merge on the way from the bytes of a token to the token, if there is such a way."""
    parts = [token[i : i + 1] for i in range(len(token))]
    own = ids[token]
    while len(parts) > 2:
        ranks = [ids.get(left + right, own) for left, right in itertools.pairwise(parts)]
        lowest = min(ranks)
        if lowest >= own:
            return None
        place = ranks.index(lowest)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return (ids[parts[0]], ids[parts[1]]) if len(parts) == 2 else None


def _shown(column: Column) -> dict[str, Any]:
    """A column as the template takes it."""
    vocabulary, ids = column.vocabulary, column.ids
    times = Counter(ids)
    size = sum(count * len(vocabulary.token_bytes(token_id)) for token_id, count in times.items())
    tokens = {token_id: (i, [*pieces(vocabulary.token_bytes(token_id))]) for i, token_id in enumerate(times)}
    return {
        "name": column.name,
        "count": f"{len(ids):,}",
        "bytes_a_token": f"{size / len(ids) if ids else 0:.2f}",
        "different": f"{len(times):,}",
        "size": f"{vocabulary.size:,}",
        "tokens": map(tokens.__getitem__, ids),
        "facts": [*_facts(vocabulary, times)],
    }


def _facts(vocabulary: Vocabulary, times: Counter[int]) -> Iterator[list[Any]]:
    """For each token [shown, id, rank, bytes in hexadecimal, bytes as Python writes them, parents shown, times]."""
    origin = origins(vocabulary)
    for token_id, count in times.items():
        token = vocabulary.token_bytes(token_id)
        rank, merged = origin(token_id)
        parents = [[visible(vocabulary.token_bytes(parent)), parent] for parent in merged or ()]
        yield [visible(token), token_id, rank, token.hex(" "), repr(token), parents, count]
