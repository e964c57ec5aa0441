"""The search can fail: a leak that is planted is found, whatever it comes out of."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from uuid import uuid4

import pytest
from opentelemetry import trace

from convostore.call.instruments import Counter
from convostore.call.metrics import METRICS
from convostore.errors import ConflictError
from convostore.testing.factories import make_session
from tests.secrets.canaries import NUMBER, TOKEN
from tests.secrets.watching import Watch, told, watching


def _caused(watch: Watch) -> None:
    try:
        try:
            raise KeyError(TOKEN)
        except KeyError as error:
            raise ConflictError("the revision is another") from error
    except ConflictError as error:
        watch.hear_error(error)


def _in_context(watch: Watch) -> None:
    try:
        try:
            raise KeyError(TOKEN)
        except KeyError:
            raise ConflictError("the revision is another") from None
    except ConflictError as error:
        watch.hear_error(error)


def _noted(watch: Watch) -> None:
    error = ConflictError("the revision is another")
    error.add_note(TOKEN)
    watch.hear_error(error)


def _spanned(_: Watch) -> None:
    with trace.get_tracer("x").start_as_current_span(
        "x",
        kind=trace.SpanKind.CLIENT,
        attributes={"db.query.text": TOKEN},
        record_exception=False,
        set_status_on_exception=False,
    ):
        pass


LEAKS: dict[str, Callable[[Watch], object]] = {
    "message of a log": lambda _: logging.getLogger("convostore.session").debug("saved %s", TOKEN),
    "log of a library": lambda _: logging.getLogger("asyncio").log(1, TOKEN),
    "extra of a log": lambda _: logging.getLogger("x.y").info("saved", extra={"session": {"of": [TOKEN]}}),
    "exception of a log": lambda _: logging.getLogger("x").error("no", exc_info=KeyError(TOKEN)),
    "vector in a log": lambda _: logging.getLogger("x").info("%s", [1.0, NUMBER]),
    "warning": lambda _: warnings.warn(f"{TOKEN} is deprecated", DeprecationWarning, stacklevel=1),
    "attribute of a span": _spanned,
    "message of an error": lambda watch: watch.hear_error(ConflictError(f"{TOKEN} is taken")),
    "attribute of an error": lambda watch: watch.hear_error(ConflictError("taken", code=TOKEN)),
    "cause of an error": _caused,
    "context of an error": _in_context,
    "note of an error": _noted,
    "group of errors": lambda watch: watch.hear_error(ExceptionGroup("several", [ValueError(TOKEN)])),
    "repr": lambda watch: watch.hear("repr", repr(make_session(uuid4(), user_channel_id=TOKEN))),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found(name: str) -> None:
    with watching() as watch:
        LEAKS[name](watch)
    assert len(watch.leaks) == 1


def test_a_leak_planted_in_a_metric_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter("planted", "{call}", "Calls by users.", "user")
    counter.add(TOKEN)
    monkeypatch.setitem(METRICS, "planted", counter)
    with watching() as watch:
        pass
    assert len(watch.leaks) == 1


def test_what_holds_no_canary_is_no_leak() -> None:
    with watching() as watch:
        logging.getLogger("convostore").info("saved")
        watch.hear_error(ConflictError("taken"))
    assert watch.leaks == {}
    assert (watch.said["log"], watch.said["error"]) == (1, 1)
    assert "ConflictError: taken" in told(ConflictError("taken"))
