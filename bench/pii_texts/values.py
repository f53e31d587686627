"""Account and card numbers with right check digits, IP and e-mail addresses, social security numbers and keys."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator

from bench.pii_texts.cases import Case, case

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


def _iban_check(country: str, account: str) -> int:
    """The check digits of an IBAN (ISO 13616): letters count from 10, and the whole number is 1 modulo 97."""
    return 98 - int("".join(str(int(char, 36)) for char in f"{account}{country}00")) % 97


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
            check = _iban_check(country, account)
            compact = f"{country}{check:02}{account}"
            groups = [compact[i : i + 4] for i in range(0, len(compact), 4)]
            for value in (compact, " ".join(groups), "-".join(groups), "\u00a0".join(groups), compact.lower()):
                yield case(random_.choice(sentences), value, "iban", "iban")


SCHEMES = {
    "Visa": ("4", 16), "Mastercard": ("53", 16), "Mastercard 2": ("2221", 16), "American Express": ("37", 15),
    "Diners": ("36", 14), "Diners 30": ("300", 14), "Discover": ("6011", 16), "Discover 65": ("65", 16),
    "JCB": ("3530", 16), "UnionPay": ("62", 16), "UnionPay 19": ("621", 19), "Maestro": ("6759", 16),
    "Mir": ("2200", 16), "Troy": ("9792", 16), "RuPay": ("6080", 16), "Elo": ("5067", 16),
    "Verve": ("5061", 19), "Visa 19": ("4", 19),
}  # fmt: skip


def _luhn_digit(body: str) -> str:
    """The last digit of a card number: every second digit before it counts twice, as the sum of its own digits."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in body[::-2])
    return str(-(doubled + sum(map(int, body[-2::-2]))) % 10)


def cards(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    sentences = ["card {} exp 09/27", "Kartennummer: {}", "{}", "Paid with {}.", "número {} (Visa)", "карта {}"]
    for prefix, length in SCHEMES.values():
        for _ in range(4):
            body = prefix + "".join(random_.choice(string.digits) for _ in range(length - len(prefix) - 1))
            digits = body + _luhn_digit(body)
            sizes = {15: (4, 6, 5), 14: (4, 6, 4), 19: (4, 4, 4, 4, 3)}.get(length, (4, 4, 4, 4))
            groups = [digits[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
            for value in (digits, " ".join(groups), "-".join(groups)):
                yield case(random_.choice(sentences), value, "credit_card", "card")


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
            yield case(random_.choice(sentences), value, "ip", "IPv6")
    for _ in range(120):
        value = f"{random_.choice((5, 45, 78, 91, 145, 185, 203, 212))}.{random_.randrange(1, 200)}"
        value += f".{random_.randrange(256)}.{random_.randrange(100, 255)}"
        if not value.startswith("203.0.113"):
            yield case(random_.choice(sentences[:-1]), value, "ip", "IPv4")
    for value in ("8.8.8.8", "1.1.1.1", "9.9.9.9", "208.67.222.222", "4.2.2.2", "77.88.8.8", "1.0.0.1", "8.8.4.4"):
        for sentence in ("DNS server {}", "ping {} -c 4", "{}", "http://{}/", "nameserver {}"):
            yield case(sentence, value, "ip", "IPv4")


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
            yield case(sentence, value, "email", "email")
        yield case(
            random_.choice(sentences), value.replace("ann", "".join(random_.sample("qwertz", 5))), "email", "email"
        )


def ssns(seed: int) -> Iterator[Case]:
    random_ = random.Random(seed)
    for _ in range(30):
        a, g, s = random_.randrange(1, 665), random_.randrange(1, 99), random_.randrange(1, 9999)
        parts = (f"{a:03}", f"{g:02}", f"{s:04}")
        for sentence in ("SSN {}", "my social security number is {}.", "{}", "Applicant ({})"):
            yield case(sentence, "-".join(parts), "ssn", "ssn")
        for sentence in ("SSN: {}", "Social Security No. {}", "her SSN is {}", "SSN# {}", "Social: {}"):
            for gap in (" ", "", ".", "–"):
                yield case(sentence, gap.join(parts), "ssn", "ssn")


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
            yield case(sentence, value, "secret", "secret")
