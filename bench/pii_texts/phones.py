"""Telephone numbers of all regions, in sentences of many languages, with and without a word that announces them.

The numbers are libphonenumber's own examples with other last digits, in every form that libphonenumber prints and with
the separators that people use.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from bench.pii_texts.cases import Case, case

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

# No word says that this is a telephone number.
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


def _varied(number: phonenumbers.PhoneNumber, random_: random.Random) -> phonenumbers.PhoneNumber:
    """Another valid number of the same kind: other last digits."""
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
            yield case(random_.choice(LABELLED + BARE), form, "phone", f"international, {world_zone(number)}")
        with_prefix = "00" + spaced[1:]
        yield case(random_.choice(LABELLED), with_prefix, "phone", "00 prefix, labelled")


def national_phones(seed: int, labelled: bool) -> Iterator[Case]:
    """As the country itself prints them. Shorter than seven digits nobody could know them: left out."""
    random_ = random.Random(seed)
    for _, number in examples(seed):
        printed = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        if sum(map(str.isdigit, printed)) < 7:
            continue
        forms = [printed, printed.replace(" ", "-"), printed.replace("-", " "), printed.replace(" ", ".")]
        group = "national, labelled" if labelled else "national, bare"
        for form in dict.fromkeys(forms):
            yield case(random_.choice(LABELLED if labelled else BARE), form, "phone", f"{group}, {world_zone(number)}")


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
            yield case(sentence, form, "phone", "bare, promised forms")
