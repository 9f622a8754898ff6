"""The spool: one SQLite file in WAL mode, of a known format, set aside when it cannot be read.

``synchronous=NORMAL`` survives SIGKILL of any process, which is what an emptyDir can promise; a power cut loses
the directory anyway.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from shared.queue.errors import SpoolUnavailable

FORMAT = 1
"""Version of the spool's tables, kept in ``PRAGMA user_version``.

Tables and columns may be added within it. The next one is read as well, if it says in ``PRAGMA application_id`` that
this one may: a version of the agent that goes back by one finds what waits. Any other is set aside.
"""

_SCHEMA = """
CREATE TABLE message (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, put_at REAL NOT NULL,
    UNIQUE (topic, key)
);
CREATE TABLE buried (id INTEGER PRIMARY KEY, topic TEXT, key TEXT, body BLOB, reason TEXT, buried_at REAL);
CREATE TABLE tally (topic TEXT PRIMARY KEY, dropped INTEGER NOT NULL, buried INTEGER NOT NULL);
CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL, set_at REAL NOT NULL);
"""

_TABLES = {"message", "buried", "tally", "state"}

_ADDED = (
    "CREATE TABLE IF NOT EXISTS boot (id TEXT PRIMARY KEY, difference REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tally_added (topic TEXT PRIMARY KEY, dropped INTEGER NOT NULL,"
    " buried INTEGER NOT NULL)",
)
"""Tables that came later: an older version of the agent leaves them alone, so the format is still the same."""

_logger = logging.getLogger(__name__)


class Spool:
    """The open file at ``path`` (``:memory:`` for none); ``db`` is another object after ``begin_anew()``."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self.db = _open(path)

    def begin_anew(self) -> None:
        """Set the damaged file aside and open an empty one.

        Raises:
            SpoolUnavailable: not now.
        """
        self.db.close()
        if isinstance(self._path, Path):
            set_aside(self._path, "corrupt")
        self.db = _open(self._path)

    def discard(self) -> None:
        """Remove what ``begin_anew()`` began: else the next one would set it aside, over the damaged one."""
        self.db.close()
        if isinstance(self._path, Path):
            for part in _parts(self._path):
                part.unlink(missing_ok=True)

    def close(self) -> None:
        self.db.close()


def set_aside(path: Path, reason: str) -> None:
    """Move a spool out of the way, as ``NAME.REASON`` over an earlier one, so that it can be looked at."""
    for part, aside in zip(_parts(path), _parts(Path(f"{path}.{reason}")), strict=True):
        if part.exists():
            part.replace(aside)


def _open(path: Path | str) -> sqlite3.Connection:
    """The spool at ``path``, made anew (the old one set aside) when it is unreadable or of another format.

    Raises:
        SpoolUnavailable: it may be good, but cannot be opened just now.
    """
    try:
        return _connect(path)
    except _OtherFormat as error:
        reason = "format"
        _logger.error("the spool %s has format %s, not %d; starting an empty one", path, error, FORMAT)
    except sqlite3.OperationalError as error:
        # Locked, no descriptors, no room, no permission: corruption is a plain DatabaseError.
        raise SpoolUnavailable(f"the spool {path} cannot be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        reason = "corrupt"
        _logger.error("the spool %s cannot be read (%s); starting an empty one", path, error)
    set_aside(Path(path), reason)
    return _connect(path)


class _OtherFormat(Exception):
    pass


def _connect(path: Path | str) -> sqlite3.Connection:
    # The broker thread owns the connection, but the process opens it before that thread starts.
    db = sqlite3.connect(path, check_same_thread=False, timeout=5)
    try:
        # This process alone uses the file: without shared memory and file locks a commit takes half as long.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 4194304")
        db.execute("PRAGMA wal_autocheckpoint = 4000")
        (found,) = db.execute("PRAGMA user_version").fetchone()
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
        elif found != FORMAT and not _may_be_used(db, found):
            raise _OtherFormat(found)
        elif not tables >= _TABLES:
            raise sqlite3.DatabaseError(f"it has no table {', '.join(sorted(_TABLES - tables))}")
        for table in _ADDED:
            db.execute(table)
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        db.close()
        raise
    return db


def _may_be_used(db: sqlite3.Connection, found: int) -> bool:
    """Whether the spool of format ``found`` says that this version may use it."""
    (oldest,) = db.execute("PRAGMA application_id").fetchone()
    return bool(found == FORMAT + 1 and 0 < oldest <= FORMAT)


def _parts(path: Path) -> list[Path]:
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
