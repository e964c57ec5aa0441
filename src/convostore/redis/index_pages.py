"""A page of indexes that are spread over 64 buckets, in two round trips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, inf, sqrt
from typing import Any, NamedTuple

from convostore.domain.codec import readable
from convostore.errors import StoreError
from convostore.redis import keys
from convostore.redis.commands import WRONG_TYPE, Commands, ScriptCall, checked_index
from convostore.redis.keys import SessionName
from convostore.redis.scripts import script

_ONE_BY_ONE = WRONG_TYPE | {"TRYAGAIN"}
"""Refusals of a bucket's script whose indexes can be read one by one: one is damaged, or their slot migrates."""


_TIED = 100
"""How many entries of one index read by itself may have the cursor's score: sessions saved in one microsecond."""


class Entry(NamedTuple):
    """A session in an index. Entries are ordered as the list is."""

    score: float
    name: SessionName


class Page(NamedTuple):
    """A page as the indexes name it.

    Attributes:
        values: the sessions with the replies that are their values: see `checked_value`.
        last: the last entry of the page, if entries may follow.
    """

    values: list[tuple[SessionName, Any]]
    last: Entry | None


class Union(NamedTuple):
    """The union of a list's indexes, over all buckets.

    Attributes:
        stem: the beginning of the indexes' names within a bucket.
        endings: what their names end with.
    """

    stem: str
    endings: tuple[str, ...] = ("",)

    @property
    def names(self) -> list[str]:
        """The indexes' names within a bucket."""
        return [f"{self.stem}{ending}" for ending in self.endings]

    async def page(self, commands: Commands, limit: int, offset: int, after: Entry | None = None) -> Page:
        """Return a page.

        The first trip reads the first few entries of every bucket. The second reads the values and, from the buckets
        whose entries may not be enough for the page, further entries with their values.

        Args:
            commands: the client.
            limit: of the page.
            offset: of the page, in entries.
            after: the cursor: only entries behind it.
        """
        wanted = offset + limit
        few = min(wanted, _few(wanted))
        entries, truncated = await self._first(commands, few, wanted, after)
        entries = sorted(entries)[:wanted]
        last = entries[-1].score if len(entries) == wanted else inf
        incomplete = [bucket for bucket, score in truncated.items() if score <= last]
        # Further entries may come before the page, and move into it what is before it now.
        known = [entry.name for entry in (entries if incomplete else entries[offset:])]
        highest = "+inf" if last == inf else f"{last:.0f}"
        further = [self._range(bucket, few, wanted - few, highest, "values", after) for bucket in incomplete]
        replies = await commands.send(
            [
                *(("GET", keys.value_key(name)) for name in known),
                # By text: NOSCRIPT would cost a third trip.
                *(script(name).by_text(key, *arguments) for name, key, arguments in further),
            ],
            tolerated=WRONG_TYPE,
        )
        values = dict(zip(known, replies, strict=False))
        for bucket, reply in zip(incomplete, replies[len(known) :], strict=True):
            entries += _entries(bucket, reply[0::3], reply[1::3])
            named = map(keys.name_in, reply[0::3])
            values |= {name: value for name, value in zip(named, reply[2::3], strict=True) if name is not None}
        entries = sorted(entries)[:wanted]
        listed = [(each.name, values[each.name]) for each in entries[offset:]]
        return Page(listed, entries[-1] if len(entries) == wanted else None)

    async def _first(
        self, commands: Commands, few: int, wanted: int, after: Entry | None
    ) -> tuple[list[Entry], dict[str, float]]:
        """Return the first few entries of each bucket, and the last score in those that may have more."""
        calls = [self._range(bucket, 0, few, "+inf", "scores", after) for bucket in keys.BUCKETS]
        replies = dict(zip(keys.BUCKETS, await commands.run_all(calls, tolerated=_ONE_BY_ONE), strict=True))
        refused = [bucket for bucket, reply in replies.items() if isinstance(reply, StoreError)]
        entries: list[Entry] = []
        truncated: dict[str, float] = {}
        for bucket, reply in replies.items():
            if bucket not in refused:
                entries += _entries(bucket, reply[0::2], reply[1::2])
                if len(reply) == 2 * few < 2 * wanted:
                    truncated[bucket] = float(reply[-1])
        names = [f"{bucket}{name}" for bucket in refused for name in self.names]
        lowest, most = ("-inf", wanted) if after is None else (f"{after.score:.0f}", wanted + _TIED)
        page = "+inf", "BYSCORE", "LIMIT", 0, most, "WITHSCORES"
        asked = [("ZRANGE", name, lowest, *page) for name in names]
        replies = dict(zip(names, await commands.send(asked, tolerated=WRONG_TYPE), strict=True))
        for name, reply in readable(checked_index, replies.items()):
            # RESP3 has pairs where RESP2 has a flat list.
            flat = [part for pair in reply for part in pair] if reply and isinstance(reply[0], list) else reply
            found = _entries(keys.prefix_of(name), flat[0::2], flat[1::2])
            entries += (entry for entry in found if after is None or entry > after)
        return entries, truncated

    def _range(self, bucket: str, offset: int, limit: int, highest: str, what: str, after: Entry | None) -> ScriptCall:
        cursor = ("-inf", "") if after is None else (f"{after.score:.0f}", str(after.name))
        arguments = bucket, offset, limit, highest, what, "|".join(self.endings), *cursor
        return "page", f"{bucket}{self.stem}", arguments


def _entries(bucket: str, members: Sequence[bytes], scores: Sequence[bytes]) -> Iterator[Entry]:
    for member, score in zip(members, scores, strict=True):
        name = keys.name_in(member, bucket)
        if name is not None:
            yield Entry(float(score), name)


def _few(wanted: int) -> int:
    """Return how many entries to read per bucket, so that about one bucket in a thousand has more of the page.

    A bucket's share of the page is close to a Poisson variable: its mean and three standard deviations.
    """
    share = wanted / len(keys.BUCKETS)
    return ceil(share + 3 * sqrt(share)) + 1
