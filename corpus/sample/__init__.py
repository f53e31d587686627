"""The sample crawl: `make` writes it from documentation pages (`docs`, `docstring`) and pages of our own (`own`).

`template` is the frame around a page, `archive` writes the WARC files.
"""
