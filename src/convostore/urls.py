"""URLs of servers: checked before a driver sees them, whose errors would quote the password."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from convostore.errors import ValidationError

_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<name>[^\[\]:@\s]*))(?::(?P<port>[0-9]{1,5}))?")
_INVALID_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ENCODE = "percent-encode what stands in user and password, such as %40 for @, %23 for # and %2F for /"


POSTGRES = ("postgresql", "postgres")
REDIS = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")


@dataclass(frozen=True)
class Url:
    """The parts of a server's URL, without user and password.

    Attributes:
        scheme: what stands before `://`.
        hosts: names or addresses with their ports, None for the default one; empty for a Unix socket.
        path: what follows the hosts, decoded; of `unix://` the socket.
        options: what follows `?`, the last of several with one name.
    """

    scheme: str
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    options: dict[str, str]


def parsed(url: str, schemes: Collection[str], *, name: str) -> Url:
    """Return the parts of a URL.

    Args:
        url: the URL.
        schemes: those that are known.
        name: of the setting or argument, for the error.

    Raises:
        ValidationError: the URL is malformed; the message quotes nothing of it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in schemes:
        raise ValidationError(f"{name}: must start with {' or '.join(f'{each}://' for each in schemes)}")
    before, _, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    credentials, _, listed = authority.rpartition("@")
    problem = None
    if "#" in rest:
        problem = f"must not contain #; {_ENCODE}"
    elif not before.isascii():
        problem = f"must be ASCII; {_ENCODE}"
    elif "@" in path and scheme != "unix":
        problem = f"must not contain @ behind the hosts; {_ENCODE}"
    elif _INVALID_ESCAPE.search(before):
        problem = f"contains a % without two hexadecimal digits; {_ENCODE}"
    elif set("@[]") & set(credentials):
        problem = f"must not contain @, [ or ] in user and password; {_ENCODE}"
    hosts = [] if not listed else [_host(host) for host in listed.split(",")]
    if scheme == "unix" and (listed or not path):
        problem = problem or f"must be unix:///path or unix://user:password@/path; {_ENCODE}"
    elif None in hosts:
        problem = problem or f"has a host or port that is none; {_ENCODE}"
    options = _options(query)
    if options is None:
        problem = problem or f"must end in ?name=value&name=value or nothing; {_ENCODE}"
    if problem or options is None:
        raise ValidationError(f"{name}: {problem}")
    decoded = unquote(slash + path if scheme == "unix" else path)
    return Url(scheme, tuple(host for host in hosts if host is not None), decoded, options)


def _host(text: str) -> tuple[str, int | None] | None:
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    return (unquote(found["address"] or found["name"]), port) if port is None or 0 < port < 65_536 else None


def _options(query: str) -> dict[str, str] | None:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        return None
