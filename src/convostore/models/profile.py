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
    named_keys,
    new_id,
    now,
    valid_text,
)

ValueType = Annotated[str, StringConstraints(min_length=1, max_length=50), valid_text]
"""The type of a profile field's value: 1 to 50 characters."""


class ChannelIdentity(Model):
    """An address of a customer on a channel; it belongs to at most one living profile of a tenant."""

    channel: Channel
    """Channel on which the customer has the identifier."""
    channel_user_id: ChannelUserId
    """Identifier of the customer on the channel, 1 to 512 characters."""
    verified: bool = False
    """Whether the customer has proven that the identity is theirs, set by the caller."""
    verified_at: UtcDatetime | None = None
    """Time of the proof (UTC), set by the caller; None if not verified or unknown."""
    primary: bool = False
    """Whether to prefer the identity for contact, set by the caller; several may be primary."""
    linked_at: UtcDatetime = Field(default_factory=now)
    """Time at which the profile got the identity (UTC), now if omitted."""


class ProfileField(Model):
    """A fact about a customer, with its provenance and validity."""

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted. An update under the same id is in place."""
    name: Key
    """Name of the fact, with one active value per profile; at most 50 of a-z, 0-9 and _, not starting with 0-9."""
    value: Json
    """Value of the fact, any JSON of at most 1 MiB."""
    value_type: ValueType
    """Type of the value in the caller's schema, 1 to 50 characters; not compared with the value."""
    source: ProfileFieldSource
    """How the value was obtained."""
    source_session_id: UUID | None = None
    """Session in which the value was obtained, not checked to exist; None for no session."""
    source_scenario_id: UUID | None = None
    """Scenario in which the value was obtained, not checked to exist; None for no scenario."""
    source_step_id: UUID | None = None
    """Scenario step at which the value was obtained, not checked to exist; None for no step."""
    source_item_id: UUID | None = None
    """Field or asset that the value was derived from, followed by `trace_item`; None if from no other item."""
    source_metadata: JsonObject = Field(default_factory=dict)
    """Further provenance, a JSON object of at most 1 MiB, which no store interprets."""
    status: ItemStatus = ItemStatus.ACTIVE
    """Lifecycle status; the store supersedes a replaced field and expires a stale one."""
    superseded_by_id: UUID | None = None
    """Field that replaced this one, set by the store; None if nothing did."""
    superseded_at: UtcDatetime | None = None
    """Time at which the field was superseded (UTC), set by the store; None before."""
    verified: bool = False
    """Whether the value was verified, set by the caller; in a merge a verified field wins."""
    verification_method: Identifier | None = None
    """How the value was verified, 1 to 200 characters; None if not verified or unknown."""
    verified_at: UtcDatetime | None = None
    """Time of the verification (UTC), set by the caller; None if not verified or unknown."""
    verified_by: Identifier | None = None
    """Who verified the value, 1 to 200 characters; None if not verified or unknown."""
    confidence: Fraction = 1.0
    """Confidence in the value, 0 to 1; in a merge of equally verified fields the higher one wins."""
    requires_confirmation: bool = False
    """Whether the customer should confirm the value before it is used, enforced by the caller."""
    collected_at: UtcDatetime = Field(default_factory=now)
    """Time at which the value was obtained (UTC), now if omitted; histories are ordered by it, newest first."""
    updated_at: UtcDatetime = Field(default_factory=now)
    """Time of the latest change (UTC), set by the caller, now if omitted."""
    expires_at: UtcDatetime | None = None
    """Time at which `expire_stale_fields` expires the field (UTC), inclusive; None for never."""


class ProfileAsset(Model):
    """The description of a customer's file, whose bytes are in an object storage."""

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    name: Text
    """Name of the file, not necessarily unique, at most 1 MiB; a history is read by it."""
    asset_type: Identifier
    """Type of the asset, chosen by the caller, 1 to 200 characters."""
    storage_provider: Identifier
    """Object storage that holds the bytes, 1 to 200 characters."""
    storage_path: Text
    """Key of the bytes in the object storage; at most 1 MiB."""
    mime_type: Identifier
    """Media type of the bytes, 1 to 200 characters."""
    size_bytes: Count
    """Size in bytes, 0 or more."""
    checksum: Sha256
    """SHA-256 of the bytes, 64 lower-case hexadecimal digits."""
    uploaded_at: UtcDatetime = Field(default_factory=now)
    """Time of the upload (UTC), now if omitted; histories are ordered by it, newest first."""
    uploaded_in_session_id: UUID | None = None
    """Session in which the file was uploaded, not checked to exist; None for no session."""
    uploaded_in_scenario_id: UUID | None = None
    """Scenario in which the file was uploaded, not checked to exist; None for no scenario."""
    source_item_id: UUID | None = None
    """Field or asset that the file was derived from, followed by `trace_item`; None if from no other item."""
    derived_from_tool: Identifier | None = None
    """Tool that produced the file, 1 to 200 characters; None if no tool did."""
    status: ItemStatus = ItemStatus.ACTIVE
    """Lifecycle status; the store supersedes a replaced asset and one that a saved profile no longer lists."""
    superseded_by_id: UUID | None = None
    """Asset that replaced this one, set by the store; None if nothing did."""
    superseded_at: UtcDatetime | None = None
    """Time at which the asset was superseded (UTC), set by the store; None before."""
    verified: bool = False
    """Whether the content was verified, set by the caller."""
    verification_result: JsonObject | None = None
    """Outcome of the verification, a JSON object of at most 1 MiB; None if there was none."""
    retention_policy: Identifier = "permanent"
    """How long to keep the bytes, 1 to 200 characters; enforced by the caller."""
    expires_at: UtcDatetime | None = None
    """Time after which the bytes should be deleted (UTC), enforced by the caller; None for never."""
    analysis_field_ids: list[UUID] = Field(default_factory=list)
    """Fields extracted from the file; not checked to exist."""


class Consent(Model):
    """A customer's latest decision about one type of consent."""

    consent_type: Identifier
    """What is consented to, 1 to 200 characters; a profile keeps the latest decision of each type."""
    granted: bool
    """Whether the customer consents."""
    granted_at: UtcDatetime | None = None
    """Time at which consent was given (UTC), set by the caller; None if never or unknown."""
    revoked_at: UtcDatetime | None = None
    """Time at which consent was withdrawn (UTC), set by the caller; None if never or unknown."""
    source_session_id: UUID | None = None
    """Session in which the customer decided, not checked to exist; None for no session."""
    ip_address: Identifier | None = None
    """IP address from which the customer decided, 1 to 200 characters, as evidence; None if unknown."""


class CustomerProfile(Model):
    """A customer of a tenant."""

    store_managed: ClassVar[tuple[str, ...]] = ("revision", "created_at", "updated_at", "deleted_at", "merged_into")

    id: UUID = Field(default_factory=new_id)
    """Primary key within the tenant; a UUID of version 7 if omitted."""
    tenant_id: UUID
    """Tenant that owns the profile; no other tenant can read or change it."""
    customer_id: UUID = Field(default_factory=new_id)
    """Identifier of the customer in the caller's systems, unique within the tenant; a UUID of version 7 if omitted."""
    channel_identities: list[ChannelIdentity] = Field(default_factory=list)
    """Channel identities of the customer, each listed once and linked to no other living profile."""
    fields: Annotated[dict[Key, ProfileField], named_keys] = Field(default_factory=dict)
    """Active fields by name; superseded and expired ones are in `get_field_history`."""
    assets: list[ProfileAsset] = Field(default_factory=list)
    """Assets that are not superseded; superseded ones are in `get_asset_history`."""
    consents: list[Consent] = Field(default_factory=list)
    """Latest decision about each type of consent."""
    verification_level: VerificationLevel = VerificationLevel.UNVERIFIED
    """How far the customer's identity is verified; of two merged profiles the higher level remains."""
    merged_into: UUID | None = None
    """Profile that this one was merged into, set by the store; None in everything that a store returns."""
    last_interaction_at: UtcDatetime | None = None
    """Time of the customer's latest interaction (UTC), set by the caller; None if unknown."""
    created_at: UtcDatetime = Field(default_factory=now)
    """Time of the first save (UTC), set by the store; lists are ordered by it, newest first."""
    updated_at: UtcDatetime = Field(default_factory=now)
    """Time of the latest change (UTC), set by the store."""
    deleted_at: UtcDatetime | None = None
    """Time of the soft delete (UTC), set by the store; None in everything that a store returns."""
    revision: Count = 0
    """Revision for optimistic concurrency: 0 if never stored, incremented by the store on every change."""

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
    """The provenance of a field or asset of a profile, followed along `source_item_id`."""

    item: ProfileField | ProfileAsset
    """The field or asset that was asked for."""
    sources: list[ProfileField | ProfileAsset]
    """What the item was derived from, nearest first."""
    derived: list[ProfileField | ProfileAsset]
    """What was derived from the item, nearest first, then by id."""
