"""The dashboard and the alerts ask for metrics and labels that exist, and every metric is on the dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convostore.call.exposition import label
from convostore.call.instruments import Histogram
from convostore.call.metrics import METRICS

MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"

WORDS = {
    *("and", "by", "offset", "on", "or", "unless"),
    *("histogram_quantile", "increase", "max", "min", "rate", "sum", "time"),
}
"""What the expressions use of PromQL."""

SCRAPED = {"job", "instance"}
"""Labels that Prometheus gives to whatever it scrapes."""


def labels_by_series() -> dict[str, set[str]]:
    """Return the labels of every time series, by its name."""
    found: dict[str, set[str]] = {}
    for metric in METRICS.values():
        labels = {label(name) for name in metric.attributes} | SCRAPED
        if isinstance(metric, Histogram):
            found |= {f"{metric.prometheus_name}{suffix}": labels for suffix in ("_sum", "_count")}
            found[f"{metric.prometheus_name}_bucket"] = labels | {"le"}
        else:
            found[metric.prometheus_name] = labels
    return found


SERIES = labels_by_series()


def names_in(expression: str) -> tuple[set[str], set[str]]:
    """Return the names of series and those of labels in an expression of PromQL."""
    rest = re.sub(r"\[[^]]*\]|\b\d+[smhd]\b", "", re.sub(r'"[^"]*"', '""', expression))
    labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*""', rest))
    grouping = r"\b(?:by|on)\s*\(([^)]*)\)"
    for group in re.findall(grouping, rest):
        labels |= set(re.findall(r"\w+", group))
    names = re.findall(r"[a-zA-Z_:][\w:]*", re.sub(rf"{grouping}|\{{[^}}]*\}}", "", rest))
    return set(names) - WORDS, labels


def unknown_in(expression: str, text: str = "") -> set[str]:
    """Return the names in an expression, and the labels in a text about its results, that no series has."""
    names, labels = names_in(expression)
    labels |= set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)", text))
    known = SCRAPED.union(*(SERIES.get(name, set()) for name in names))
    return (names - SERIES.keys()) | (labels - known)


def dashboard() -> Any:
    return json.loads((MONITORING / "grafana-dashboard.json").read_text("utf-8"))


def targets() -> Iterator[tuple[str, str]]:
    """Yield the expressions of the dashboard with their legends."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"], target["legendFormat"]


def alerts() -> dict[str, tuple[str, str]]:
    """Return the expression of every alert and what is said about it."""
    yaml = pytest.importorskip("yaml", reason="comes with the tools of the documentation")
    (group,) = yaml.safe_load((MONITORING / "alerts.yaml").read_text("utf-8"))["groups"]
    return {rule["alert"]: (rule["expr"], " ".join(rule["annotations"].values())) for rule in group["rules"]}


@pytest.mark.parametrize(
    ("expression", "legend", "unknown"),
    [
        ("rate(convostore_call_retries_total[5m])", "", set()),
        ("rate(convostore_call_retrys_total[5m])", "", {"convostore_call_retrys_total"}),
        ("sum by (job) (convostore_call_retries)", "", {"convostore_call_retries"}),
        ("db_client_operation_duration_seconds", "", {"db_client_operation_duration_seconds"}),
        ('convostore_hot_bypassed{tenant="a"} > 0', "", {"tenant"}),
        ("sum by (db_operation_name) (convostore_hot_bypassed)", "", {"db_operation_name"}),
        ("convostore_hot_reads_total offset 10m", "{{ convostore_hot_result }} {{nothing}}", {"nothing"}),
    ],
)
def test_a_name_that_does_not_exist_is_found(expression: str, legend: str, unknown: set[str]) -> None:
    assert unknown_in(expression, legend) == unknown


def test_the_dashboard_asks_for_what_exists() -> None:
    assert {expression: lost for expression, legend in targets() if (lost := unknown_in(expression, legend))} == {}
    for variable in dashboard()["templating"]["list"]:
        for series in re.findall(r"label_values\((\w+), job\)", str(variable)):
            assert series in SERIES


def test_every_metric_is_on_the_dashboard() -> None:
    shown = set[str]().union(*(names_in(expression)[0] for expression, _ in targets()))
    assert [
        metric.name for metric in METRICS.values() if not any(name.startswith(metric.prometheus_name) for name in shown)
    ] == []


def test_panels_are_numbered_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_alerts_ask_for_what_exists() -> None:
    found = alerts()
    assert {name: lost for name, (expression, told) in found.items() if (lost := unknown_in(expression, told))} == {}
    assert set(found) == {
        "ConvostoreServerDown",
        "ConvostoreErrors",
        "ConvostoreUnknownOutcomes",
        "ConvostorePoolExhausted",
        "ConvostoreHotTierBypassed",
        "ConvostoreSweeperLate",
        "ConvostoreSlow",
    }
