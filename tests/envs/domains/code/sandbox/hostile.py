"""Tests of hostile programs share a test that no program may pass."""

from dataenvgym.envs.domains.code.sandbox import CallTest

# Never the right answer to what is asked below, whatever a program does to get it called right.
WRONG = CallTest(args=[1], expected=2)
ANSWER = "\ndef f(x):\n    return 3\n"

# say(message): an answer that the process gives past the one that its harness gives.
SAY = "import os, struct\ndef say(m):\n    os.write(4, struct.pack('!II', 2, len(m)) + b'{}' + m)\n"
