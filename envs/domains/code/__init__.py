"""Python programming: a problem in words, and a program that is judged by running it."""
