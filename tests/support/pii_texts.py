"""Texts that hypothesis glues together from personal data and from pieces that are nearly personal data."""

from __future__ import annotations

from hypothesis import strategies as st

from corpus.pii.scrub import Config

PUBLIC, ALL = Config(), Config(ip_scope="all")

# Pieces of values, and what stands between values.
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
