"""The exceptions of spaCy's blank English tokenizer: words that it splits, or leaves whole, against its own rules.

The thresholds of the published filters were set on spaCy's tokens, so its exceptions are part of what is measured. They
are facts about the library (spaCy 3.8, `lang/en/tokenizer_exceptions.py` and `lang/tokenizer_exceptions.py`). They are
written here in parts: pronouns and verbs with their endings, with and without an apostrophe, in small letters and with
a capital; abbreviations; faces such as `:-)`. `EXCEPTIONS` maps each exception to its words; `EVERYWHERE` has the
exceptions that belong to no language.
"""

from __future__ import annotations

from collections.abc import Iterable

_CURLY = "’"

# Words that look like two: "were" is not "we 're".
_WORDS = "ill its hell shell shed were well whore"

# Words and the endings that they take; `'d` stands for `'d` and for `d`.
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
_PARTED = "can+not gon+na got+ta let+'s c'm+on not+'ve not+ve how+'d+'y"  # also with a capital
_PARTED_AS_WRITTEN = "y'+all y+all"

# One word each, although the rules would split something off its ends; also with a capital.
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
    """The words of `i+'m`, with and without their apostrophe, which may be within a word (n't)."""
    words = tuple(parts.split("+"))
    yield words
    plain = tuple(word.replace("'", "") for word in words)
    if plain != words:
        yield plain


def _capitalised(words: tuple[str, ...]) -> tuple[str, ...]:
    return (words[0][:1].upper() + words[0][1:], *words[1:])


def _exceptions() -> dict[str, tuple[str, ...]]:
    exceptions: dict[str, tuple[str, ...]] = {}

    def add(words: tuple[str, ...]) -> None:
        exceptions["".join(words)] = words

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
            exceptions.pop(written, None)
    return exceptions


def _everywhere() -> dict[str, tuple[str, ...]]:
    exceptions = {word: (word,) for word in (*_FACES.split(), *_ODDITIES.split())}
    exceptions |= {f"{letter}.": (f"{letter}.",) for letter in "abcdefghijklmnopqrstuvwxyzäöü"}
    return exceptions | {f"°{letter}.": ("°", letter, ".") for letter in "cfkCFK"}


def _with_curly(exceptions: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The exceptions, and each one with an apostrophe once more with the typographic one."""
    return exceptions | {
        written.replace("'", _CURLY): tuple(word.replace("'", _CURLY) for word in words)
        for written, words in exceptions.items()
        if "'" in written
    }


EVERYWHERE = _with_curly(_everywhere())
EXCEPTIONS = EVERYWHERE | _with_curly(_exceptions())
