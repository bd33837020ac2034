"""How a math answer is found in a text and compared with the gold answer."""
