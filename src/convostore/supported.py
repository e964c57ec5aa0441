"""The oldest releases of the servers that the stores work with, and why: in one table, for all that check them."""

from __future__ import annotations

import re
from typing import NamedTuple

from convostore.errors import ValidationError

Version = tuple[int, ...]


class Floor(NamedTuple):
    """What a server must at least be.

    Attributes:
        oldest: the oldest release of each branch, ascending; a branch is all of a release's numbers but the last.
        why: what is wrong with older releases of these branches.
        remedy: what mends it.
    """

    oldest: tuple[Version, ...]
    why: str
    remedy: str = "upgrade the server to {oldest} or newer"


REQUIRED: dict[str, Floor] = {
    # https://www.postgresql.org/support/security/CVE-2026-6473/: sizes that wrap around, in reach of whoever an
    # application takes input from. 16 is the first whose roles are granted WITH INHERIT and SET, which isolation uses.
    "PostgreSQL": Floor(((16, 14), (17, 10), (18, 4)), "CVE-2026-6473"),
    # https://github.com/pgvector/pgvector/issues/959 (fixed in 0.8.2): parallel builds leak rows of other relations.
    # Its CHANGELOG, 0.8.3 and 0.8.4: VACUUM corrupts HNSW indexes, or fails with "hnsw graph not repaired".
    "pgvector": Floor(
        ((0, 8, 4),),
        "CVE-2026-3172, and VACUUM damages HNSW indexes",
        "install {oldest} or newer on the server, and run: ALTER EXTENSION vector UPDATE",
    ),
    # The scripts have flags after #!, which are known since Redis 7.0; Valkey began with 7.2.
    "Redis": Floor(((7, 0, 0),), "a release candidate"),
    "Valkey": Floor(((7, 2, 0),), "a release candidate"),
}
"""What is refused otherwise."""

_ADVICE = "upgrade the server to {oldest} or newer, unless your distribution mends what it has"

NO_PGVECTOR = "The server has no pgvector; install 0.8.4 or newer on it, and run: convostore migrate"
"""Instead of what is said of one that is too old."""

ADVISED: dict[str, Floor] = {
    # https://www.cve.org/CVERecord?id=CVE-2026-81934: code is run for whoever reaches the port, without a password.
    "Redis": Floor(
        ((7, 2, 16), (7, 4, 11), (8, 2, 9), (8, 4, 6), (8, 6, 6), (8, 8, 2), (8, 10, 1)),
        "CVE-2026-81934",
        _ADVICE,
    ),
    # https://github.com/valkey-io/valkey/releases/tag/9.1.1, and the others of 21 July 2026.
    "Valkey": Floor(
        ((7, 2, 14), (8, 0, 10), (8, 1, 9), (9, 0, 5), (9, 1, 1)),
        "CVE-2026-56684, CVE-2026-63639",
        _ADVICE,
    ),
}
"""What is doubtful otherwise. Distributions mend these servers without another number, so nothing is refused."""


def problem(name: str, version: str, floors: dict[str, Floor] = REQUIRED) -> str | None:
    """Return what is wrong with a release and what mends it, or None.

    A branch between two of a floor's takes the later one, and one above them all is fine.

    Args:
        name: of the server, or of the extension.
        version: as it says it; what follows the numbers is ignored.
        floors: `REQUIRED` or `ADVISED`.
    """
    floor, numbers = floors.get(name), _numbers(version)
    if floor is None:
        return None
    oldest = next((each for each in floor.oldest if each[:-1] >= numbers[: len(each) - 1]), None)
    if oldest is None or numbers >= oldest:
        return None
    why = floor.why if numbers[: len(oldest) - 1] == oldest[:-1] else "its branch is not supported"
    remedy = floor.remedy.format(oldest=".".join(map(str, oldest)))
    return f"{name} {version} is too old ({why}); {remedy}"


def check(name: str, version: str | None) -> None:
    """Refuse a release that is too old; None is one that nobody knows.

    Raises:
        ValidationError: it is; the message says what mends it.
    """
    if version and (found := problem(name, version)):
        raise ValidationError(found)


def check_encoding(encoding: str) -> None:
    """Refuse a database that cannot hold every letter.

    Raises:
        ValidationError: its encoding is another than UTF-8.
    """
    if encoding != "UTF8":
        raise ValidationError(f"The database is encoded as {encoding}; create one with ENCODING 'UTF8'")


def _numbers(version: str) -> Version:
    return tuple(map(int, re.findall(r"\d+", version.partition(" ")[0].partition("-")[0])))
