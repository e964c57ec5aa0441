"""What the service is told by its environment. convostore reads its own `CONVOSTORE_…` variables."""

from __future__ import annotations

from uuid import UUID

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

DEMO_TENANT = UUID("0198c0de-0000-7000-8000-000000000001")
DEMO_KEY = "demo"


class Settings(BaseSettings):
    """Settings by `SUPPORT_…` environment variable.

    Attributes:
        keys: the API keys and the tenants that they open, as JSON.
        model_url: an endpoint with the interface of OpenAI's chat completions; the scripted agent answers without one.
        model: the name of the model there.
        model_key: the key for it.
    """

    model_config = SettingsConfigDict(env_prefix="SUPPORT_", hide_input_in_errors=True, protected_namespaces=())

    keys: dict[str, UUID] = {DEMO_KEY: DEMO_TENANT}
    model_url: str | None = None
    model: str = "small"
    model_key: SecretStr = SecretStr("")
