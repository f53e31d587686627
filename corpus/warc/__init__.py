"""WARC and WET files: `source` gives a unit its pages, `pages` makes pages of records, `framing` finds the records.

Below them: `members` and `zstd` for compressed members, `inflate`, `header`, `digest`, and `http_body` for the body of
a response. `inspect` shows one file to a person.
"""
