"""Where each topic's messages stand in the spool, which the version before and the one after read as well.

An older version knows nothing of a topic that came later. It must neither stumble over its messages nor touch them:
they stand in the place of their own where it does not look, by the name of a topic that it knows.
"""

from __future__ import annotations

from shared.queue.messages import EVENTS, METRICS, NOTICES, RESULTS

_PLACES = (RESULTS, EVENTS, METRICS, NOTICES)
"""In the order they came to be, which is for good."""

_BITS = 56

IDS = {topic: range(number << _BITS, (number + 1) << _BITS) for number, topic in enumerate(_PLACES)}
"""Ids of a topic's messages: those of each stand together, in order, without an index of their own."""

_WRITTEN_AS = {NOTICES: EVENTS}
"""Topics that the first version did not know, and what the column ``topic`` has for them."""


def topic_at(id_: int) -> str | None:
    """The topic of a message by its id; None when a newer version wrote it, and this one knows no such topic."""
    place = id_ >> _BITS
    return _PLACES[place] if place < len(_PLACES) else None


def written_as(topic: str) -> str:
    """What the column ``topic`` has for it."""
    return _WRITTEN_AS.get(topic, topic)


def tally_of(topic: str) -> str:
    """The table that holds the counts of what was dropped and buried."""
    return "tally_added" if topic in _WRITTEN_AS else "tally"
