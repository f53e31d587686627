"""Downloads of a crawl's files: `paths` lists and chooses files, `download` gets one file, `fetch` all chosen ones.

`lists` downloads a list that a setting names by its web address.
"""
