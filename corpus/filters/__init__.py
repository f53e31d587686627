"""Filters that judge a page by its address, by what its publisher says about use for AI, or by its text.

Addresses: `urls` and, behind it, `blocklist`, `listfiles`, `addresses`, `urlwords`. Opt-outs: `optout`, `optout_hosts`,
`optout_build`, `robots`. Text: `gopher_repetition`, `gopher_quality`, `c4`, `fineweb`; they share `rules`,
`statistics`, `words`, `characters`, `english` and `languages`; `one_text` asks them about one text.
"""
