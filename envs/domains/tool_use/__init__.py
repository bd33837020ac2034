"""Tool use: a request in words, tools with their parameters, and the calls that fulfil it."""
