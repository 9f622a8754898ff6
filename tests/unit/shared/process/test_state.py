"""The keys of the queue's state."""

from __future__ import annotations

import itertools

from shared.process import state

KEYS = [value for name, value in vars(state).items() if name.isupper()]


def test_no_key_is_read_along_with_another() -> None:
    """State is read by prefix: a key that begins another would be handed out with it."""
    assert len(KEYS) > 5
    for one, other in itertools.permutations(KEYS, 2):
        assert not one.startswith(other)
