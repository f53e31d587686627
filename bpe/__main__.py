"""`python -m bpe` is the `bpe` command."""

from bpe.cli import main

if __name__ == "__main__":
    main()
