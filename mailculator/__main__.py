"""`python -m mailculator` and the `mailculator` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from mailculator.cli import main as command_line

    command_line.main()


if __name__ == "__main__":
    main()
