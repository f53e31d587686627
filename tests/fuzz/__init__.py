"""Programs that feed parsers with input that nobody would write; they are run by hand, for any time."""
