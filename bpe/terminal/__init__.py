"""What the three commands `corpus`, `bpe` and `model` share at a terminal.

- `program`: the table of subcommands; errors become one line and an exit code; signals.
- `help`: how a help page looks, and options that know their heading.
- `text`: lines, numbers, sizes, durations, tables and colours.
- `progress`: a bar on a terminal, plain lines elsewhere.

It lives in `bpe` because both other packages stand on `bpe`, which imports neither. Importing it loads click alone.
"""
