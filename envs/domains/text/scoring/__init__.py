"""How a text answer is compared with the gold answer, one file for each way."""
