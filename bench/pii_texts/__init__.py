"""Texts with personal data at known places, and lines without any: a test set made by rule, not by the finders.

Every text follows from a seed.
"""

from __future__ import annotations

from bench.pii_texts.cases import Case
from bench.pii_texts.lookalikes import negatives
from bench.pii_texts.phones import BARE, LABELLED, international_phones, national_phones, unmistakable_phones
from bench.pii_texts.values import addresses, cards, emails, ibans, secrets, ssns

__all__ = ["BARE", "LABELLED", "Case", "national_phones", "negatives", "positives"]


def positives(seed: int = 1) -> list[Case]:
    cases = [*international_phones(seed), *national_phones(seed, True), *unmistakable_phones(seed), *ibans(seed)]
    return [*cases, *cards(seed), *addresses(seed), *emails(seed), *ssns(seed), *secrets(seed)]
