"""Instruments: a figure is kept in this process once, and OpenTelemetry and Prometheus both read it from there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar
from weakref import ReferenceType, ref

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, Observation

S = TypeVar("S")

Values: TypeAlias = tuple[str, ...]
"""The values of a metric's attributes, in their order; an empty one does not apply."""

Read: TypeAlias = "Callable[[Any], Mapping[Values, float]]"
"""Returns the figures of what is watched."""

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""The bounds that OpenTelemetry's conventions give for the duration of a call."""


class Metric(ABC):
    """A figure, by the values of its attributes.

    Reading is safe in any thread, writing in that of the event loop.

    Args:
        name: in OpenTelemetry.
        unit: `"s"`, or what is counted, in braces.
        description: what it is, in a sentence.
        attributes: their names in OpenTelemetry. None of them tells a tenant, an id or an address.
    """

    instrument: ClassVar[str]
    """The kind of instrument in OpenTelemetry."""
    prometheus_type: ClassVar[str] = "gauge"

    def __init__(self, name: str, unit: str, description: str, *attributes: str) -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self.attributes = attributes

    @property
    def prometheus_name(self) -> str:
        """The name in Prometheus, as OpenTelemetry's exporters translate it."""
        total = "_total" if self.prometheus_type == "counter" else ""
        return f"{self.name.replace('.', '_')}{'_seconds' * (self.unit == 's')}{total}"

    def named(self, values: Values) -> dict[str, str]:
        """Return the attributes that apply, by name."""
        return {name: value for name, value in zip(self.attributes, values, strict=True) if value}

    @abstractmethod
    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """Yield the figures as Prometheus has them: the suffix of the name, the attributes by name, and the figure."""

    @abstractmethod
    def export(self, meter: Meter) -> None:
        """Let a meter of OpenTelemetry read the figures."""


class _Numbers(Metric):
    """A metric whose figures are numbers."""

    def __init__(self, name: str, unit: str, description: str, *attributes: str) -> None:
        super().__init__(name, unit, description, *attributes)
        self._figures: dict[Values, float] = {}

    def figures(self) -> dict[Values, float]:
        """Return the figures."""
        return self._figures.copy()

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        for values, figure in self.figures().items():
            yield "", self.named(values), figure

    def export(self, meter: Meter) -> None:
        create: Callable[..., Any] = getattr(meter, f"create_observable_{self.instrument}")
        create(self.name, [self._observe], self.unit, self.description)

    def _observe(self, _: Any) -> list[Observation]:
        from opentelemetry.metrics import Observation

        return [Observation(figure, self.named(values)) for values, figure in self.figures().items()]


class Counter(_Numbers):
    """How often something has happened since the process started."""

    instrument = "counter"
    prometheus_type = "counter"

    def add(self, *values: str, by: float = 1) -> None:
        """Count."""
        self._figures[values] = self._figures.get(values, 0) + by


class UpDownCounter(_Numbers):
    """How many there are at the moment, of all that the process has."""

    instrument = "up_down_counter"

    def __init__(self, name: str, unit: str, description: str, *attributes: str) -> None:
        super().__init__(name, unit, description, *attributes)
        self._watched: dict[ReferenceType[Any], tuple[Callable[[Any], Any], Read]] = {}

    def add(self, *values: str, by: float) -> None:
        """Count up or down."""
        self._figures[values] = self._figures.get(values, 0) + by

    def watch(self, owner: S, read: Read, *, source: Callable[[S], object] = lambda owner: owner) -> None:
        """Add what is read whenever figures are asked for, as long as the owner lives.

        Args:
            owner: what can be referenced weakly.
            read: returns the figures of a source.
            source: returns what is read; that of several owners counts once.
        """
        self._watched[ref(owner, self._forget)] = source, read

    def figures(self) -> dict[Values, float]:
        found = super().figures()
        sources = {}
        for owner, (source, read) in list(self._watched.items()):
            if (alive := owner()) is not None:
                sources[id(source(alive))] = source(alive), read
        for each, read in sources.values():
            for values, figure in read(each).items():
                found[values] = found.get(values, 0) + figure
        return found

    def _forget(self, owner: ReferenceType[Any]) -> None:
        self._watched.pop(owner, None)


class Gauge(_Numbers):
    """What was measured last."""

    instrument = "gauge"

    def replace(self, figures: Mapping[Values, float]) -> None:
        """Set the figures, and forget those that are not among them."""
        self._figures = dict(figures)


@dataclass(slots=True)
class Distribution:
    """How values are distributed.

    Attributes:
        attributes: the attributes that apply, by name.
        counts: how many values are at most at each bound and above the one before it; last, how many are above all.
        total: the sum of the values.
    """

    attributes: dict[str, str]
    counts: list[int]
    total: float = 0.0


class Histogram(Metric):
    """How values are distributed among fixed bounds."""

    instrument = "histogram"
    prometheus_type = "histogram"

    def __init__(
        self, name: str, unit: str, description: str, *attributes: str, bounds: Sequence[float] = SECONDS
    ) -> None:
        super().__init__(name, unit, description, *attributes)
        self.bounds = bounds
        self._distributions: dict[Values, Distribution] = {}
        self._exported: Any = None

    def record(self, value: float, *values: str) -> None:
        """Add a value."""
        found = self._distributions.get(values)
        if found is None:
            found = self._distributions[values] = Distribution(self.named(values), [0] * (len(self.bounds) + 1))
        found.counts[bisect_left(self.bounds, value)] += 1
        found.total += value
        # OpenTelemetry has no histogram that it reads.
        if self._exported is not None:
            self._exported.record(value, found.attributes)

    def distributions(self) -> dict[Values, Distribution]:
        """Return the distributions."""
        return self._distributions.copy()

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        for found in self.distributions().values():
            counts = list(accumulate(found.counts))
            for bound, count in zip([*self.bounds, "+Inf"], counts, strict=True):
                yield "_bucket", {**found.attributes, "le": str(bound)}, count
            yield "_sum", found.attributes, found.total
            yield "_count", found.attributes, counts[-1]

    def export(self, meter: Meter) -> None:
        self._exported = meter.create_histogram(
            self.name, self.unit, self.description, explicit_bucket_boundaries_advisory=self.bounds
        )
