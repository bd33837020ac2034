"""Words for our own messages."""

import pytest

from dataenvgym.envs.text import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1200 rows")])
def test_a_noun_is_in_the_singular_after_one(number: int, said: str) -> None:
    assert counted(number, "row") == said
