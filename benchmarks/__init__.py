"""One file a question, with its peers and its floor."""
