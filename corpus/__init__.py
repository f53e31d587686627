"""From WARC files to clean, deduplicated, tokenized Parquet shards."""

__version__ = "0.1.0"
