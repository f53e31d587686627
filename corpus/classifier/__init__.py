"""A classifier of good texts: `train` and `fit` make one, `model` asks it, `stage` keeps documents by its score.

To keep a share of all documents, `passes` gathers the scores (`scores`), finds the score that the share reaches
(`cutoff`, `work`) and keeps the documents that reach it (`apply`).
"""
