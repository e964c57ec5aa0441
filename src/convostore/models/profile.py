"""Who an agent talks to: customer profiles with their identities, fields, assets and consents."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from convostore.models.base import FrozenModel, Model
from convostore.models.enums import Channel, ItemStatus, ProfileFieldSource, VerificationLevel
from convostore.models.fields import (
    ChannelUserId,
    Count,
    Fraction,
    Identifier,
    Json,
    JsonObject,
    Key,
    Sha256,
    Text,
    UtcDatetime,
    new_id,
    now,
    type_checked,
)

ValueType = Annotated[str, StringConstraints(min_length=1, max_length=50), type_checked]


class ChannelIdentity(Model):
    """How a channel knows a customer; belongs to at most one living profile of a tenant."""

    channel: Channel
    channel_user_id: ChannelUserId
    verified: bool = False
    verified_at: UtcDatetime | None = None
    primary: bool = False
    linked_at: UtcDatetime = Field(default_factory=now)


class ProfileField(Model):
    """A fact about a customer, with where it came from and whether it still holds."""

    id: UUID = Field(default_factory=new_id)
    name: Key
    value: Json
    value_type: ValueType
    source: ProfileFieldSource
    source_session_id: UUID | None = None
    source_scenario_id: UUID | None = None
    source_step_id: UUID | None = None
    source_item_id: UUID | None = None
    source_metadata: JsonObject = Field(default_factory=dict)
    status: ItemStatus = ItemStatus.ACTIVE
    superseded_by_id: UUID | None = None
    superseded_at: UtcDatetime | None = None
    verified: bool = False
    verification_method: Identifier | None = None
    verified_at: UtcDatetime | None = None
    verified_by: Identifier | None = None
    confidence: Fraction = 1.0
    requires_confirmation: bool = False
    collected_at: UtcDatetime = Field(default_factory=now)
    updated_at: UtcDatetime = Field(default_factory=now)
    expires_at: UtcDatetime | None = None


class ProfileAsset(Model):
    """A document or other file of a customer; the bytes live in the storage it names."""

    id: UUID = Field(default_factory=new_id)
    name: Text
    asset_type: Identifier
    storage_provider: Identifier
    storage_path: Text
    mime_type: Identifier
    size_bytes: Count
    checksum: Sha256
    uploaded_at: UtcDatetime = Field(default_factory=now)
    uploaded_in_session_id: UUID | None = None
    uploaded_in_scenario_id: UUID | None = None
    source_item_id: UUID | None = None
    derived_from_tool: Identifier | None = None
    status: ItemStatus = ItemStatus.ACTIVE
    superseded_by_id: UUID | None = None
    superseded_at: UtcDatetime | None = None
    verified: bool = False
    verification_result: JsonObject | None = None
    retention_policy: Identifier = "permanent"
    expires_at: UtcDatetime | None = None
    analysis_field_ids: list[UUID] = Field(default_factory=list)


class Consent(Model):
    """What a customer agreed to, or withdrew."""

    consent_type: Identifier
    granted: bool
    granted_at: UtcDatetime | None = None
    revoked_at: UtcDatetime | None = None
    source_session_id: UUID | None = None
    ip_address: Identifier | None = None


class CustomerProfile(Model):
    """A customer of a tenant. `revision` 0 means never stored.

    `fields` holds the active field of each name, `assets` all that are not superseded; the rest is history.
    """

    stamps: ClassVar[tuple[str, ...]] = ("revision", "created_at", "updated_at", "deleted_at", "merged_into")

    id: UUID = Field(default_factory=new_id)
    tenant_id: UUID
    customer_id: UUID = Field(default_factory=new_id)
    channel_identities: list[ChannelIdentity] = Field(default_factory=list)
    fields: dict[Key, ProfileField] = Field(default_factory=dict)
    assets: list[ProfileAsset] = Field(default_factory=list)
    consents: list[Consent] = Field(default_factory=list)
    verification_level: VerificationLevel = VerificationLevel.UNVERIFIED
    merged_into: UUID | None = None
    last_interaction_at: UtcDatetime | None = None
    created_at: UtcDatetime = Field(default_factory=now)
    updated_at: UtcDatetime = Field(default_factory=now)
    deleted_at: UtcDatetime | None = None
    revision: Count = 0

    @model_validator(mode="after")
    def _items_are_consistent(self) -> Self:
        for name, field in self.fields.items():
            if field.name != name:
                raise ValueError("fields must stand under their own name")
            if field.status is not ItemStatus.ACTIVE:
                raise ValueError("fields must be active; others are history")
        if any(asset.status is ItemStatus.SUPERSEDED for asset in self.assets):
            raise ValueError("assets must not be superseded; those are history")
        identities = [(identity.channel, identity.channel_user_id) for identity in self.channel_identities]
        if len(set(identities)) < len(identities):
            raise ValueError("a channel identity must not be listed twice")
        for ids in ([field.id for field in self.fields.values()], [asset.id for asset in self.assets]):
            if len(set(ids)) < len(ids):
                raise ValueError("the id of a field or asset must not be listed twice")
        return self


class ItemTrace(FrozenModel):
    """Where a field or asset of a profile came from, and what came out of it, by their `source_item_id`.

    `sources` begins with what the item was derived from, then what that was derived from, and so on; `derived` holds
    what was derived from the item, then what was derived from those, each time by id.
    """

    item: ProfileField | ProfileAsset
    sources: list[ProfileField | ProfileAsset]
    derived: list[ProfileField | ProfileAsset]
