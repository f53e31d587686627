"""Other people's files -> rows of DOCUMENTS: Parquet, JSON lines, CSV and plain text, one module a format.

`plan.open_sources` finds the files and cuts them into units; `reader` reads a unit for a chain of stages.
"""
