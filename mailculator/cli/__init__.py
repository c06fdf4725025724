"""The command line: one file per group of commands; nothing heavy is imported for --help."""
