"""``cloudoptim-agent dead-letters``: what Central refused for good, to look at and to send again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone

from shared.basics.logs import printable
from shared.basics.timing import iso
from shared.queue.client import Queue, QueueRefused
from shared.queue.messages import DeadLetter


def dead_letters(queue: Queue, retry: bool, in_json: bool) -> Iterator[str]:
    """The lines to print; with ``retry`` the letters are queued again, behind what waits.

    Raises:
        TemporaryError: the queue does not answer, or has no room.
    """
    letters = queue.dead_letters()
    if in_json:
        yield from (json.dumps(_shown(letter)) for letter in letters)
    elif letters:
        yield from _table(letters)
    else:
        yield "Central has refused nothing for good that is still kept."
    if retry and letters:
        revived = _revive(queue, letters)
        yield f"{revived} of {len(letters)} are queued again; those that Central still refuses will be back here."


def _revive(queue: Queue, letters: Iterable[DeadLetter]) -> int:
    revived = 0
    for letter in letters:  # One by one: where there is no room for one, there may be for a smaller one.
        try:
            revived += queue.revive([letter.id])
        except QueueRefused:
            continue
    return revived


def _table(letters: list[DeadLetter]) -> Iterator[str]:
    yield f"{'REFUSED':24}  {'TOPIC':8}  {'BYTES':>8}  KEY"
    for letter in letters:
        yield f"{_moment(letter):24}  {letter.topic:8}  {len(letter.body):8}  {printable(letter.key)}"
        yield f"    {printable(letter.reason)}"


def _shown(letter: DeadLetter) -> dict[str, object]:
    body = json.loads(bytes(letter.body))
    return {
        "refused_at": _moment(letter),
        "topic": letter.topic,
        "key": letter.key,
        "reason": letter.reason,
        "body": body,
    }


def _moment(letter: DeadLetter) -> str:
    return iso(datetime.fromtimestamp(letter.buried_at, timezone.utc))
