"""Texts with personal data at known places, and texts that only resemble it: a test set by rules, not by the finders.

Telephone numbers are libphonenumber's own examples for all its regions, with their last digits changed, in every
form that it prints and with the separators that people use, in sentences of many languages with and without a label.
Account numbers are made with check digits by the slow twins. Everything follows from a seed.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from corpus.pii.scrub import Config
from tests.oracles import scrub_checks as oracle

PUBLIC, ALL = Config(), Config(ip_scope="all")

# Pieces of values, and the characters between them: hypothesis joins them to texts that resemble personal data.
PIECES = (
    "a b1 _ . .. - + ' % @ @ example com .com xn--p1ai é 中 / : :: = ( ) < > , \n 1 11 8.8 .8.8 4242 4242 1111 "
    "-45-6789 123 555 0138 +49 +1 (212) DE89 3704 0044 0532 0130 00 NO93 8601 1117 947 2606: fe80 SSN Tel. \u00a0"
)
WHOLE = ["a@b.example", "8.8.8.8", "10.1.2.3", "2606:4700:4700::1111", "4111 1111 1111 1111", "378282246310005"]
WHOLE += ["DE89 3704 0044 0532 0130 00", "NO9386011117947", "123-45-6789", "+49 30 1234567", "212-555-0199"]
WHOLE += ["(212) 555-0199", "Tel. 030 / 1234-567", "1-800-555-0199", "SSN 123 45 6789", "a (at) b (dot) com"]
WHOLE += ["ghp_x7aQ9Zb2LmN4pRs6TuV8wXy0AcEgIkMoQsUw", "090-1790-4113", "call 611.1766", "٠٢١ ٢٣٤ ٥٦٧٨"]
TEXTS = st.one_of(
    st.lists(st.sampled_from([*PIECES.split(" "), " ", " "]), max_size=25).map("".join),
    st.lists(st.one_of(st.sampled_from(WHOLE), st.sampled_from(PIECES.split(" "))), max_size=6).map("".join),
    st.lists(st.one_of(st.sampled_from(WHOLE), st.sampled_from(PIECES.split(" "))), max_size=6).map(" ".join),
)


class Case(NamedTuple):
    """`text[start:end]` is a value of type `kind`; `group` is the part of the test set."""

    text: str
    start: int
    end: int
    kind: str
    group: str

    @property
    def value(self) -> str:
        return self.text[self.start : self.end]


LABELLED = """
Tel. {}
Telephone: {} (9 am to 5 pm)
Please phone {} before noon.
Phone number {}.
Fax: {}
Mobile {}
mob.: {}
WhatsApp: {}
Call us at {} for a quote.
You can reach the front desk on {}.
Ring Dora on {} when the parcel is there.
Cell: {}
Telefon: {}
Telefonnummer {}
Sie erreichen uns telefonisch unter {}.
Handy: {}
Tél. : {}
Téléphone {}
Appelez-nous au {} !
Portable : {}
Teléfono: {}
Llámenos al {}.
Móvil {}
Telefone: {}
Celular: {}
Ligue para {}
Telefono {}
Cellulare: {}
Tel.nr. {}
Bel ons op {}
Telefon kontaktowy: {}
tel. kom. {}
тел. {}
Телефон: {}
Звоните по номеру {}
моб. {}
Τηλέφωνο: {}
電話：{}
電話番号は{}です。
电话：{}
请致电{}咨询。
手机号{}
전화: {}
연락처 {}
هاتف: {}
تلفن: {}
جوال {}
טלפון: {}
फ़ोन: {}
मोबाइल नंबर {}
โทร. {}
Điện thoại: {}
Telepon: {}
Telefon: {} (İstanbul)
Puhelin {}
Tlf. {}
Telefonszám: {}
Simu: {}
☎ {}
T: {}
M: {}
""".strip().split("\n")

# Sentences without a word for telephones.
BARE = """
Otto Brandt, {}, otto@brandt.example
Ask for Maja, {}
Impressum: Hauptallee 7, {}
{}
Our new number is {}.
Plombier à domicile, {}, devis gratuit
Escríbanos o venga: Calle Mayor 5 - {}
Via Roma 12, Torino | {}
Ул. Ленина, д. 5, {}
""".strip().split("\n")


def _case(sentence: str, value: str, kind: str, group: str) -> Case:
    start = sentence.index("{}")
    return Case(sentence.replace("{}", value), start, start + len(value), kind, group)


def _varied(number: phonenumbers.PhoneNumber, random_: random.Random) -> phonenumbers.PhoneNumber:
    """Another valid number of one kind, with other last digits."""
    digits = str(number.national_number)
    for _ in range(30):
        changed = phonenumbers.PhoneNumber()
        changed.merge_from(number)
        tail = "".join(random_.choice(string.digits) for _ in range(3))
        changed.national_number = int(digits[:-3] + tail)
        if phonenumbers.is_valid_number(changed):
            return changed
    return number


def examples(seed: int) -> Iterator[tuple[str, phonenumbers.PhoneNumber]]:
    """(region, number): a landline, a mobile and a free number of every region that has them."""
    random_ = random.Random(seed)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield region, _varied(number, random_)


def world_zone(number: phonenumbers.PhoneNumber) -> str:
    zones = {"1": "North America", "2": "Africa", "3": "Europe", "4": "Europe", "5": "Latin America", "6": "Oceania"}
    return (zones | {"7": "Russia", "8": "East Asia", "9": "West Asia"})[str(number.country_code)[0]]


def international_phones(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    for _, number in examples(seed):
        spaced = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
        forms = [phonenumbers.format_number(number, PhoneNumberFormat.E164), spaced]
        forms += [phonenumbers.format_number(number, PhoneNumberFormat.RFC3966).removeprefix("tel:")]
        forms += [spaced.replace(" ", gap) for gap in ("-", ".", "\u00a0", "\u2009")]
        code = f"+{number.country_code}"
        forms += [f"({code}){spaced.removeprefix(code)}"]
        for form in dict.fromkeys(forms):
            yield _case(random_.choice(LABELLED + BARE), form, "phone", f"international, {world_zone(number)}")
        with_prefix = "00" + spaced[1:]
        yield _case(random_.choice(LABELLED), with_prefix, "phone", "00 prefix, labelled")


def national_phones(seed: int, labelled: bool) -> Iterator[Case]:
    """Numbers as their country prints them, without those of less than seven digits, which nobody could recognize."""
    random_ = random.Random(seed)
    for _, number in examples(seed):
        printed = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        if sum(map(str.isdigit, printed)) < 7:
            continue
        forms = [printed, printed.replace(" ", "-"), printed.replace("-", " "), printed.replace(" ", ".")]
        group = "national, labelled" if labelled else "national, bare"
        for form in dict.fromkeys(forms):
            yield _case(random_.choice(LABELLED if labelled else BARE), form, "phone", f"{group}, {world_zone(number)}")


# The forms without a label that docs/pii.md promises, with reserved or random digits.
UNMISTAKABLE = (
    """
(212) 555-0173|212-555-0173|212.555.0173|1-800-555-0173|1 (212) 555-0173|020 7946 0958|(020) 7946 0958|0161 496 0712
07700 900461|07700900461|0117 496 0123|030 23125 041|0171 3920 041|0171/3920041|(030) 23125 041|089-24781132
01 99 00 41 13|06 39 98 41 13|01.99.00.41.13|0639984113|06-12345678|020-7712345|(02) 5550 4113|0491 570 156|1300 975 707
044 668 18 00|070-174 06 05|08-465 004 13|03-5321-4113|090-1790-4113|010-2345-6789|02-312-3456|8 (495) 123-45-67
8-800-555-35-35|8 (912) 345-67-89|98765 43210|138 1234 5678|(11) 91234-5678|(11) 3123-4567|(011) 4123-4567
(55) 1234 5678|06 4412 3456
0532 123 45 67|(0212) 123 45 67|044 123 45 67|(044) 123-45-67|011 2345 6789|021 345 6789|0803 123 4567|02 1234 5678
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


def unmistakable_phones(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    for form in UNMISTAKABLE:
        for sentence in random_.sample(BARE, 4):
            yield _case(sentence, form, "phone", "bare, promised forms")


ACCOUNTS = {
    "AD": "8n12c", "AE": "19n", "AL": "8n16c", "AT": "16n", "AZ": "4a20c", "BA": "16n", "BE": "12n", "BG": "4a6n8c",
    "BH": "4a14c", "BR": "23n1a1c", "CH": "5n12c", "CR": "18n", "CY": "8n16c", "CZ": "20n", "DE": "18n", "DK": "14n",
    "DO": "4c20n", "EE": "16n", "EG": "25n", "ES": "20n", "FI": "14n", "FO": "14n", "FR": "10n11c2n", "GB": "4a14n",
    "GE": "2a16n", "GI": "4a15c", "GL": "14n", "GR": "7n16c", "GT": "4c20c", "HR": "17n", "HU": "24n", "IE": "4a14n",
    "IL": "19n", "IQ": "4a15n", "IS": "22n", "IT": "1a10n12c", "JO": "4a4n18c", "KW": "4a22c", "KZ": "3n13c",
    "LB": "4n20c", "LC": "4a24c", "LI": "5n12c", "LT": "16n", "LU": "3n13c", "LV": "4a13c", "MC": "10n11c2n",
    "MD": "2c18c", "ME": "18n", "MK": "3n10c2n", "MR": "23n", "MT": "4a5n18c", "MU": "4a19n3a", "NL": "4a10n",
    "NO": "11n", "PK": "4a16c", "PL": "24n", "PS": "4a21c", "PT": "21n", "QA": "4a21c", "RO": "4a16c", "RS": "18n",
    "SA": "2n18c", "SC": "4a20n3a", "SE": "20n", "SI": "15n", "SK": "20n", "SM": "1a10n12c", "ST": "21n", "SV": "4a20n",
    "TL": "19n", "TN": "20n", "TR": "5n1c16c", "UA": "6n19c", "VA": "18n", "VG": "4a16n", "XK": "16n", "BY": "4c4n16c",
    "SD": "14n", "LY": "21n", "RU": "14n15c", "SO": "19n", "NI": "4a20n", "MN": "16n", "FK": "2a12n", "OM": "3n16c",
    "YE": "4a4n18c", "BI": "23n", "DJ": "23n", "HN": "4a20n",
}  # fmt: skip


def _account(form: str, random_: random.Random) -> str:
    pools = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}
    sizes, made = "", ""
    for c in form:
        if c.isdigit():
            sizes += c
        else:
            made += "".join(random_.choice(pools[c]) for _ in range(int(sizes)))
            sizes = ""
    return made


def ibans(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    sentences = [
        "IBAN: {}",
        "Bitte überweisen auf {}.",
        "Compte {} (BIC XXXXFRPP)",
        "{}",
        "pay to {}, thanks",
        "口座{}へ",
    ]
    for country, form in ACCOUNTS.items():
        for _ in range(2):
            account = _account(form, random_)
            check = 98 - oracle.mod97(f"{country}00{account}")
            compact = f"{country}{check:02}{account}"
            groups = [compact[i : i + 4] for i in range(0, len(compact), 4)]
            for value in (compact, " ".join(groups), "-".join(groups), "\u00a0".join(groups), compact.lower()):
                yield _case(random_.choice(sentences), value, "iban", "iban")


SCHEMES = {
    "Visa": ("4", 16), "Mastercard": ("53", 16), "Mastercard 2": ("2221", 16), "American Express": ("37", 15),
    "Diners": ("36", 14), "Diners 30": ("300", 14), "Discover": ("6011", 16), "Discover 65": ("65", 16),
    "JCB": ("3530", 16), "UnionPay": ("62", 16), "UnionPay 19": ("621", 19), "Maestro": ("6759", 16),
    "Mir": ("2200", 16), "Troy": ("9792", 16), "RuPay": ("6080", 16), "Elo": ("5067", 16),
    "Verve": ("5061", 19), "Visa 19": ("4", 19),
}  # fmt: skip


def cards(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    sentences = ["card {} exp 09/27", "Kartennummer: {}", "{}", "Paid with {}.", "número {} (Visa)", "карта {}"]
    for prefix, length in SCHEMES.values():
        for _ in range(4):
            body = prefix + "".join(random_.choice(string.digits) for _ in range(length - len(prefix) - 1))
            digits = next(body + last for last in string.digits if oracle.luhn(body + last))
            sizes = {15: (4, 6, 5), 14: (4, 6, 4), 19: (4, 4, 4, 4, 3)}.get(length, (4, 4, 4, 4))
            groups = [digits[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
            for value in (digits, " ".join(groups), "-".join(groups)):
                yield _case(random_.choice(sentences), value, "credit_card", "card")


def addresses(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    sentences = [
        "login from {} at noon",
        "[{}]",
        "host {}: ok",
        "{}",
        "拒绝来自 {} 的连接",
        "({})",
        "curl http://[{}]/",
    ]
    for _ in range(60):
        groups = ["2a02", "26c0"] + [f"{random_.randrange(65536):x}" for _ in range(6)]
        full = ":".join(groups)
        padded = ":".join(group.rjust(4, "0") for group in groups)
        short = ":".join(groups[:3]) + "::" + groups[7]
        end = ":".join(groups[:4]) + "::"
        mapped = "::ffff:" + ".".join(str(random_.choice((5, 78, 145, 203))) for _ in range(4))
        for value in (full, padded, full.upper(), short, end, mapped):
            yield _case(random_.choice(sentences), value, "ip", "IPv6")
    for _ in range(120):
        value = f"{random_.choice((5, 45, 78, 91, 145, 185, 203, 212))}.{random_.randrange(1, 200)}"
        value += f".{random_.randrange(256)}.{random_.randrange(100, 255)}"
        if not value.startswith("203.0.113"):
            yield _case(random_.choice(sentences[:-1]), value, "ip", "IPv4")
    for value in ("8.8.8.8", "1.1.1.1", "9.9.9.9", "208.67.222.222", "4.2.2.2", "77.88.8.8", "1.0.0.1", "8.8.4.4"):
        for sentence in ("DNS server {}", "ping {} -c 4", "{}", "http://{}/", "nameserver {}"):
            yield _case(sentence, value, "ip", "IPv4")


EMAILS = (
    """
ann@beispiel.example|a.b-c_d+tag@mail.sub.dept.example.co.uk|o'hara@example.ie|ANN@EXAMPLE.COM|x@example.museum
1984@example.org|jörg.müller@straße.example|ann@müller.example|почта@пример.рф|иван@example.com|δοκιμή@παράδειγμα.ελ
ann@例子.中国|"ann lee"@example.com|user%team@example.net|first.last@xn--80ak6aa92e.com|ann_lee@my-firm.example.travel
ann (at) example (dot) com|ann[at]example[dot]org|ann AT example DOT com|ann (at) example.com|ann.lee[at]sub.example.de
ann {at} example {dot} net|ann(at)firma.example.de|ann [ät] firma.example|ann%40example.com|a@b.co|z9@t.example.io
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


def emails(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    sentences = ["write to {} please", "E-Mail: {}", "{}", "<{}>", "Kontakt: {}, Berlin", "mailto:{}", "correo {}."]
    sentences += ["({})", "邮箱：{}"]
    for value in EMAILS:
        for sentence in sentences:
            yield _case(sentence, value, "email", "email")
        yield _case(
            random_.choice(sentences), value.replace("ann", "".join(random_.sample("qwertz", 5))), "email", "email"
        )


def ssns(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    for _ in range(30):
        a, g, s = random_.randrange(1, 665), random_.randrange(1, 99), random_.randrange(1, 9999)
        parts = (f"{a:03}", f"{g:02}", f"{s:04}")
        for sentence in ("SSN {}", "my social security number is {}.", "{}", "Applicant ({})"):
            yield _case(sentence, "-".join(parts), "ssn", "ssn")
        for sentence in ("SSN: {}", "Social Security No. {}", "her SSN is {}", "SSN# {}", "Social: {}"):
            for gap in (" ", "", ".", "–"):
                yield _case(sentence, gap.join(parts), "ssn", "ssn")


def secrets(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    letters = string.ascii_letters + string.digits

    def made(count: int, pool: str = letters) -> str:
        return "".join(random_.choice(pool) for _ in range(count - 2)) + random_.choice(string.digits) + "q"

    hexes = "0123456789abcdef"
    for _ in range(8):
        jwt = f"eyJ{made(33)}.eyJ{made(60)}.{made(43)}"
        lines = "\n".join(made(64) for _ in range(12))
        values = [
            "AKIA" + made(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567").upper()[:14] + "7Q",
            *(prefix + made(36) for prefix in ("ghp_", "gho_", "npm_")),
            f"github_pat_{made(22)}_{made(59)}",
            "glpat-" + made(20),
            f"xoxb-{made(12, '123456789')[:10]}-{made(24)}",
            "AIza" + made(35),
            *(prefix + made(24) for prefix in ("sk_live_", "rk_live_")),
            "sk-" + made(48),
            "sk-proj-" + made(64),
            "sk-ant-api03-" + made(93),
            "hf_" + made(34),
            "pypi-AgEIcHlwaS5vcmc" + made(80),
            f"SG.{made(22)}.{made(43)}",
            "SK" + made(32, hexes)[:30] + "7a",
            f"{random_.randrange(10**9, 10**10)}:AA{made(33)}",
            jwt,
            f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----",
            f"-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----",
        ]
        for value in values:
            sentence = random_.choice(["key = '{}'", "export TOKEN={}", "{}", "Authorization: {}"])
            yield _case(sentence, value, "secret", "secret")


def positives(seed: int = 1) -> list[Case]:
    cases = [*international_phones(seed), *national_phones(seed, True), *unmistakable_phones(seed), *ibans(seed)]
    return [*cases, *cards(seed), *addresses(seed), *emails(seed), *ssns(seed), *secrets(seed)]


HARD = """
The meeting is on {d4}-0{d}-1{d} at 1{d}:3{d}.
Published 1{d}.0{d}.19{d2}, updated 0{d}/1{d}/20{d2}
20{d2}-0{d}-1{d}T1{d}:2{d}:3{d}.{d3}Z
from 19{d2}-20{d2}
between 199{d} and 2000, 1990-2000
The budget was {d1}.{d3}.{d3} Euro, and {d1} {d3} {d3} in 2019.
$1,{d3},{d3}.{d2}
Umsatz: {d1}.{d3}.{d3},{d2} EUR
Le montant est de {d1} {d3} {d3} €.
population {d1} {d3} {d3} habitants
ISBN 978-3-16-1{d4}-{d}
ISBN 0-306-4{d4}-{d}
ISSN 0{d3}-{d4}
order number {d3}-{d7}-{d7}
Order #{d10}
Bestellnummer {d8}
Rechnung Nr. {d4}-{d6}
invoice {d10}
Numéro de commande : {d9}
Pedido n.º {d8}
заказ № {d8}
52.{d6}, 13.{d6}
40.{d4}° N, 74.{d4}° W
lat 48.{d7}, lon 2.{d7}
version 2.{d2}.{d}.{d3}
Chrome/12{d}.0.{d4}.{d2} Safari/537.36
Windows 10.0.19{d3}.{d4}
upgraded nginx from 1.{d2}.2.1 to 1.{d2}.3.4
pip install foo==1.2.3.{d2}
doi:10.{d4}/s{d5}-019-{d4}-{d}
https://doi.org/10.{d4}/{d8}
arXiv:2106.{d5}
commit {h40}
md5 {h32}
uuid {h8}-{h4}-4{h3}-a{h3}-{h12}
sha256:{h64}
3.14159265{d8} and 2.718281828{d8}
x = {d3} + {d3} * {d4} / {d2} - {d5}
f(3, {d3}) = {d1}.{d2}, p < 0.00{d}
Final score 21-1{d}, 18-21, 21-19
6-4 3-6 7-6 (7-5) 6-{d}
Part no. {d3}-{d4}-{d3}
SKU {d4}-{d4}-{d2}
Serial: {d5}-{d5}-{d5}
ZIP {d5}-{d4}
62704-{d4}
SW1A 1AA, 75008 Paris, 10115 Berlin
42 U.S.C. § {d4}({d}), 18 U.S.C. 1030
section {d}.{d}.{d}.{d}
§ {d}.1{d}.2.{d}
1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. Ba4 Nf6
margin: 0 {d2}px 1{d}px {d2}px; width: {d4}px
timestamp 17{d8}
17{d8}{d3}
posts/{d10}{d6}
?id={d10}&ref={d8}
user@host:~/src$ ls
git clone git@host:group/repo.git
git clone git@code.example.com:group/repo.git; rsync me@box.example.org:~/data{d} .
10.1016/j.cell.20{d2}.05.0{d2}
user@localhost, root@db1
@mention and @another_one{d2}
@pytest.mark.parametrize("n", [1, 2, {d4}])
npm i lodash@4.17.{d2} react@18.{d}.0
import x from 'y@2.{d}.{d}'
pkg @scope/name@1.0.{d}
icon@2x.png logo@3x.jpg
look at example.com, dot the i
std::vector<int>::iterator a::b::c{d}
12:34:56 and 00:1{d}:2{d}.{d3}
MAC 00:1a:2b:3c:4d:{h2}
Genesis 1:1-3{d}; Psalm 119:10{d}
ratio 16:9, 4:3, 21:9
127.0.0.1 10.{d}.{d}.{d} 192.168.{d}.1{d} 172.16.0.{d}
192.0.2.{d} 198.51.100.{d2} 2001:db8::{h4} fe80::1 ::1
256.{d3}.1.1 and 1.2.3.4.5.6
OID 1.3.6.1.4.1.{d4}.{d}.{d}
CAS {d4}-{d2}-{d}
PMID {d8}, PMC{d7}
NGC {d4}, HD {d6}
Tracking 1Z999AA10{d9}
4111 1111 1111 1112
1234 5678 9012 3456
DE00 {d4} {d4} {d4} {d4} {d2}
GB00 WEST {d4} {d4} {d4} {d2}
000-{d2}-{d4} 666-{d2}-{d4} 9{d2}-12-3456
account ending in {d4}
Vol. {d2}, No. {d}, pp. {d3}-{d3}
Nature {d3}, {d4}-{d4} (19{d2})
Journal 12 (1998) {d3}-{d3}
1{d} {d2} {d2} {d2} {d2} {d2}
{d3} {d3} {d3} {d3}
{d4} {d4} {d4} {d4} {d4}
{d} {d2} {d3} {d4} {d5}
US Patent 6,{d3},{d3}
EP 1 {d3} {d3} B1
Lottery: 03 17 2{d} 31 4{d} 49
AKIAIOSFODNN7EXAMPLE
sk-xxxxxxxxxxxxxxxxxxxxxxxx
ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
class="sk-fading-circle sk-cube{d}"
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{h40}
-----BEGIN PUBLIC KEY-----
Room {d3}, building {d2}, floor {d}
Flight BA{d4} leaves gate {d2} at 06:1{d}
channel 1{d2} at {d3}.{d} MHz
resolution 1920x1080, 3840 x 2160
{d3} km, {d4} kg, {d5} EUR, {d2}%
Telefon war {d4} noch selten.
He made 1{d2} calls in 20{d2}.
Call me maybe. 20{d2} was good.
The phone costs {d3} dollars, the tablet {d3},{d2}.
Phone sales rose to {d1} {d3} {d3} units.
iPhone 12, 13, 14; Galaxy S2{d}
mobile first since 2015; mobile users: {d3},{d3}
PS5-{d4}-AB, model T-{d4}-{d2}
Form 1099-INT, line {d}, box 1{d}
0x{h8}, 0b10{d}, 1e-{d2}
(1) {d3} (2) {d3} (3) {d3}
K{d4} {d3}-{d3} Q{d2}
rgb({d2}, {d2}, {d2}) #{h3}{h3}
100{d2} - 100{d2}
HRB {d6}, USt-IdNr. DE{d9}
EAN 4{d10}{d2}
GTIN: 0{d10}{d3}
Table 3: {d2} {d2} {d3} {d2} {d4} {d3}
chr7:{d8}-{d8}
{d4}/{d2} {d4}/{d2}
2,{d3} 3,{d3} 1,{d3} 9,{d3}
+{d}.{d} percent, +{d2} points
+1 for this, +100 XP
a+{d4}={d5}
""".strip().split("\n")


def negatives(seed: int = 1, each: int = 4) -> list[str]:
    """Lines without personal data: every pattern `each` times, with other digits."""
    random_ = random.Random(seed)

    def filled(pattern: str) -> str:
        made = pattern
        for name, pool in (("d", string.digits), ("h", "0123456789abcdef")):
            for size in range(64, 0, -1):
                for key in (f"{{{name}{size}}}", f"{{{name}}}" if size == 1 else ""):
                    while key and key in made:
                        digits = [random_.choice(pool[1:]), *(random_.choice(pool) for _ in range(size - 1))]
                        made = made.replace(key, "".join(digits), 1)
        return made

    return [filled(pattern) for pattern in HARD for _ in range(each)]
