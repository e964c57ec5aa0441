"""Settings of `open_stores`. Keywords take precedence over the environment, which does over the defaults."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from convostore import urls
from convostore.domain.sessions import HOT_TTL
from convostore.errors import ValidationError
from convostore.models.fields import Language

_OTHER_VARIABLES = {
    *("CONVOSTORE_EMBEDDED_IDENTITY", "CONVOSTORE_TEST_CITUS_URL"),
    *("CONVOSTORE_TEST_CITUS_STOP", "CONVOSTORE_TEST_CITUS_START"),
}
"""Variables of ours that are no settings: of the supervisor's process, and of the tests."""

_log = logging.getLogger("convostore")


def default_home() -> Path:
    """Return the platform's directory for user data, where embedded engines keep theirs."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "convostore"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "convostore"


class Settings(BaseSettings):
    """Settings by keyword or by `CONVOSTORE_…` environment variable.

    Attributes:
        backend: `"engines"` for PostgreSQL and Redis or Valkey, `"memory"` for the in-memory reference.
        postgres_url: a PostgreSQL server; by default one is embedded.
        redis_url: Redis or Valkey: `redis://`, `rediss://`, `unix://`, `redis+cluster://` or `redis+sentinel://`, as
            `redis.create_client` takes them; by default one is embedded.
        home: where embedded engines keep their data.
        ephemeral: embed in a temporary home that is removed afterwards.
        embedded: whether servers may be embedded; false requires both URLs, true embeds a server whose URL is missing
            without a warning.
        hot_ttl: idle seconds after which a session is demoted.
        max_age: idle seconds after which a session is deleted; 0 for never.
        sweep_every: seconds between two sweeps of the sessions; 0 for no sweeps.
        auto_reindex: the sweeper also does what `convostore memory reindex` does, hourly; the user of `postgres_url`
            must be the one that migrated the schema, or a superuser.
        timeout: the deadline of a call, in seconds.
        pool_size: the maximum number of connections to each server.
        pooler: what stands between this process and PostgreSQL, such as PgBouncer: `"session"` keeps a session of the
            server for a connection, `"transaction"` may give each transaction another one.
        language: the text search configuration of episodes that have no `language` of their own, and of rules and
            entities; `"simple"` neither stems words nor drops stop words.
        coalesce: whether concurrent calls travel in common round trips.
        sessions_by_tenant: whether a session id is unique per tenant alone, so that every call must name the tenant.
    """

    model_config = SettingsConfigDict(env_prefix="CONVOSTORE_", extra="forbid", hide_input_in_errors=True)

    backend: Literal["engines", "memory"] = "engines"
    postgres_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    home: Path = Field(default_factory=default_home)
    ephemeral: bool = False
    embedded: bool | None = None
    hot_ttl: Annotated[float, Field(gt=0, le=10**9)] = HOT_TTL.total_seconds()
    max_age: Annotated[float, Field(ge=0, le=10**9)] = 0
    sweep_every: Annotated[float, Field(ge=0, le=10**9)] = 60.0
    auto_reindex: bool = False
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 5.0
    pool_size: Annotated[int, Field(ge=1, le=1_000)] = 10
    pooler: Literal["session", "transaction"] | None = None
    language: Language = "simple"
    coalesce: bool = True
    sessions_by_tenant: bool = False

    @field_validator("postgres_url", "redis_url")
    @classmethod
    def _is_well_formed(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            schemes = urls.POSTGRES if info.field_name == "postgres_url" else urls.REDIS
            urls.parsed(value.get_secret_value(), schemes, name=info.field_name or "")
        return value

    @field_validator("home", mode="before")
    @classmethod
    def _is_a_directory(cls, value: object) -> object:
        if value == "":
            raise ValueError("is empty, which would be the working directory")
        return value

    @model_validator(mode="after")
    def _has_servers(self) -> Settings:
        if self.pooler and self.postgres_url is None and self.backend == "engines":
            raise ValueError("pooler: stands before a server whose postgres_url is not set")
        if self.embedded is False and self.backend == "engines":
            for name in ("postgres_url", "redis_url"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name}: is not set, and embedded=False allows no embedded server instead")
            if self.ephemeral:
                raise ValueError("ephemeral: asks for embedded servers, which embedded=False forbids")
        return self


def _warn_of_unknown_variables() -> None:
    """Log the variables that look like settings and are none, without their values."""
    known = {f"CONVOSTORE_{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    for name in sorted(os.environ):
        if name.upper().startswith("CONVOSTORE_") and name.upper() not in known:
            nearest = get_close_matches(name.upper(), known, 1, 0)
            _log.warning("the environment variable %s is no setting; did you mean %s?", name, nearest[0])


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Return given settings, completed from the environment and the defaults.

    Raises:
        ValidationError: a setting is invalid; the message has its name and the reason, never its value.
    """
    _warn_of_unknown_variables()
    try:
        return Settings(**given)
    except pydantic.ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        reasons = [(".".join(map(str, problem["loc"])), problem["msg"]) for problem in problems]
        raise ValidationError(
            "; ".join(
                f"{name}: {reason.removeprefix('Value error, ').removeprefix(f'{name}: ')}".removeprefix(": ")
                for name, reason in reasons
            )
        ) from error
