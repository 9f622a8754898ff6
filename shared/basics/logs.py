"""JSON log lines of at most 4 KiB, with context attached once.

A line that fits into PIPE_BUF is written to supervisord's pipe in one piece, so lines never interleave.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from shared.basics.throttle import Throttle
from shared.basics.timing import iso

MAX_LINE = 4096
"""Bytes, the newline included: PIPE_BUF on Linux."""

_NEVER_CUT = ("timestamp", "level", "cluster_id", "component")

_CUTS = 8
"""How many fields of one line are cut before the rest is given up."""

_LAST_RESORT = 700
"""Bytes left to each of the basics when the rest is given up; one character may cost twelve, as two escapes."""

Redacted = Callable[[str], str]

_context: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("log_context", default=None)


@contextlib.contextmanager
def context(**fields: Any) -> Iterator[None]:
    """Attach ``fields`` (task_id, node_name, ...) to every line this thread logs inside the block."""
    token = _context.set({**(_context.get() or {}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def carried() -> contextvars.Context:
    """The present context, for running work of the same task on another thread."""
    return contextvars.copy_context()


class JsonLine(JsonFormatter):
    """One record as one JSON object on one line, the fields that every line has first."""

    def __init__(self, cluster_id: str, component: str, redacted: Redacted = str) -> None:
        super().__init__()
        self._fixed = {"cluster_id": cluster_id, "component": component}
        self._redacted = redacted

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["timestamp"] = iso(datetime.fromtimestamp(record.created, timezone.utc))
        log_data["level"] = record.levelname
        log_data.update(self._fixed)
        log_data["message"] = message_dict.pop("message", None) or record.getMessage()
        log_data.update(_context.get() or {})
        log_data.update({key: value for key, value in vars(record).items() if key not in RESERVED_ATTRS})
        log_data.update(message_dict)

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        text = _encoded(log_data)
        redacted = self._redacted(text)
        # Before anything is cut: half a secret would not be found.
        return _fitted(log_data if redacted == text else json.loads(redacted))


class TextLine(logging.Formatter):
    """One record as a line for people."""

    def __init__(self, component: str, redacted: Redacted) -> None:
        super().__init__(f"%(asctime)s %(levelname)-8s {component}: %(message)s")
        self._redacted = redacted

    def format(self, record: logging.LogRecord) -> str:
        return self._redacted(super().format(record))


def _fitted(line: dict[str, Any]) -> str:
    """``line`` as JSON. When it is too long its longest texts lose their middle, or all but the basics go."""
    text = _encoded(line)
    for _ in range(_CUTS):
        if len(text) < MAX_LINE:
            return text
        cuttable = (name for name in line if name not in _NEVER_CUT)
        key = max(cuttable, key=lambda name: len(_encoded(line[name])))
        value = line[key] if isinstance(line[key], str) else _encoded(line[key])
        # An escape makes one character six bytes: cut by what the text costs, not by what it counts.
        spare = len(text) + 1 - MAX_LINE
        share = max(0.0, 1 - (spare + 64) / max(1, len(_encoded(value))))
        line[key] = cut_middle(value, int(len(value) * share))
        text = _encoded(line)
    return _encoded({key: _affordable(str(line[key])) for key in (*_NEVER_CUT, "message")})


def _affordable(text: str) -> str:
    """As much of the beginning of ``text`` as five fields of one line can have."""
    kept = text[:_LAST_RESORT]
    return kept if len(_encoded(kept)) <= _LAST_RESORT else kept[: _LAST_RESORT // 12]


def _encoded(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=True)


def cut_middle(text: str, size: int) -> str:
    """``text`` in at most ``size`` characters or so, the middle replaced by a note of how much is gone."""
    if len(text) <= size:
        return text
    half = max(0, size) // 2
    return f"{text[:half]} ...[{len(text) - 2 * half} characters cut]... {text[len(text) - half :]}"


def printable(text: str) -> str:
    """``text`` on one line, without what a terminal would obey: ids and names come from outside."""
    return "".join(character if character.isprintable() else "?" for character in text)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes what the throttle lets through."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.throttle = Throttle()
        self.addFilter(self.throttle)


def tell_left_out() -> None:
    """Say how many lines of each source were left out; to be called now and then, and at the end."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            with handler.lock or contextlib.nullcontext():
                for record in handler.throttle.summaries():
                    handler.emit(record)


def configure(
    component: str, cluster_id: str, level: str = "INFO", style: str = "json", redacted: Redacted = str
) -> None:
    """Send this process's log to stdout, uncaught exceptions of any thread included.

    ``redacted`` takes secrets out of a line, whatever brought them there.
    """
    handler = _Handler(sys.stdout)
    handler.setFormatter(
        JsonLine(cluster_id, component, redacted) if style == "json" else TextLine(component, redacted)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Their INFO and WARNING lines repeat, with less to go by, what our adapters say.
    for library in ("urllib3", "kubernetes", "websocket", "requests"):
        logging.getLogger(library).setLevel(logging.ERROR)
    sys.excepthook = lambda kind, error, trace: logging.critical(
        "stopped by an unexpected error: %s", error, exc_info=(kind, error, trace)
    )
    threading.excepthook = _thread_failed


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is None or failure.exc_type is SystemExit:
        return
    name = failure.thread.name if failure.thread else "?"
    trace = (failure.exc_type, failure.exc_value, failure.exc_traceback)
    logging.critical("thread %s stopped by an unexpected error: %s", name, failure.exc_value, exc_info=trace)
