"""A server's URL is refused by name if it is malformed, and quoted nowhere: it holds a password."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from convostore import urls
from convostore.errors import ValidationError
from convostore.postgres import migrate
from convostore.postgres.pool import connect_arguments
from convostore.redis import create_client
from convostore.settings import load_settings

SECRET = "hunter2"

MALFORMED = (
    "{}://app:{}#x@host/1",
    "{}://app:{}/x@host/1",
    "{}://app:{}?x@host/1",
    "{}://app:{}@x@host/1",
    "{}://app:{}%x@host/1",
    "{}://app:[{}@host/1",
    "{}://app:{}]x@host/1",
    "{}://app:{}@host:54a/1",
    "{}://app:{}@host:70000/1",
    "{}://app:{}@host:0/1",
    "{}://app:{}@[host/1",
    "{}://app:{}@ho st/1",
    "{}://app:{}:1/1",
    "{}://app:{}\u2100@host/1",
    "{}://app:{}@host/1?option",
    "{}:app:{}@host/1",
    "x{}://app:{}@host/1",
)


def told(refused: pytest.ExceptionInfo[ValidationError]) -> str:
    """Return everything that an error tells, those that it came from included."""
    error: BaseException | None = refused.value
    texts = ["".join(traceback.format_exception(refused.value))]
    while error is not None:
        texts += [str(error), repr(error), repr(error.args)]
        error = error.__cause__ or error.__context__
    return " ".join(texts)


READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "postgres_url": ("postgresql", lambda url: load_settings({"postgres_url": url})),
    "redis_url": ("redis", lambda url: load_settings({"redis_url": url})),
    "pool": ("postgresql", connect_arguments),
    "client": ("redis", create_client),
    "cluster": ("redis+cluster", create_client),
    "sentinel": ("rediss+sentinel", create_client),
}


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("reader", READERS)
def test_a_malformed_url_is_named_and_not_quoted(reader: str, url: str) -> None:
    scheme, read = READERS[reader]
    with pytest.raises(ValidationError, match="_url: ") as refused:
        read(url.format(scheme, SECRET))
    assert SECRET not in told(refused)


async def test_a_migration_quotes_no_url() -> None:
    with pytest.raises(ValidationError, match="postgres_url: ") as refused:
        await migrate(f"postgresql://app:{SECRET}#x@db/x")
    assert SECRET not in told(refused)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@host/one",
        f"redis://:{SECRET}@host?db=one",
        f"redis://:{SECRET}@one,two",
        f"unix://:{SECRET}x",
    ],
)
def test_a_client_has_one_server_and_a_number_for_its_database(url: str) -> None:
    with pytest.raises(ValidationError, match="redis_url: ") as refused:
        create_client(url)
    assert SECRET not in told(refused)


def test_the_parts_of_a_url() -> None:
    found = urls.parsed(
        "postgresql://ann:p%40ss@[::1]:5433,db.example.com/my%20db?a=1&b=x%26y", urls.POSTGRES, name="u"
    )
    assert found == urls.Url("postgresql", (("::1", 5433), ("db.example.com", None)), "my db", {"a": "1", "b": "x&y"})
    found = urls.parsed("unix://ann:secret@/run/valkey.sock?db=3", urls.REDIS, name="u")
    assert found == urls.Url("unix", (), "/run/valkey.sock", {"db": "3"})


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", {"dsn": "postgresql://ann@db/x", "timeout": 10.0}),
        ("?connect_timeout=3", {"dsn": "postgresql://ann@db/x", "timeout": 3.0}),
        ("?sslmode=disable&channel_binding=prefer", {"dsn": "postgresql://ann@db/x?sslmode=disable", "timeout": 10.0}),
        (
            "?target_session_attrs=read-write&application_name=a%20b",
            {"dsn": "postgresql://ann@db/x?target_session_attrs=read-write&application_name=a%20b", "timeout": 10.0},
        ),
    ],
)
def test_parameters_of_libpq_are_understood(options: str, found: dict[str, Any]) -> None:
    assert connect_arguments(f"postgresql://ann@db/x{options}") == found


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("connect_timeout=soon", "connect_timeout must be a number of seconds"),
        ("channel_binding=require", "asyncpg does not support channel_binding=require"),
        ("gssencmode=require", "asyncpg does not support gssencmode=require"),
        ("hostaddr=10.0.0.1", "asyncpg does not support hostaddr=10.0.0.1"),
        ("sslmode=strict", "sslmode"),
        ("target_session_attrs=fast", "target_session_attrs"),
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_named(options: str, reason: str) -> None:
    with pytest.raises(ValidationError, match="postgres_url: ") as refused:
        connect_arguments(f"postgresql://ann:{SECRET}@db/x?{options}")
    assert reason in str(refused.value)
    assert SECRET not in told(refused)
