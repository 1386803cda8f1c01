"""JSON log lines for an application that asks for them; the library itself never does.

The library logs through the standard `logging` tree `miros_mesh`. `configure_json` sends that tree,
the rest of the application's records, structlog's and snoop records, to one place in one form: a
line each, of the Elastic Common Schema.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import structlog

from miros_mesh.errors import ConfigError, LogFileError
from miros_mesh.observe.logs.ecs import DATASET
from miros_mesh.observe.logs.ecs_lines import SNOOP_ATTRIBUTE, exception_processors, formatter
from miros_mesh.observe.logs.files import LineStream, RotatingFile, WatchedFile
from miros_mesh.observe.logs.queue import QueuedHandler, Sink
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

HANDLER_NAME = "miros_mesh.observe.logs"
KEPT_FILES = 5

_snoop_logger = logging.getLogger(DATASET)


def configure_json(
    target: TextIO | Path | str | None = None,
    *,
    level: int = logging.INFO,
    service: str | None = None,
    rotate_bytes: int = 0,
    keep: int | None = None,
) -> QueuedHandler:
    """Write each log record from `level` up as one line of JSON to a stream or a file's end.

    For applications: it sets the root logger's level and configures structlog for the process.
    Called again, it replaces what it did before. The other arguments, and what it raises, are those
    of `json_handler`.
    """
    # First: what it raises must leave the application's logging as it was.
    handler = json_handler(target, service=service, rotate_bytes=rotate_bytes, keep=keep)
    _install(handler, level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            # On the thread that logs, where the live exception is; the formatter sees a text.
            *exception_processors(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    return handler


def json_handler(
    target: TextIO | Path | str | None = None,
    *,
    service: str | None = None,
    rotate_bytes: int = 0,
    keep: int | None = None,
) -> QueuedHandler:
    """Make a handler that writes such lines, for a logger of the application's choice.

    Args:
        target: a stream, or the path of a file to append to; None is standard error. A file that
            logrotate moves away is opened anew.
        service: the application's name, as `service.name` in every line.
        rotate_bytes: rename the file before it grows beyond this; 0 leaves that to others.
        keep: how many renamed files stay; 5 unless said otherwise.

    Raises:
        LogFileError: the file cannot be opened.
        ConfigError: rotation of what is no file, or that would keep nothing; `keep` without it.
    """
    handler = QueuedHandler(_sink(target, rotate_bytes, keep))
    handler.setFormatter(formatter(service))
    return handler


def log_snoop(record: SnoopRecord) -> None:
    """Log a snoop record to the logger `miros_mesh.snoop`, with level INFO.

    Fit for `on_trace_rx` and `on_spy_rx`, which call it on a thread of the node's own.
    """
    # It comes for each record of every chart: what is switched off must cost next to nothing.
    if _snoop_logger.isEnabledFor(logging.INFO):
        _snoop_logger.info(
            "%s %s",
            printable(record.chart),
            printable(record.text),
            # Other handlers of the application print the message; ours takes the record itself.
            extra={SNOOP_ATTRIBUTE: record},
        )


def _sink(target: TextIO | Path | str | None, rotate_bytes: int, keep: int | None) -> Sink:
    is_file = isinstance(target, Path | str)
    if problems := tuple(_problems(rotate_bytes, keep, is_file=is_file)):
        raise ConfigError(problems)
    if not isinstance(target, Path | str):
        return LineStream(sys.stderr if target is None else target)
    try:
        if rotate_bytes:
            return RotatingFile(target, max_bytes=rotate_bytes, keep=keep or KEPT_FILES)
        return WatchedFile(target)
    except OSError as error:
        raise _cannot_open(Path(target), error) from error


def _problems(rotate_bytes: int, keep: int | None, *, is_file: bool) -> Iterator[str]:
    # `type`, since True is an `int` as well; so it is with `keep`.
    if type(rotate_bytes) is not int or rotate_bytes < 0:
        yield f"rotate_bytes: a size in bytes, and not {rotate_bytes!r}"
    elif rotate_bytes and not is_file:
        yield f"rotate_bytes: {rotate_bytes} is for a log that goes to a file"
    if keep is None:
        return
    if type(keep) is not int or keep < 1:
        yield f"keep: at least 1 file, and not {keep!r}, or nothing would be rotated"
    elif rotate_bytes == 0:
        yield f"keep: {keep} files are kept of a log that rotates: give rotate_bytes too"


def _cannot_open(path: Path, error: OSError) -> LogFileError:
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        reason = f"there is no folder {path.absolute().parent}: make it first"
    return LogFileError(f"the log {path} cannot be opened: {reason}")


def _install(handler: logging.Handler, level: int) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    # Before the new one writes, since both may write into the same file. What other threads log in
    # between is in neither.
    for earlier in [known for known in root.handlers if known.get_name() == HANDLER_NAME]:
        root.removeHandler(earlier)
        earlier.close()
    handler.set_name(HANDLER_NAME)
    root.addHandler(handler)
