"""The four steps of a mail's way, and the runner that drives them."""
