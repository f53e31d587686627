"""Finders of secrets that give access: API keys and tokens by the prefixes of their issuers, and private keys.

A prefix alone proves little. The characters behind it must have the issuer's length and alphabet, and enough of them
must be different, or it is a placeholder: documentation is full of `AKIAIOSFODNN7EXAMPLE` and `sk-xxxxxxxx`, which are
left. The checksums of some keys are not checked, because a key with a typing error is nearly as secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from corpus.pii.text import Numbers

_AFTER = r"(?![A-Za-z0-9_-])"
# AWS's secret keys have no prefix; the name of their setting stands before them.
_AWS_SECRET = r"(?i:aws.{0,12}secret.{0,16}key)[\"']?\s{0,3}[:=]\s{0,3}[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
_DISCORD = (
    r"(?i:discord)[^\n]{0,40}?(?<![A-Za-z0-9_-])([MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38})"
)
# Settings that hold a key of any issuer, `api_key = "..."`: the words before `key`, `token` or `secret`.
_OWNERS = ("api", "secret", "access", "auth", "private", "client", "app", "account", "consumer", "refresh", "bot")


def _setting(name: str) -> str:
    """The pattern of a setting whose name ends with `name`; group 1 is its value."""
    owners = "|".join(f"(?<=(?i:{owner}){gap}{name})" for owner in _OWNERS for gap in ("", "[_-]"))
    equals = r"[\"']?\s{0,3}[:=]>?\s{0,3}[\"'`]?"
    return rf"{name}(?:{owners}){equals}([A-Za-z0-9_+/-]{{20,128}}={{0,2}})(?![A-Za-z0-9_.(\[/+-])"


_NAMES = ("key", "Key", "KEY", "token", "Token", "TOKEN", "secret", "Secret", "SECRET")
# (needle, pattern): a text with the needle is searched for the pattern, whose group 1, if it has one, is the secret.
_KEYS = tuple(
    (needle, re.compile(pattern))
    for needle, pattern in (
        ("AKIA", r"AKIA(?<![A-Za-z0-9]AKIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),  # AWS access key id
        ("ASIA", r"ASIA(?<![A-Za-z0-9]ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])"),  # AWS temporary key id
        ("gh", rf"gh[pousr]_(?<![A-Za-z0-9_-]....)[A-Za-z0-9]{{36,251}}{_AFTER}"),  # GitHub
        ("github_pat_", rf"github_pat_[A-Za-z0-9]{{22}}_[A-Za-z0-9]{{59}}{_AFTER}"),
        ("glpat-", rf"gl(?:pat|ptt|dt|rt|soat)-[A-Za-z0-9_-]{{20,64}}{_AFTER}"),  # GitLab
        ("xox", rf"xox[abeoprs]-(?<![A-Za-z0-9_-].....)[A-Za-z0-9-]{{10,250}}{_AFTER}"),  # Slack
        ("hooks.slack.com", r"hooks\.slack\.com/services/(T[A-Z0-9]{8,12}/B[A-Z0-9]{8,12}/[A-Za-z0-9]{20,30})"),
        ("AIza", rf"AIza(?<![A-Za-z0-9_-]....)[A-Za-z0-9_-]{{35}}{_AFTER}"),  # Google
        ("ya29.", r"ya29\.[A-Za-z0-9_-]{20,400}"),  # Google OAuth
        ("k_live_", rf"[sr]k_live_(?<![A-Za-z0-9_-]........)[A-Za-z0-9]{{16,250}}{_AFTER}"),  # Stripe
        ("k_test_", rf"[sr]k_test_(?<![A-Za-z0-9_-]........)[A-Za-z0-9]{{16,250}}{_AFTER}"),
        ("whsec_", rf"whsec_[A-Za-z0-9+/]{{24,64}}{_AFTER}"),
        ("sk-ant-", rf"sk-ant-[A-Za-z0-9_-]{{20,200}}{_AFTER}"),  # Anthropic
        ("sk-", rf"sk-(?<![A-Za-z0-9_-]...)(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{{20,250}}{_AFTER}"),  # OpenAI
        ("sk-", rf"sk-(?<![A-Za-z0-9_-]...)(?:or-v1-)?[A-Za-z0-9]{{20,100}}{_AFTER}"),
        ("hf_", rf"hf_(?<![A-Za-z0-9_-]...)[A-Za-z0-9]{{34,40}}{_AFTER}"),  # Hugging Face
        ("npm_", rf"npm_(?<![A-Za-z0-9_-]....)[A-Za-z0-9]{{36}}{_AFTER}"),
        ("pypi-", rf"pypi-(?<![A-Za-z0-9_-].....)[A-Za-z0-9_-]{{50,400}}{_AFTER}"),
        ("SG.", rf"SG\.(?<![A-Za-z0-9_-]...)[A-Za-z0-9_-]{{16,32}}\.[A-Za-z0-9_-]{{32,64}}{_AFTER}"),  # SendGrid
        ("SK", rf"SK(?<![A-Za-z0-9_-]..)[0-9a-f]{{32}}{_AFTER}"),  # Twilio
        (":AA", rf"[0-9]{{8,10}}(?<![0-9A-Za-z]..........):AA[A-Za-z0-9_-]{{33}}{_AFTER}"),  # Telegram bots
        ("dop_v1_", rf"dop_v1_[0-9a-f]{{64}}{_AFTER}"),  # DigitalOcean
        ("shp", rf"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{{32}}{_AFTER}"),  # Shopify
        # JSON Web Token: header, claims, signature
        ("eyJ", r"eyJ(?<![A-Za-z0-9_-]...)[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{4,4000}\.[A-Za-z0-9_-]{16,1000}"),
        ("secret", _AWS_SECRET),
        ("SECRET", _AWS_SECRET),
    )
)
# Keys that have twenty letters, digits and `_` in a row. Few texts have such words.
_LONG_KEYS = tuple(
    (needle, re.compile(pattern))
    for needle, pattern in (
        ("xapp-", rf"xapp-1-A[A-Z0-9]{{8,12}}-[0-9]{{10,14}}-[0-9a-f]{{64}}{_AFTER}"),  # Slack
        ("gsk_", rf"gsk_(?<![A-Za-z0-9_-]....)[A-Za-z0-9]{{52}}{_AFTER}"),  # Groq
        ("xai-", rf"xai-(?<![A-Za-z0-9_-]....)[A-Za-z0-9]{{80}}{_AFTER}"),
        ("r8_", rf"r8_(?<![A-Za-z0-9_-]...)[A-Za-z0-9]{{37}}{_AFTER}"),  # Replicate
        ("lin_api_", rf"lin_api_[A-Za-z0-9]{{40}}{_AFTER}"),  # Linear
        ("dapi", rf"dapi(?<![A-Za-z0-9_-]....)[0-9a-f]{{32}}(?:-[0-9])?{_AFTER}"),  # Databricks
        ("NRAK-", rf"NRAK-(?<![A-Za-z0-9_-].....)[A-Z0-9]{{27}}{_AFTER}"),  # New Relic
        ("sq0", rf"sq0(?:csp|atp|idp)-[A-Za-z0-9_-]{{22,43}}{_AFTER}"),  # Square
        ("EAA", rf"EAA(?<![A-Za-z0-9_-]...)[A-Za-z0-9_-]{{57,250}}{_AFTER}"),  # Square, Facebook
        ("ATATT3", r"ATATT3[A-Za-z0-9_=-]{60,250}"),  # Atlassian
        ("figd_", rf"figd_[A-Za-z0-9_-]{{40,44}}{_AFTER}"),  # Figma
        ("ntn_", rf"ntn_(?<![A-Za-z0-9_-]....)[A-Za-z0-9]{{46}}{_AFTER}"),  # Notion
        ("sbp_", rf"sbp_(?<![A-Za-z0-9_-]....)[0-9a-f]{{40}}{_AFTER}"),  # Supabase
        ("key-", rf"key-(?<![A-Za-z0-9_-]....)[0-9a-f]{{32}}{_AFTER}"),  # Mailgun
        ("xkeysib-", rf"xkeysib-[0-9a-f]{{64}}-[A-Za-z0-9]{{16}}{_AFTER}"),  # Brevo
        ("sk.eyJ", rf"sk\.(?<![A-Za-z0-9_-]...)eyJ[A-Za-z0-9_-]{{40,300}}\.[A-Za-z0-9_-]{{20,30}}{_AFTER}"),  # Mapbox
        ("AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[0-9A-Z]{58}(?![0-9A-Za-z])"),
        ("AccountKey=", r"AccountKey=([A-Za-z0-9+/]{86}==)"),  # Azure
        ("Bearer ", rf"Bearer ([A-Za-z0-9_.+/-]{{24,400}}={{0,2}}){_AFTER}"),
        ("Authorization: token ", rf"Authorization: token ([A-Za-z0-9_-]{{24,250}}){_AFTER}"),
        *((name, _DISCORD) for name in ("discord", "Discord", "DISCORD")),
        *((name, _setting(name)) for name in _NAMES),
    )
)  # fmt: skip
_LONG_TOKEN = re.compile("[A-Za-z0-9_]{20}")
_AFTER_DIGIT = re.compile("[A-Za-z0-9_+/-]{6}")
_AROUND_DIGIT = re.compile("[A-Za-z0-9_+/-]{16}")
_BEGIN = re.compile(r"-----BEGIN (?P<what>(?:[A-Z0-9]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?)-----")
_PEM = 20_000  # most characters of a private key; RSA with 16,384 bits has 12,000
_PLACEHOLDERS = re.compile(r"example|placeholder|your|xxxx|\.\.\.|redacted|dummy|abcdefgh|12345678901", re.IGNORECASE)
_DISTINCT = 7  # fewest different characters; one of 100 million random keys of 16 characters out of 32 has fewer


def secrets(text: str, numbers: Numbers) -> Iterator[tuple[int, int]]:
    """Keys, tokens and whole blocks of private keys, one kind after the other."""
    # Nearly all keys have a digit after a letter. In a text without a long word that does, two of 25 needles are left.
    has_token = any(_in_token(text, start) for start in numbers.in_words)
    keys = _KEYS if has_token else _KEYS[:2]
    if has_token and any(_LONG_TOKEN.search(text, max(0, start - 19), start + 20) for start in numbers.in_words):
        keys += _LONG_KEYS
    for needle, pattern in keys:
        if needle in text:
            for match in pattern.finditer(text):
                start, end = match.span(match.lastindex or 0)
                key = match[match.lastindex or 0]
                if is_random(key) and (needle not in _NAMES or _is_mixed(key)):
                    yield start, end
    if "-----BEGIN" in text:
        yield from _private_keys(text)


def _in_token(text: str, digit: int) -> bool:
    """Whether this digit is in a run of letters, digits and some marks that is longer than words usually are."""
    return bool(_AFTER_DIGIT.match(text, digit) or _AROUND_DIGIT.match(text, max(0, digit - 14)))


def is_random(key: str) -> bool:
    """Whether this may be a key, and no placeholder or word: it has many different characters, and not only letters."""
    body = key[4:]
    return len(set(body)) >= _DISTINCT and not body.isalpha() and not _PLACEHOLDERS.search(body)


def _is_mixed(key: str) -> bool:
    """Whether letters and digits alternate as in no identifier: `projects/12/my-secret` is the name of a key."""
    return sum(map(str.isdigit, key)) >= 3 and not _LONG_WORD.search(key) and len(_SWITCH.findall(key)) >= 3


_LONG_WORD = re.compile("[a-z]{7}|[A-Z]{7}")
_SWITCH = re.compile("[A-Za-z][0-9]")


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Private keys from the BEGIN line to the END line; to the end of the base64 if the END line is missing."""
    end, match = 0, _BEGIN.search(text)
    while match:
        closing = f"-----END {match['what']}-----"
        place = text.find(closing, match.end(), match.end() + _PEM)
        if place >= 0:
            end = place + len(closing)
        else:
            rest = _BASE64.match(text, match.end())
            end = rest.end() if rest else match.end()
        if end - match.end() >= 64:
            yield match.start(), end
        match = _BEGIN.search(text, end)


_BASE64 = re.compile(r"(?:[\s\\nr]{0,4}+[A-Za-z0-9+/=]{1,80}){0,250}+")
