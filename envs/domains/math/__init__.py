"""Mathematics: a problem in words, working, and a last line with the answer."""
