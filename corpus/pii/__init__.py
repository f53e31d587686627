"""Personal data in a text: a finder for each kind of it, and what is written in its place.

A finder takes a text and yields the (start, end) of each value that it is sure enough of; it never sees settings or
documents. Every pattern matches a bounded length, and in one way only, so the time is linear in any text. A number is
checked for what its kind promises: check digits, prefixes of issuers, lengths by country, reserved ranges. docs/pii.md
says what is found, and what is left on purpose.

    addresses    e-mail and IP addresses
    accounts     payment cards, IBANs
    ssns         US social security numbers
    naming       words that call a number something else: `order no.`, `meter reading`
    phones       telephone numbers; phone_forms: numbers that need no word beside them; phone_words: such words
    secrets      API keys and private keys
    text         what finders share
    find         all finders over one text, without overlaps
    masks        what is written in place of a value
    audit        masked values for review, without the values themselves
    scrub        the stage
"""
