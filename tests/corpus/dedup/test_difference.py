"""What differs between two texts: nothing is lost, what agrees is found, and it can be read."""

from __future__ import annotations

import random
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bpe.terminal.text import readable, readable_line
from corpus.dedup import difference as module
from corpus.dedup.difference import Change, Difference, difference, shown, words

texts = st.lists(st.sampled_from(["a", "b", "c", "the", "cat", "北", "京", "\n\n", "x-y"]), max_size=40).map(" ".join)


def plain(kept: str, other: str) -> str:
    return shown(difference(kept, other), colours=False)


def changes(kept: str, other: str) -> list[tuple[str, str]]:
    return [(change.kept, change.other) for change in difference(kept, other).changes()]


def many_words(count: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return [f"w{chance.randrange(5000)}" for _ in range(count)]


def check(found: Difference) -> None:
    """Matches agree word by word, in the order of both texts."""
    for match in found.matches:
        assert match.size > 0
        sides = ((found.kept, match.kept), (found.other, match.other))
        one, two = ([side.text[a:b] for a, b in side.spans[at : at + match.size]] for side, at in sides)
        assert one == two
        assert len(one) == match.size
    for before, after in pairwise(found.matches):
        assert before.kept + before.size <= after.kept
        assert before.other + before.size <= after.other


@given(texts, texts)
def test_what_agrees_agrees_and_the_rest_is_in_the_changes(kept: str, other: str) -> None:
    found = difference(kept, other)
    check(found)
    for side, texts in (
        (found.kept, [c.kept for c in found.changes()]),
        (found.other, [c.other for c in found.changes()]),
    ):
        assert sum(len(words(text).spans) for text in texts) == len(side.spans) - found.same


@given(texts)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    found = difference(text, " \n".join(text.split(" ")))
    assert list(found.changes()) == []
    assert not found.cut


def test_words_are_compared_as_they_are_written_and_white_space_is_not() -> None:
    assert changes("one  two\nthree", "one two Three") == [("three", "Three")]


def test_a_script_without_spaces_is_compared_by_character() -> None:
    assert plain("我们今天去北京。", "我们明天去北京。") == "我们[-今-]{+明+}天去北京。"


def test_changes_are_marked_as_git_marks_them() -> None:
    kept, other = "the quick brown fox jumps over the dog", "the quick red fox jumps over the lazy dog"
    assert plain(kept, other) == "the quick [-brown-]{+red+} fox jumps over the {+lazy+} dog"
    assert plain("Menu\n\nsame words here", "same words here\nImprint") == "[-Menu-]\n\nsame words here\n{+Imprint+}"


def test_colours_take_the_place_of_marks_and_end_with_the_line() -> None:
    text = shown(difference("a one\ntwo z", "a three z"), colours=True)
    assert text == "a \x1b[31mone\x1b[0m\n\x1b[31mtwo\x1b[0m \x1b[32mthree\x1b[0m z"


def test_long_stretches_are_shortened() -> None:
    same = " ".join(f"w{number}" for number in range(100))
    text = plain(f"{same} old {same}", f"{same} new {same}")
    assert text.startswith("… 88 words … w88 ")
    assert "w99 [-old-]{+new+} w0" in text
    assert text.endswith("w11 … 88 words …")
    assert "… 80 words …" in plain(same, f"{same} {' '.join(f'new{number}' for number in range(200))}")


def test_of_very_many_changes_the_first_are_shown() -> None:
    kept, other = ([f"w{number} {word}{number} v{number} u{number}" for number in range(300)] for word in ("x", "y"))
    text = plain(" ".join(kept), " ".join(other))
    assert text.count("[-") == 200
    assert text.endswith("… 100 more changes …")


def test_an_article_amid_a_rewritten_sentence_is_part_of_it() -> None:
    kept, other = "he came by the old road at night . end", "rain fell upon the empty silent fields of corn . end"
    assert len(changes(kept, other)) == 1


def test_what_only_moved_is_counted() -> None:
    one, two, three = (" ".join(f"{name}{number}" for number in range(20)) for name in "xyz")
    found = difference(f"{one} {two} {three}", f"{two} {three} {one}")
    assert (found.same, found.moved()) == (40, 20)
    assert difference("a b c", "d e f").moved() == 0


def test_long_texts_are_cut_at_what_occurs_once() -> None:
    kept = many_words(30_000)
    chance = random.Random(2)
    other = [word if chance.random() > 0.05 else "edited" for word in kept]
    found = difference(" ".join(kept), " ".join(other))
    check(found)
    edited = other.count("edited")
    assert len(kept) - 2 * edited < found.same <= len(kept) - edited
    assert not found.cut


def test_a_block_that_moved_within_long_texts_is_one_change_on_either_side() -> None:
    kept = [f"w{number}" for number in range(20_000)]
    found = difference(" ".join(kept), " ".join([*kept[5000:], *kept[:5000]]))
    assert (found.same, found.moved(), found.cut) == (15_000, 5_000, False)


def test_what_is_too_much_work_is_shown_as_replaced_and_said() -> None:
    chance = random.Random(3)
    kept, other = (" ".join(chance.choices("ab", k=20_000)) for _ in range(2))
    found = difference(kept, other)
    check(found)
    assert found.cut
    assert not difference(kept, " ".join(chance.choices("cd", k=20_000))).cut


@given(st.text("ab", max_size=30), st.text("ab", max_size=30))
def test_a_comparison_in_full_finds_the_longest_common_subsequence(a: str, b: str) -> None:
    lengths = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if x == y else max(lengths[i][j + 1], lengths[i + 1][j])
    one, other = ([ord(character) for character in text] for text in (a, b))
    found = module._longest_common(one, other, (0, len(a), 0, len(b)))
    assert len(found) == lengths[-1][-1]
    assert all(a[match.kept] == b[match.other] for match in found)


def test_a_page_does_not_command_the_terminal() -> None:
    assert readable("a\x1b[31mb\rc\u202ed\n\te") == "a\\u001b[31mb\\u000dc\\u202ed\n\te"
    text = plain("x \x1b]0;title\x07 y", "x y")
    assert re.search(r"[\x00-\x08\x0b-\x1f]", text) is None


def test_empty_texts() -> None:
    assert list(difference("", "").changes()) == []
    assert plain("", "some words") == "{+some words+}"
    assert list(difference("a", "").changes()) == [Change("a", "")]


def test_a_word_of_a_megabyte_is_shown_in_its_beginning_and_end() -> None:
    word = "data:" + "x" * 10**6 + "end"
    told = plain(f"see {word} here", f"see {word[:-1]} here")
    assert told.startswith("see [-data:xxx")
    assert "x…xx" in told
    assert len(told) < 400
    assert plain("看" + "书" * 500, "看" + "书" * 500 + "了").endswith("书书{+了+}")


def test_what_stands_in_a_line_stays_in_it() -> None:
    assert readable_line("https://x/?a=\n\t\x1b[2J") == "https://x/?a=\\n\\t\\u001b[2J"
