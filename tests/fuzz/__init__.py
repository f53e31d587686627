"""Programs that feed parsers with input nobody would write; each is run by hand for as long as one likes."""
