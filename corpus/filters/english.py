"""What spaCy's blank English tokenizer writes apart, or together, against its own rules of punctuation.

The thresholds of the published filters were set on its tokens, so its exceptions are part of what they measure. They
are facts of the library (spaCy 3.8, `lang/en/tokenizer_exceptions.py` and `lang/tokenizer_exceptions.py`), written
here as what they are made of: pronouns and verbs with the ends that they take, with and without an apostrophe, in
small letters and with a capital; abbreviations; faces. `EXCEPTIONS` maps each to its words, `EVERYWHERE` those of
them that belong to no language.
"""

from __future__ import annotations

from collections.abc import Iterable

_CURLY = "’"

# "were" is no "we 're", and so on: words that are words.
_WORDS = "ill its hell shell shed were well whore"

# who takes which ends: `'d` stands for `'d` and for `d`
_ENDS = (
    ("i", "'m 'm+a 'll 'll+'ve 'd 'd+'ve 've"),
    ("you we they", "'ll 'll+'ve 'd 'd+'ve 've 're"),
    ("he she it", "'ll 'll+'ve 'd 'd+'ve 's"),
    ("who what when where why how there", "'s 'll 'll+'ve 're 've 'd 'd+'ve"),
    ("that this", "'s 'll 'll+'ve 'd 'd+'ve"),
    ("these those", "'ll 'll+'ve 're 've 'd 'd+'ve"),
    ("could might must should would", "n't n't+'ve 've"),
    ("ca do does did had may need ought sha wo", "n't n't+'ve"),
    ("ai are is was were have has dare", "n't"),
)
_PARTED = "can+not gon+na got+ta let+'s c'm+on not+'ve not+ve how+'d+'y"  # with a capital as well
_PARTED_AS_WRITTEN = "y'+all y+all"

# One word, whatever peels at its ends; with a capital as well.
_WHOLE = "doin doin' goin goin' nothin nothin' nuthin nuthin' ol ol' somethin somethin' lovin lovin' havin havin'"
_WHOLE += " 'cause 'cos 'coz 'cuz ma'am o'clock"
_WHOLE_AS_WRITTEN = (
    "em 'em ll 'll nuff 'nuff 's 'S ‘s ‘S and/or w/o 're 'bout 'd a.m. p.m. e.g. E.g. E.G. i.e. I.e. I.E. vs. v.s. co. "
    "Co. Adm. Bros. Corp. D.C. Dr. Gen. Gov. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. "
    "Sen. St. Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. "
    "Jul. Jun. Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. "
    "Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis."
)

_FACES = (
    ":) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( "
    ":-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 "
    ":() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< "
    "._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 "
    "(^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>"
)
_ODDITIES = "\\t \\n — ' \\\") <space> '' C++"


def _both_ways(parts: str) -> Iterable[tuple[str, ...]]:
    """`i+'m` with and without apostrophe; the apostrophe of n't is within."""
    words = tuple(parts.split("+"))
    yield words
    plain = tuple(word.replace("'", "") for word in words)
    if plain != words:
        yield plain


def _capitalised(words: tuple[str, ...]) -> tuple[str, ...]:
    return (words[0][:1].upper() + words[0][1:], *words[1:])


def _exceptions() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}

    def add(words: tuple[str, ...]) -> None:
        found["".join(words)] = words

    for beginnings, ends in _ENDS:
        for beginning in beginnings.split():
            for end in ends.split():
                for words in _both_ways(f"{beginning}+{end}"):
                    add(words)
                    add(_capitalised(words))
    for parts in _PARTED.split():
        add(tuple(parts.split("+")))
        add(_capitalised(tuple(parts.split("+"))))
    for parts in _PARTED_AS_WRITTEN.split():
        add(tuple(parts.split("+")))
    for word in _WHOLE.split():
        add((word,))
        add((word.replace(word.strip("'")[0], word.strip("'")[0].upper(), 1),))
    for word in _WHOLE_AS_WRITTEN.split():
        add((word,))
    for hour in range(1, 13):
        for half in ("am", "pm", "a.m.", "p.m."):
            add((str(hour), half))
    for word in _WORDS.split():
        for written in (word, word.capitalize()):
            found.pop(written, None)
    return found


def _everywhere() -> dict[str, tuple[str, ...]]:
    found = {word: (word,) for word in (*_FACES.split(), *_ODDITIES.split())}
    found |= {f"{letter}.": (f"{letter}.",) for letter in "abcdefghijklmnopqrstuvwxyzäöü"}
    return found | {f"°{letter}.": ("°", letter, ".") for letter in "cfkCFK"}


def _with_curly(found: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The same once more with the apostrophe that typography sets."""
    return found | {
        written.replace("'", _CURLY): tuple(word.replace("'", _CURLY) for word in words)
        for written, words in found.items()
        if "'" in written
    }


EVERYWHERE = _with_curly(_everywhere())
EXCEPTIONS = EVERYWHERE | _with_curly(_exceptions())
