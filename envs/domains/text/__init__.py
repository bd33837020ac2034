"""The text domain: any question in words with an answer that a named scorer can judge. Own data need no code."""
