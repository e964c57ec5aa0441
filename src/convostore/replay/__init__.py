"""Replays recorded conversations through the five stores, as demonstration, import and test."""

from convostore.replay.embedder import HashingEmbedder
from convostore.replay.files import read, sample
from convostore.replay.records import (
    AgentRecord,
    ConversationRecord,
    ProductRecord,
    Record,
    RuleRecord,
    ScenarioRecord,
    StepRecord,
    TemplateRecord,
    TurnLine,
    VariableRecord,
)
from convostore.replay.replay import Replay
from convostore.replay.report import Report

__all__ = [
    "AgentRecord",
    "ConversationRecord",
    "HashingEmbedder",
    "ProductRecord",
    "Record",
    "Replay",
    "Report",
    "RuleRecord",
    "ScenarioRecord",
    "StepRecord",
    "TemplateRecord",
    "TurnLine",
    "VariableRecord",
    "read",
    "sample",
]
