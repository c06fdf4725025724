"""What is going on, in words: gathered from the stores alone, so that the page and the command line say the same."""
