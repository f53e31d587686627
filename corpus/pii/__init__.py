"""Personal data in a text: finders by kind, and what stands in a text instead.

A finder takes a text and yields the (start, end) of what it is sure enough of; it never sees settings or documents.
Every pattern matches a bounded length in one way only, so that the time is linear in the text whatever it holds.
What a kind of number promises about itself is checked: check digits, issuer prefixes, country lengths, reserved
ranges. docs/pii.md says what is found, and what is not on purpose.

    addresses   e-mail, IP          accounts   payment cards, IBANs, US social security numbers
    phones      telephone numbers (phone_forms: those that need no label)   secrets    API keys and private keys
    find        all of them over one text, without overlaps        masks   what is written instead
    audit       masked spans for review, without the data themselves
"""
