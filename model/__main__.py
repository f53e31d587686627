"""`python -m model` is the `model` command."""

from model.cli import main

if __name__ == "__main__":
    main()
