"""The 176 labels of lid.176, each with other names that people give its language: for checks and for suggestions.

Labels are ISO 639 codes. A line of the table has the label, then names in English and in the language itself, and the
codes of ISO 639-2 and 639-3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bpe import arguments

NAMES = {
    words[0]: tuple(words)
    for words in map(
        str.split,
        """
af afrikaans afr
als alemannic swiss-german gsw
am amharic amh
an aragonese arg
ar arabic ara arb
arz egyptian-arabic
as assamese asm
ast asturian
av avaric avar ava
az azerbaijani aze
azb south-azerbaijani
ba bashkir bak
bar bavarian
bcl central-bikol bikol
be belarusian bel
bg bulgarian bul
bh bihari bho
bn bengali bangla ben
bo tibetan bod tib
bpy bishnupriya
br breton bre
bs bosnian bosanski bos
bxr buryat bua
ca catalan català cat
cbk chavacano
ce chechen che
ceb cebuano
ckb central-kurdish sorani
co corsican cos
cs czech čeština cesky ces cze cz
cv chuvash chv
cy welsh cymraeg cym wel
da danish dansk dan dk
de german deutsch deu ger
diq zazaki dimli zza
dsb lower-sorbian
dty dotyali
dv divehi dhivehi maldivian div
el greek ell gre gr
eml emilian-romagnol
en english eng us uk-english gb
eo esperanto epo
es spanish español espanol castilian spa
et estonian eesti est
eu basque euskara eus baq
fa persian farsi fas per
fi finnish suomi fin
fr french français francais fra fre
frr north-frisian
fy west-frisian frisian fry
ga irish gaeilge gle
gd scottish-gaelic gla
gl galician galego glg
gn guarani grn
gom konkani kok
gu gujarati guj
gv manx glv
he hebrew heb iw
hi hindi hin
hif fiji-hindi
hr croatian hrvatski hrv
hsb upper-sorbian
ht haitian creole hat
hu hungarian magyar hun
hy armenian hye arm
ia interlingua ina
id indonesian bahasa ind
ie interlingue ile
ilo iloko ilocano
io ido
is icelandic isl ice
it italian italiano ita
ja japanese jpn jp
jbo lojban
jv javanese jav
ka georgian kat geo
kk kazakh kaz
km khmer khm
kn kannada kan
ko korean kor kr
krc karachay-balkar
ku kurdish kurmanji kur
kv komi kom
kw cornish cor
ky kyrgyz kirghiz kir
la latin lat
lb luxembourgish ltz
lez lezgian
li limburgish lim
lmo lombard
lo lao
lrc northern-luri
lt lithuanian lietuvių lit
lv latvian latviešu lav
mai maithili
mg malagasy mlg
mhr eastern-mari
min minangkabau
mk macedonian mkd mac
ml malayalam mal
mn mongolian mon
mr marathi mar
mrj western-mari
ms malay melayu msa may
mt maltese mlt
mwl mirandese
my burmese myanmar mya bur
myv erzya
mzn mazanderani
nah nahuatl
nap neapolitan
nds low-german
ne nepali nep
new newari newar
nl dutch nederlands flemish nld dut
nn nynorsk norwegian-nynorsk nno
no norwegian norsk bokmål bokmal nb nob nor
oc occitan oci
or odia oriya ori ory
os ossetian ossetic oss
pa punjabi panjabi pan
pam pampanga kapampangan
pfl palatine-german
pl polish polski pol
pms piedmontese
pnb western-punjabi
ps pashto pushto pus
pt portuguese português portugues por br-portuguese
qu quechua que
rm romansh roh
ro romanian română romana moldovan ron rum
ru russian rus
rue rusyn
sa sanskrit san
sah yakut sakha
sc sardinian srd
scn sicilian
sco scots
sd sindhi snd
sh serbo-croatian hbs
si sinhala sinhalese sin
sk slovak slovenčina slovencina slk slo
sl slovenian slovene slovenščina slv
so somali som
sq albanian shqip sqi alb
sr serbian srp
su sundanese sun
sv swedish svenska swe se
sw swahili kiswahili swa
ta tamil tam
te telugu tel
tg tajik tgk
th thai tha
tk turkmen tuk
tl tagalog filipino tgl fil
tr turkish türkçe turkce tur
tt tatar tat
tyv tuvan
ug uyghur uighur uig
uk ukrainian ukr ua
ur urdu urd
uz uzbek uzb
vec venetian
vep veps
vi vietnamese vie vn
vls west-flemish
vo volapük volapuk vol
wa walloon wln
war waray
wuu wu
xal kalmyk
xmf mingrelian
yi yiddish yid
yo yoruba yor
yue cantonese
zh chinese mandarin zho chi cmn cn
""".strip().splitlines(),
    )
}


def right_label(wrong: str, labels: frozenset[str]) -> str | None:
    """The label of `labels` that somebody means who writes `wrong`, None if nothing tells.

    >>> [right_label(wrong, frozenset(NAMES)) for wrong in ("EN", "German", "pt-BR", "deu_Latn", "zz")]
    ['en', 'de', 'pt', 'de', None]
    """
    word = "-".join(wrong.casefold().replace("_", " ").split())
    by_name = {name: label for label, names in NAMES.items() if label in labels for name in names}
    by_case = {label.casefold(): label for label in labels}
    names = (word, word.partition("-")[0])
    return next((table[name] for name in names for table in (by_case, by_name) if name in table), None)


def check_language(language: Any, more: Collection[str] = ()) -> str | None:
    """`language`, the argument of a function, if it is a label of lid.176, one of `more`, or None: unknown.

    Raises TypeError for another type, and ValueError that suggests the right label: a wrong one would count as unknown.
    """
    if language is None or arguments.string("language", language) in NAMES or language in more:
        return language  # type: ignore[no-any-return]
    meant = right_label(language, frozenset(NAMES))
    fix = f"did you mean {meant}?" if meant else "pass an ISO 639 code, such as en, de or zh, or None: unknown"
    raise ValueError(f"language = {language!r}: no such language; {fix}")
