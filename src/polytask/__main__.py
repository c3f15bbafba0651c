"""`python -m polytask` is the `polytask` command."""

from polytask.cli import main

if __name__ == "__main__":
    main()
