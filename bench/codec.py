"""`python -m bench.codec`: CPU of codecs, against pydantic's own serialisation and validation of the same values.

Each pair is measured in turns; figures are medians per value, the ratio is the median of the rounds' ratios. Garbage
collection counts.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple
from uuid import uuid4

from pydantic_core import from_json
from rich.console import Console
from rich.table import Table

from bench.data import Vectors
from bench.harness import Disagreement
from bench.sessions import typical_session
from convostore.domain.codec import Codec
from convostore.domain.declarations import EPISODE, PROFILE, RULE, SCENARIO, SESSION, TURN
from convostore.models.base import Model
from convostore.testing import factories

_SECONDS = 0.02
"""How long a block of one side takes, at least one value."""


class Pair(NamedTuple):
    """Two ways to the same result."""

    title: str
    codec: Callable[[], Any]
    pydantic: Callable[[], Any]


def values() -> Iterator[tuple[str, Codec[Any], Model]]:
    """Yield what is read and written."""
    tenant, agent = uuid4(), uuid4()
    long = typical_session(tenant)
    long.step_history = [factories.make_visit(step_name=f"step {n}", turn_number=n) for n in range(30_000)]
    rule, episode = factories.full_rule(tenant, agent), factories.full_episode(tenant, agent)
    rule.embedding = episode.embedding = Vectors().floats()
    yield "session", SESSION.codec, typical_session(tenant)
    yield "session of 30,000 visits", SESSION.codec, long
    yield "rule, 384 dimensions", RULE.codec, rule
    yield "episode, 384 dimensions", EPISODE.codec, episode
    yield "scenario", SCENARIO.codec, factories.full_scenario(tenant, agent)
    yield "turn", TURN.codec, factories.full_turn(tenant)
    yield "profile", PROFILE.codec, factories.full_profile(tenant)


def pairs() -> Iterator[Pair]:
    """Yield what is measured."""
    for name, codec, item in values():
        document = codec.to_document(item)
        yield Pair(f"read {name}", _call(codec.from_document, document, ""), _call(item.model_validate_json, document))
        yield Pair(f"write {name}", _call(codec.to_document, item), _call(item.__pydantic_serializer__.to_json, item))
        if codec is not TURN.codec and codec is not PROFILE.codec:
            row = codec.to_row(item)
            yield Pair(f"read row of {name}", _call(codec.from_row, row), _call(_validate_row, codec, row))


def _validate_row(codec: Codec[Any], row: list[Any]) -> Model:
    values = dict(zip(codec.columns, row, strict=True))
    model: Model = codec.model.model_validate(
        values | {name: from_json(values[name] or "null") for name in codec.nested}
    )
    return model


def _call(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _cpu(call: Callable[[], Any], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - started) / times


def measure(pair: Pair, rounds: int) -> tuple[float, float, float]:
    """Return seconds of both ways and their ratio."""
    if pair.codec() != pair.pydantic():
        raise Disagreement(pair.title)
    # What was made beforehand is not looked through again while something is measured.
    gc.collect()
    gc.freeze()
    times = max(1, round(_SECONDS / _cpu(pair.pydantic, 1)))
    samples = []
    for number in range(rounds):
        ways = (pair.codec, pair.pydantic)
        found = {way: _cpu(way, times) for way in (ways if number % 2 else reversed(ways))}
        samples.append((found[pair.codec], found[pair.pydantic]))
    return (*(median(side) for side in zip(*samples, strict=True)), median(ours / theirs for ours, theirs in samples))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.codec", description="Measure the codecs.")
    parser.add_argument("--rounds", type=int, default=7, help="blocks of each side per measurement (default: 7)")
    rounds = parser.parse_args().rounds
    table = Table("", "codec µs", "pydantic µs", "ratio", box=None)
    for pair in pairs():
        ours, theirs, ratio = measure(pair, rounds)
        table.add_row(pair.title, f"{ours * 1e6:,.1f}", f"{theirs * 1e6:,.1f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
