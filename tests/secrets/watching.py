"""Everything that leaves the stores besides answers: logs, spans, metrics, warnings, errors with causes, output."""

from __future__ import annotations

import inspect
import logging
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace

from convostore.call.exposition import exposed
from convostore.call.metrics import METRICS
from convostore.errors import StoreError
from tests.secrets.canaries import LEAK
from tests.unit.test_tracing import Provider


class Watch:
    """What was said, and which canaries are in it.

    Attributes:
        said: how many texts were searched, by what they are.
        errors: how many errors were searched, by class.
        leaks: where a canary was found, and what stands around it.
        kept: how many answers held a canary: content that was stored, and may be answered.
    """

    def __init__(self) -> None:
        self.said: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.leaks: dict[str, None] = {}
        self.kept = 0

    def hear(self, what: str, text: str, where: str = "") -> None:
        """Search a text."""
        self.said[what] += 1
        if found := LEAK.search(text):
            around = text[max(0, found.start() - 200) : found.end() + 20]
            self.leaks[f"{what} {where}: {around}"] = None

    def hear_error(self, error: BaseException, where: str = "") -> None:
        """Search an error."""
        self.errors[type(error).__name__] += 1
        self.hear("error", told(error), where)

    async def call(self, store: Any, name: str, /, **arguments: Any) -> None:
        """Call a method, and search the error that it raises."""
        try:
            result = await _answer(getattr(store, name)(**arguments))
        except StoreError as error:
            self.hear_error(error, f"{store.kind}.{name}")
        else:
            self.kept += bool(LEAK.search(repr(result)))


async def _answer(result: Any) -> Any:
    """Return what a method returns, a stream as a list; a block is entered."""
    if hasattr(result, "__aiter__"):
        return [item async for item in result]
    if inspect.isawaitable(result):
        return await result
    async with result as value:
        return value


def told(error: BaseException) -> str:
    """Return everything that an error tells, those that it came from included."""
    texts, left, seen = ["".join(traceback.format_exception(error))], [error], set[int]()
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            texts += [str(each), repr(each), repr(each.args), repr(getattr(each, "__dict__", {}))]
            beneath = (each.__cause__, each.__context__, *getattr(each, "exceptions", ()))
            left += [found for found in beneath if found is not None]
    return "\n".join(texts)


class _Handler(logging.Handler):
    """Searches every record, with all that it carries."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(1)
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info and record.exc_info[1]
        text = f"{record.getMessage()} {vars(record)} {told(failure) if failure else ''}"
        self._watch.hear("log", text, record.name)


@contextmanager
def watching() -> Iterator[Watch]:
    """Listen to every logger at every level, to spans, metrics and warnings, for the duration of a block."""
    watch, provider = Watch(), Provider()
    known = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    before = [(each, each.level, each.propagate, each.disabled) for each in (logging.root, *known)]
    handler = _Handler(watch)
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        patched.setattr(trace, "_TRACER_PROVIDER", provider)
        logging.root.addHandler(handler)
        for logger, *_ in before:
            logger.setLevel(1)
            logger.propagate, logger.disabled = True, False
        try:
            yield watch
        finally:
            logging.root.removeHandler(handler)
            for logger, level, logger.propagate, logger.disabled in before:
                logger.setLevel(level)
            for warning in warned:
                watch.hear("warning", f"{warning.message} {warning.message!r} {warning.line}")
            watch.hear("metrics", "".join(exposed(METRICS.values())))
            for span in provider.spans:
                watch.hear("span", f"{span.name} {span.attributes} {span.status} {span.messages}", span.name)
