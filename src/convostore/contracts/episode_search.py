"""The searches of the memory store's contract: episodes by words, by meaning, and by both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias
from uuid import UUID

from convostore.call.store import Store
from convostore.call.validation import Context, Diversity, HalfLife, Limit, Offset, Score, Weights
from convostore.models.fields import Identifier, Language, Text, UtcDatetime, Vector
from convostore.models.memory import ContentType, Episode, SearchHit

Reranker: TypeAlias = Callable[[str, list[Episode]], Awaitable[list[float]]]
"""Given a query and episodes, returns a number for each of them, higher for what answers the query better."""


class EpisodeSearch(Store):
    """The searches for episodes, which are part of `MemoryStore`."""

    @abstractmethod
    async def vector_search_episodes(
        self,
        query_embedding: Vector,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        limit: Limit = 10,
        offset: Offset = 0,
        min_score: Score = 0.0,
        embedding_model: Identifier | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: ContentType | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        as_of: UtcDatetime | None = None,
    ) -> list[tuple[Episode, float]]:
        """Return an agent's episodes nearest to a vector with their scores, best first, equal scores by id.

        The score is the cosine similarity, -1 to 1, to six decimals. Only episodes whose embedding has as many
        dimensions as the query are compared; the others, and those without an embedding, are left out. If an episode
        has an embedding of the `embedding_model` beside its own, that one is compared and returned.

        Where filters leave up to 20,000 episodes, the results are exact; where they leave more, a backend may miss one
        in a hundred of the nearest, and then returns the next nearest instead.

        Args:
            query_embedding: 1 to 4,000 finite numbers, not all zero.
            tenant_id: the tenant.
            agent_id: the agent.
            customer_profile_id: only episodes of this customer.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
            min_score: the lowest score to return, -1 to 1, inclusive.
            embedding_model: only embeddings of this model; None means each episode's own, whatever its model.
            session_id: only episodes of this session.
            group_id: only episodes of this group.
            content_type: only episodes of this type.
            since: only episodes that occurred at this moment or later.
            until: only episodes that occurred before this moment.
            as_of: only episodes that were valid at this moment: neither `valid_from` nor `valid_to` excludes it.
        """

    @abstractmethod
    async def text_search_episodes(
        self,
        query: Text,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: ContentType | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        as_of: UtcDatetime | None = None,
        match: Literal["any", "all"] = "any",
        language: Language | None = None,
        prefix: bool = False,
        limit: Limit = 10,
        offset: Offset = 0,
    ) -> list[Episode]:
        """Return an agent's episodes that match a text query, best first, equal scores by id.

        The query has the syntax of a web search: `or` means OR, quotes make a phrase and a minus excludes. Any string
        is accepted; one without words, or with nothing but stop words, finds nothing. Text is compared as it looks:
        without regard to case, to how a character is composed and to what is invisible. In scripts without spaces, such
        as Chinese, any part of a sentence is a word.

        The score is BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) with k1 = 0.9 and
        b = 0.4; a word that occurs several times counts once. A word's frequency is that among the episodes of the
        agent, customer, session, group and language that are asked for, never others: exact for fewer than 1,000, else
        estimated from the latest 1,000.

        Args:
            query: the query; its first 10,000 characters and 64 words count.
            tenant_id: the tenant.
            agent_id: the agent.
            customer_profile_id: this and the next six as in `get_episodes`.
            match: whether an episode must have any of the words, or all.
            language: only episodes of this language; None: all, each compared in its own language.
            prefix: whether the last word, unless it is excluded, also stands for all words that begin with it.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
        """

    @abstractmethod
    async def search_episodes(
        self,
        query: Text,
        query_embedding: Vector,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: ContentType | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        as_of: UtcDatetime | None = None,
        weights: Weights = (0.5, 0.5),
        half_life: HalfLife | None = None,
        diversity: Diversity = 0.0,
        context: Context = 0,
        rerank: Reranker | None = None,
        language: Language | None = None,
        prefix: bool = False,
        min_score: Score = 0.0,
        embedding_model: Identifier | None = None,
        limit: Limit = 10,
        offset: Offset = 0,
    ) -> list[tuple[Episode, float]]:
        """Return an agent's episodes found by words or by meaning with their fused scores, best first, then by id.

        The results of `text_search_episodes` by any word and of `vector_search_episodes` are fused by scores (Bruch,
        Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 42(1), 2023). The score is the
        weighted mean of a text and a vector part, each 0 to 1. Text: the square of BM25 divided by the best BM25, times
        how sure the search is: min(1, share / 0.7)², where share is the part of the query's weight that the best has.
        Vector: the square of the cosine similarity, spread from 0 for the lowest to 1 for the highest of all that
        either search found, times the highest, or 0 if that is negative. Each search contributes its first 100, or
        `offset + limit` if that is more. Episodes are returned as stored, also if found by an embedding beside their
        own.

        The next steps are optional and taken in this order: `half_life` and `context` change scores, `rerank` replaces
        those of the 100 best, and `diversity` reorders these (maximal marginal relevance: Carbonell and Goldstein, "The
        Use of MMR", SIGIR 1998). What ranks below the 100 best stays there. With a reranker, equal scores keep the
        order that they had.

        Args:
            query: as in `text_search_episodes`.
            query_embedding: as in `vector_search_episodes`.
            tenant_id: the tenant.
            agent_id: the agent.
            customer_profile_id: this and the next six as in `get_episodes`.
            weights: of text and vector, not negative, and not both 0; only their ratio counts.
            half_life: the age, from `occurred_at` to `as_of` or now, at which a score is worth half; None: age does not
                count. An age below 0 counts as 0.
            diversity: the weight, 0 to 1, of unlikeness to the results before, by the episodes' own embeddings, against
                that of the score: 0 keeps the order, 1 disregards scores after the first. No score changes.
            context: how many turns on each side of one, 0 to 10, count as its neighbours: the episodes of the agent in
                the same session that pass the filters, in the order of `get_episodes`. Every episode that a search
                finds lends 0.3 of its score to those next to it, 0.09 to the next but one and so on, found or not.
            rerank: an async function of the query and at most the 100 best episodes, called once. The finite numbers
                that it returns, one for each, become the scores. If it raises, is not done shortly before the call's
                deadline, or returns anything else, the order stays as it was, and a warning is logged.
            language: as in `text_search_episodes`.
            prefix: as in `text_search_episodes`.
            min_score: the lowest cosine similarity of what is found by meaning, -1 to 1, inclusive.
            embedding_model: as in `vector_search_episodes`.
            limit: the maximum number of results, 1 to 1,000.
            offset: the number of results to skip, 0 to 10,000.
        """

    @abstractmethod
    async def explain_episodes(
        self,
        query: Text,
        query_embedding: Vector,
        tenant_id: UUID,
        agent_id: UUID,
        *,
        customer_profile_id: UUID | None = None,
        session_id: UUID | None = None,
        group_id: UUID | None = None,
        content_type: ContentType | None = None,
        since: UtcDatetime | None = None,
        until: UtcDatetime | None = None,
        as_of: UtcDatetime | None = None,
        weights: Weights = (0.5, 0.5),
        half_life: HalfLife | None = None,
        diversity: Diversity = 0.0,
        context: Context = 0,
        rerank: Reranker | None = None,
        language: Language | None = None,
        prefix: bool = False,
        min_score: Score = 0.0,
        embedding_model: Identifier | None = None,
        limit: Limit = 10,
        offset: Offset = 0,
    ) -> list[SearchHit]:
        """Return what `search_episodes` finds with the same arguments, in its order, and how each score came about.

        Args:
            query: this and all others as in `search_episodes`.
        """
