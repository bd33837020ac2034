"""Tests of the sandbox share a call and a program."""

from typing import Any

from dataenvgym.envs.domains.code.sandbox import CallTest

ADD = "def add(a, b):\n    return a + b\n"


def call(args: list[Any], expected: Any) -> CallTest:
    return CallTest(args=args, expected=expected)
