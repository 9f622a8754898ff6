"""Log lines: JSON, at most 4 KiB whatever is in them, with their context."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.basics import logs
from shared.basics.api_key import ApiKey
from shared.basics.logs import MAX_LINE, JsonLine, carried, configure, context, cut_middle
from shared.basics.throttle import BURST

BASICS = ["timestamp", "level", "cluster_id", "component", "message"]


def line_of(message: str, *arguments: object, **extra: Any) -> str:
    record = logging.LogRecord("shared.test", logging.INFO, "file.py", 1, message, arguments, None)
    vars(record).update(extra)
    return JsonLine("demo", "metrics").format(record)


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """What the log writes once it is configured; the test run's own logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook
    libraries = {name: logging.getLogger(name).level for name in ("urllib3", "kubernetes", "websocket", "requests")}
    try:
        yield capsys
    finally:
        root.handlers[:], root.level = handlers, level
        sys.excepthook, threading.excepthook = hooks
        for name, before in libraries.items():
            logging.getLogger(name).setLevel(before)


def lines_of(output: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.readouterr().out.splitlines()]


# -- form -----------------------------------------------------------------------------------------


def test_a_line_has_the_basics_first() -> None:
    line = json.loads(line_of("drained %s in %d s", "node-1", 3))
    assert list(line) == BASICS
    assert line["timestamp"].endswith("Z")
    assert {key: line[key] for key in BASICS[1:]} == {
        "level": "INFO",
        "cluster_id": "demo",
        "component": "metrics",
        "message": "drained node-1 in 3 s",
    }


def test_what_a_call_adds_is_on_the_line() -> None:
    assert json.loads(line_of("ended", duration_seconds=1.5))["duration_seconds"] == 1.5


def test_an_exception_is_on_the_line_whole(output: pytest.CaptureFixture[str]) -> None:
    configure("metrics", "demo")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.exception("it failed")
    (line,) = lines_of(output)
    assert line["message"] == "it failed"
    assert line["level"] == "ERROR"
    assert "Traceback" in line["exc_info"]
    assert "ValueError: broken" in line["exc_info"]


def test_a_line_break_in_a_message_is_none_in_the_log() -> None:
    assert "\n" not in line_of("one\ntwo\r\nthree\u2028four")


# -- floods ---------------------------------------------------------------------------------------


def test_a_flood_of_one_source_is_cut_short_and_told_as_a_number(output: pytest.CaptureFixture[str]) -> None:
    """One frame of Central was 340,000 lines."""
    configure("task-runner", "demo")
    for number in range(5 * BURST):
        logging.warning("flood %d", number)
    logging.warning("something else")
    logs.tell_left_out()
    lines = [line["message"] for line in lines_of(output)]
    assert BURST < len(lines) < 2 * BURST
    assert lines[-2] == "something else"
    assert lines[-1].endswith(f"more lines like this were left out: flood {5 * BURST - 1}")


# -- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_secret_is_on_no_line_wherever_it_came_from(output: pytest.CaptureFixture[str], style: str) -> None:
    configure("metrics", "demo", style=style, redacted=ApiKey('s3cr3t"key').redacted)
    with context(node_name='s3cr3t"key'):
        logging.warning("it says %s", 's3cr3t"key', extra={"task_id": 's3cr3t"key'})
    try:
        raise ValueError('s3cr3t"key')
    except ValueError:
        logging.exception("it failed")
    text = output.readouterr().out
    assert "s3cr3t" not in text
    assert text.count("***") >= (4 if style == "json" else 2)


@given(st.integers(0, 5000))
def test_a_line_that_is_cut_shows_no_half_of_a_secret(before: int) -> None:
    message = "x" * before + "s3cr3t-key" + "y" * 5000
    record = logging.LogRecord("shared.test", logging.INFO, "file.py", 1, message, (), None)
    line = JsonLine("demo", "metrics", ApiKey("s3cr3t-key").redacted).format(record)
    assert "s3" not in line
    assert "key" not in line


# -- context --------------------------------------------------------------------------------------


def test_context_is_on_every_line_of_the_block_and_on_none_after_it() -> None:
    with context(task_id="t1"):
        with context(node_name="node-1"):
            assert json.loads(line_of("x"))["task_id"] == "t1"
            assert json.loads(line_of("x"))["node_name"] == "node-1"
        assert "node_name" not in json.loads(line_of("x"))
    assert list(json.loads(line_of("x"))) == BASICS


def test_inner_context_wins_and_what_a_call_adds_wins_over_both() -> None:
    with context(node_name="outer"), context(node_name="inner"):
        assert json.loads(line_of("x"))["node_name"] == "inner"
        assert json.loads(line_of("x", node_name="own"))["node_name"] == "own"


def test_context_does_not_leak_into_other_threads_unless_carried() -> None:
    seen: list[dict[str, Any]] = []

    def look() -> None:
        seen.append(json.loads(line_of("x")))

    with context(task_id="t1"):
        for target, arguments in ((look, ()), (carried().run, (look,))):
            thread = threading.Thread(target=target, args=arguments)
            thread.start()
            thread.join()
    assert ["task_id" in line for line in seen] == [False, True]


# -- length ---------------------------------------------------------------------------------------


def test_the_longest_line_and_its_newline_fit_into_a_pipe_in_one_piece() -> None:
    assert MAX_LINE == 4096
    room = MAX_LINE - 1 - len(line_of(""))
    assert json.loads(line_of("x" * room))["message"] == "x" * room
    assert len(line_of("x" * room)) + 1 == MAX_LINE
    assert len(line_of("x" * (room + 1))) < MAX_LINE


def test_a_long_message_loses_its_middle_and_says_how_much() -> None:
    line = json.loads(line_of("begin " + "x" * 10_000 + " end"))
    assert line["message"].startswith("begin xxx")
    assert line["message"].endswith("xxx end")
    assert " characters cut]..." in line["message"]
    assert len(line["message"]) > 3000, "no more is cut than has to be"


def test_the_longest_field_is_cut_and_short_ones_are_left_alone() -> None:
    line = json.loads(line_of("short", task_id="t1", stack="y" * 9000))
    assert (line["message"], line["task_id"]) == ("short", "t1")
    assert "characters cut" in line["stack"]


def test_a_field_that_is_no_text_is_cut_as_json() -> None:
    line = json.loads(line_of("short", pods=[f"pod-{number}" for number in range(2000)]))
    assert line["pods"].startswith('["pod-0"')
    assert line["pods"].endswith('"pod-1999"]')


def test_a_line_with_too_many_long_fields_keeps_the_basics() -> None:
    extra = {f"field{number}": "x" * 2000 for number in range(30)}
    line = json.loads(line_of("the message", **extra))
    assert list(line) == BASICS
    assert line["message"] == "the message"


def test_a_line_with_too_many_long_fields_is_short_whatever_the_message() -> None:
    extra = {f"field{number}": "x" * 6000 for number in range(30)}
    assert len(line_of("\U0001f600" * 400, **extra)) < MAX_LINE


NASTY = st.text(st.sampled_from(list('ab"\\\n\x00\x1f\x7fé€\ud800\u2028\U0001f600')), max_size=3000)
VALUES = st.one_of(NASTY, st.integers(), st.none(), st.lists(NASTY, max_size=3), st.binary(max_size=500))


@given(message=NASTY, repeat=st.integers(1, 40), extra=st.dictionaries(st.sampled_from("pqrstuvw"), VALUES, max_size=8))
def test_no_line_is_longer_or_less_than_json_whatever_is_in_it(
    message: str, repeat: int, extra: dict[str, Any]
) -> None:
    text = line_of("%s", message * repeat, **extra)
    assert len(text.encode()) < MAX_LINE
    assert "\n" not in text
    line = json.loads(text)
    assert [line[key] for key in ("level", "cluster_id", "component")] == ["INFO", "demo", "metrics"]


@given(st.text(max_size=300), st.integers(0, 300))
def test_a_text_whose_middle_is_cut_keeps_both_ends(text: str, size: int) -> None:
    cut = cut_middle(text, size)
    if len(text) <= size:
        assert cut == text
    else:
        half = size // 2
        assert cut.startswith(text[:half])
        assert cut.endswith(text[len(text) - half :])
        assert f"[{len(text) - 2 * half} characters cut]" in cut


# -- set-up ---------------------------------------------------------------------------------------


def test_less_than_the_level_is_not_logged(output: pytest.CaptureFixture[str]) -> None:
    configure("metrics", "demo")
    logging.debug("no")
    logging.info("yes")
    configure("metrics", "demo", "ERROR")
    logging.warning("no")
    logging.error("yes")
    assert [line["message"] for line in lines_of(output)] == ["yes", "yes"]


def test_configuring_again_does_not_log_twice(output: pytest.CaptureFixture[str]) -> None:
    configure("metrics", "demo")
    configure("metrics", "demo")
    logging.info("once")
    assert len(lines_of(output)) == 1


def test_text_is_for_reading(output: pytest.CaptureFixture[str]) -> None:
    configure("metrics", "demo", style="text")
    logging.warning("a word")
    assert output.readouterr().out.endswith(" WARNING  metrics: a word\n")


@pytest.mark.parametrize("library", ["urllib3", "kubernetes", "websocket", "requests"])
def test_libraries_only_report_errors(output: pytest.CaptureFixture[str], library: str) -> None:
    configure("metrics", "demo")
    logging.getLogger(library).warning("chatter")
    logging.getLogger(library).error("trouble")
    assert [line["message"] for line in lines_of(output)] == ["trouble"]


def test_a_thread_that_dies_is_in_the_log(output: pytest.CaptureFixture[str]) -> None:
    configure("metrics", "demo")
    try:
        raise ValueError("broken")
    except ValueError as error:
        failure = (type(error), error, error.__traceback__, threading.Thread(name="doomed"))
        # The hook is called as the interpreter calls it: pytest has one of its own in place.
        logs._thread_failed(threading.ExceptHookArgs(failure))
    (line,) = lines_of(output)
    assert line["level"] == "CRITICAL"
    assert line["message"] == "thread doomed stopped by an unexpected error: broken"
    assert "Traceback" in line["exc_info"]


def test_a_process_that_dies_and_its_threads_say_so_in_json() -> None:
    code = (
        "import threading; from shared.basics.logs import configure; configure('metrics', 'demo')\n"
        "thread = threading.Thread(target=lambda: 1 / 0, name='side'); thread.start(); thread.join()\n"
        "quiet = threading.Thread(target=exit); quiet.start(); quiet.join()\n"
        "raise ValueError('broken')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == ""
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == [
        "thread side stopped by an unexpected error: division by zero",
        "stopped by an unexpected error: broken",
    ]
