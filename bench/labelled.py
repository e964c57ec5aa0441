"""A labelled set for search: conversations with support, and questions of which it is known what they lead to.

It is made, not collected, the same by every run of a seed:

- *Sentences* (support.toml) were written for it. A concept, such as a late parcel, is said in four ways and asked about
  in two others. A turn of a session says something of one of its three concepts, or is small talk, and may mention the
  product, person and town of the session, which are drawn independently of the concepts.
- *Vectors* stand for what an embedding model says of the concept, and know nothing of words: direction of the concept,
  which shares half of its variance with its family, and noise of the same length; of small talk noise alone; and a
  component that all share. Real embeddings use a small part of their dimensions (those of all-MiniLM-L6-v2 about 44 of
  384, by the participation ratio of their variances), so these lie in 64 of 384.
- *Questions* are about one customer. By *words*: two particulars of a turn, and a vector of noise, as embeddings
  hardly tell names apart. By *meaning*: the concept in other words. By *both*: the concept in other words, and one
  particular. Relevant is every turn of the customer that has the concept and all particulars that are asked for.

What it cannot say: how well an embedding model or a stemmer does on real conversations. Words and meaning are more
independent here than there; sentences are few, so that turns with the same sentence and particulars tie.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias, get_args
from uuid import UUID

from convostore.models import Episode
from convostore.models.fields import Language
from convostore.testing.factories import at, make_episode

Kind: TypeAlias = Literal["words", "meaning", "both"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MODEL = "concepts"

_SESSIONS, _TURNS = 24, 10
"""Of a customer; turns of a session."""
_OF_SESSION = 3
"""Concepts of a session."""
_TALK = 0.4
"""The share of small talk."""
_MENTIONED = 1 / 3
"""How likely a turn mentions each particular of its session."""
_POOL = 8
"""How many products, people and towns a customer has to do with."""
_DIMENSIONS = 384
_USED = 64
"""In how many dimensions the vectors of texts lie."""
_COMMON = 0.3
"""The length of what all vectors share; concept and noise have length 1."""

_ABOUT = {
    "product": ("It is about the {}.", "I mean the {}."),
    "person": ("My name is {}.", "Please ask {}."),
    "town": ("I live in {}.", "That was in {}."),
}
_ASKED = {"product": "for the {}", "person": "by {}", "town": "from {}"}
_LOOKING = ("What was said", "Find what we noted", "Show the call")


@dataclass(frozen=True)
class Question:
    """A question about a customer, and the ids of all episodes that it should lead to."""

    kind: Kind
    text: str
    embedding: list[float]
    customer_profile_id: UUID
    relevant: frozenset[UUID]


@dataclass
class Labelled:
    """The episodes of one agent, and questions."""

    tenant_id: UUID
    agent_id: UUID
    episodes: list[Episode] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


@dataclass(frozen=True)
class _Turn:
    episode: Episode
    concept: str | None
    particulars: frozenset[tuple[str, str]]


def labelled(*, customers: int = 4, each: int = 20, language: Language = "simple", seed: int = 1) -> Labelled:
    """Return 240 episodes of each customer, and so many questions of each kind about each."""
    maker = _Maker(seed, language)
    for _ in range(customers):
        customer = maker.id()
        turns = [*maker.turns(customer)]
        maker.made.episodes += [turn.episode for turn in turns]
        for kind in KINDS:
            maker.made.questions += maker.questions(kind, customer, turns, each)
    return maker.made


def noisy(made: Labelled, leg: Literal["words", "vectors"], share: float, seed: int = 2) -> list[Question]:
    """Return the questions with noise in their words or vectors: 0.5 is half, 1 is all.

    Words are replaced by words of the episodes, each with this probability. To vectors a random direction of all
    dimensions is added, of the same length for 0.5; for 1 it replaces them.
    """
    dice = Random(seed)
    vocabulary = sorted({word for episode in made.episodes for word in episode.content.split()})

    def words(question: Question) -> Question:
        text = [dice.choice(vocabulary) if dice.random() < share else word for word in question.text.split()]
        return replace(question, text=" ".join(text))

    def vectors(question: Question) -> Question:
        parts = (1 - share, _unit(question.embedding)), (share, _direction(dice, _DIMENSIONS))
        return replace(question, embedding=_sum(*parts))

    return [*map({"words": words, "vectors": vectors}[leg], made.questions)]


class _Maker:
    """Makes everything from one seed."""

    def __init__(self, seed: int, language: Language) -> None:
        self._dice, self._language = Random(seed), language
        data = tomllib.loads((Path(__file__).parent / "support.toml").read_text())
        self._talk: list[str] = data.pop("small_talk")
        self._names: dict[str, list[list[str]]] = {
            "product": data.pop("products"),
            "person": [[name] for name in data.pop("people")],
            "town": [[name] for name in data.pop("towns")],
        }
        self._concepts: dict[str, dict[str, list[str]]] = {}
        self._meaning: dict[str, list[float]] = {}
        self._common = _direction(self._dice)
        for family, concepts in data.items():
            shared = _direction(self._dice)
            for name, sentences in concepts.items():
                self._concepts[f"{family}.{name}"] = sentences
                self._meaning[f"{family}.{name}"] = _unit(_sum((1, shared), (1, _direction(self._dice))))
        self.made = Labelled(self.id(), self.id())

    def id(self) -> UUID:
        return UUID(int=self._dice.getrandbits(128))

    def turns(self, customer: UUID) -> Iterator[_Turn]:
        """Yield a customer's turns."""
        dice = self._dice
        pools = {kind: dice.sample(names, _POOL) for kind, names in self._names.items()}
        for _ in range(_SESSIONS):
            session, group = self.id(), self.id()
            concepts = dice.sample(sorted(self._concepts), _OF_SESSION)
            # A name is written in one of its forms throughout a session.
            about = {kind: (names[0], dice.choice(names)) for kind in pools for names in [dice.choice(pools[kind])]}
            for _ in range(_TURNS):
                concept = None if dice.random() < _TALK else dice.choice(concepts)
                mentioned = [kind for kind in about if dice.random() < _MENTIONED]
                said = dice.choice(self._concepts[concept]["said"] if concept else self._talk)
                yield _Turn(
                    make_episode(
                        self.made.tenant_id,
                        self.made.agent_id,
                        id=self.id(),
                        customer_profile_id=customer,
                        session_id=session,
                        group_id=group,
                        content=" ".join(
                            [said, *(dice.choice(_ABOUT[kind]).format(about[kind][1]) for kind in mentioned)]
                        ),
                        language=self._language,
                        embedding=self._vector(concept),
                        embedding_model=MODEL,
                        occurred_at=at(0) + timedelta(minutes=dice.randrange(500_000)),
                    ),
                    concept,
                    frozenset((kind, about[kind][0]) for kind in mentioned),
                )

    def questions(self, kind: Kind, customer: UUID, turns: Sequence[_Turn], count: int) -> Iterator[Question]:
        """Yield questions of one kind, each made of a turn that can answer it."""
        dice = self._dice
        needed = {"words": 2, "meaning": 0, "both": 1}[kind]
        fit = [turn for turn in turns if len(turn.particulars) >= needed and (turn.concept or kind == "words")]
        for turn in dice.sample(fit, count):
            asked = dice.sample(sorted(turn.particulars), needed)
            concept = None if kind == "words" else turn.concept
            opening = dice.choice(self._concepts[concept]["asked"] if concept else _LOOKING).removesuffix("?")
            yield Question(
                kind,
                " ".join([opening, *(_ASKED[name].format(self._form(name, value)) for name, value in asked)]) + "?",
                self._vector(concept),
                customer,
                frozenset(
                    other.episode.id
                    for other in turns
                    if concept in (None, other.concept) and other.particulars.issuperset(asked)
                ),
            )

    def _form(self, kind: str, name: str) -> str:
        return self._dice.choice(next(forms for forms in self._names[kind] if forms[0] == name))

    def _vector(self, concept: str | None) -> list[float]:
        meaning: list[tuple[float, Sequence[float]]] = [(1, self._meaning[concept])] if concept else []
        return _sum((_COMMON, self._common), (1, _direction(self._dice)), *meaning)


def _direction(dice: Random, dimensions: int = _USED) -> list[float]:
    return [*_unit([dice.gauss(0, 1) for _ in range(dimensions)]), *([0.0] * (_DIMENSIONS - dimensions))]


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [value / length for value in vector]


def _sum(*parts: tuple[float, Sequence[float]]) -> list[float]:
    return [
        math.fsum(share * value for (share, _), value in zip(parts, values, strict=True))
        for values in zip(*(v for _, v in parts), strict=True)
    ]
