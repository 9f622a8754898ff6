"""What each request does to the store. The broker and the in-memory twin both answer with this."""

from __future__ import annotations

from shared.queue.messages import (
    Ack,
    Bury,
    GetDead,
    GetState,
    Lease,
    Put,
    Release,
    ReleaseAll,
    Reply,
    Request,
    Revive,
    SetState,
    Stats,
    WatchState,
)
from shared.queue.store import Store


def answer(store: Store, request: Request) -> Reply | None:
    """Apply ``request``; None means: nothing yet, ask again later (a lease or watch that may wait).

    Raises:
        InvalidRequest, NoRoom: nothing was done.
        QueueFull, SpoolCorrupt: nothing since the last commit was kept.
    """
    with store.translated():
        if isinstance(request, Put):
            store.put(request.topic, request.messages, request.state)
        elif isinstance(request, Lease):
            leased = store.lease(request.topics, request.limit, request.seconds)
            return Reply(leased=leased) if leased else None
        elif isinstance(request, Ack):
            store.ack(request.ids)
        elif isinstance(request, Release):
            store.release(request.ids, request.delay)
        elif isinstance(request, ReleaseAll):
            store.release_all()
        elif isinstance(request, GetDead):
            letters, more = store.dead_letters(request.after)
            return Reply(dead=letters, more=more)
        elif isinstance(request, Revive):
            return Reply(revived=store.revive(request.ids))
        elif isinstance(request, Bury):
            store.bury(request.ids, request.reason)
        elif isinstance(request, SetState):
            store.set_state(request.values, request.durable)
        elif isinstance(request, GetState):
            entries, more = store.get_state(request.prefix, request.after)
            return Reply(entries=entries, more=more, version=store.version)
        elif isinstance(request, WatchState):
            # A version from the future is that of a broker before the clock was set back.
            newer_than = request.version if request.version <= store.version else 0
            entries, version = store.changes(request.prefix, newer_than)
            return Reply(entries=entries, version=version) if entries else None
        elif isinstance(request, Stats):
            return Reply(stats=store.stats())
    return Reply()


def nothing(store: Store, request: Request) -> Reply:
    """The answer when the wait of a lease or watch is over."""
    return Reply(version=store.version) if isinstance(request, WatchState) else Reply()
