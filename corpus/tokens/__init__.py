"""Documents to token shards (`ids`), the number of tokens of a document (`count`), and the vocabulary of a recipe
(`vocabulary`, `work`, `passes`).
"""
