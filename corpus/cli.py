"""The `corpus` command: a subcommand a stage, a whole recipe, and what shows and checks their output.

bpe.terminal.program says how errors become lines and exit codes. A command's module, which imports its stages, is
imported when the command is called, so that --help answers at once.
"""

from __future__ import annotations

import signal

from bpe.terminal.program import Program

COMMANDS = {
    "sample": ("corpus.commands.sample:sample", "A small crawl made on this machine, to try everything on."),
    "records": ("corpus.commands.records:records", "The records of a WARC file: listed, checked, or one printed."),
    "fetch": ("corpus.commands.fetch:fetch", "Common Crawl -> WARC files."),
    "optout": ("corpus.commands.optout:optout", "Robots records of a crawl -> what hosts say about use for AI."),
    "import": ("corpus.commands.import_:import_", "Parquet, JSON lines, CSV, text, WARC files -> documents."),
    "extract": (
        "corpus.commands.extract:extract",
        "WARC files -> documents: URL filter, text extraction, language ID.",
    ),
    "filter": ("corpus.commands.filter:filter_", "Documents -> documents: quality rules, a classifier."),
    "classify": ("corpus.commands.classify:classify", "Texts -> a classifier of good texts, for filter."),
    "dedup": ("corpus.commands.dedup:dedup", "Documents -> documents: exact and MinHash deduplication."),
    "decontaminate": ("corpus.commands.decontaminate:decontaminate", "Documents -> documents: no benchmark examples."),
    "scrub": ("corpus.commands.scrub:scrub", "Documents -> documents: personal data masked."),
    "mix": ("corpus.commands.mix:mix", "Documents -> documents: by weights of sources, languages or scores."),
    "tokenize": ("corpus.commands.tokenize:tokenize", "Documents -> token shards."),
    "run": ("corpus.commands.run:run", "WARC files or documents -> token shards: a whole recipe, resumable."),
    "export": ("corpus.commands.export:export", "A corpus as few large files, with a card and checksums."),
    "publish": ("corpus.commands.publish:publish", "An export, a dataset or a run, to the Hub or a storage."),
    "clusters": ("corpus.commands.clusters:clusters", "Why a page was dropped as a duplicate, and its duplicates."),
    "report": ("corpus.commands.report:report", "How many documents each rule dropped; writes report.html."),
    "verify": ("corpus.commands.verify:verify", "Is every committed file whole? Rows, checksums, accounts."),
    "warm-up": ("corpus.commands.warm_up:warm_up", "Compile everything for this machine, so that nothing waits later."),
    "gc": ("corpus.commands.verify:gc", "Remove files that no commit record names."),
}

main = Program(
    "corpus",
    COMMANDS,
    help="""From Common Crawl to clean, deduplicated, tokenized Parquet shards.

    Examples:
      corpus run recipes/fineweb.toml --input 'crawl/*.warc.gz' -o out/
      corpus report out/
    """,
    extra="[data]",
    signals=(signal.SIGINT, signal.SIGTERM),  # SIGINT too: a shell that starts us in the background has it ignored
)
