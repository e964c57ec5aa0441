"""Who answers: a script that follows the nearest rule, or a language model that is told the rules."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import httpx

from convostore.models import CustomerProfile, Episode, Rule
from examples.support.settings import Settings

_NEAR = 0.2
"""The least score of a rule that applies."""


@dataclass(frozen=True)
class Situation:
    """What an agent knows when it answers."""

    text: str
    customer: CustomerProfile
    rules: list[tuple[Rule, float]]
    memories: list[tuple[Episode, float]]

    @property
    def applying(self) -> list[Rule]:
        return [rule for rule, score in self.rules if score >= _NEAR]


class Answering(Protocol):
    """Answers, piece by piece."""

    def answer(self, situation: Situation) -> AsyncIterator[str]: ...


class Script:
    """Says what the best rule says, by the customer's name, and what it remembers."""

    async def answer(self, situation: Situation) -> AsyncIterator[str]:
        said = situation.applying[0].action_text if situation.applying else "I shall ask a colleague."
        if name := situation.customer.fields.get("name"):
            yield f"{name.value}, "
        else:
            said = said[:1].upper() + said[1:]
        for word in said.split():
            yield f"{word} "
        if situation.memories:
            yield f"(You once said: {situation.memories[0][0].content})"


class LanguageModel:
    """Asks a model, and streams its answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def answer(self, situation: Situation) -> AsyncIterator[str]:
        facts = {name: field.value for name, field in situation.customer.fields.items()}
        told = [
            *(f"If {rule.condition_text}: {rule.action_text}" for rule, _ in situation.rules),
            f"Known about the customer: {json.dumps(facts)}",
            *(f"Said before: {episode.content}" for episode, _ in situation.memories),
        ]
        body = {
            "model": self._settings.model,
            "stream": True,
            "messages": [
                {"role": "system", "content": "\n".join(told)},
                {"role": "user", "content": situation.text},
            ],
        }
        headers = {"Authorization": f"Bearer {self._settings.model_key.get_secret_value()}"}
        async with (
            httpx.AsyncClient(timeout=60) as client,
            client.stream("POST", str(self._settings.model_url), json=body, headers=headers) as response,
        ):
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or ""
