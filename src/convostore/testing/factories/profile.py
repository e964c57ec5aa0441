"""Customer profiles and their items to test with."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from convostore.models import (
    Channel,
    ChannelIdentity,
    Consent,
    CustomerProfile,
    ProfileAsset,
    ProfileField,
    ProfileFieldSource,
    VerificationLevel,
)
from convostore.testing.factories.values import JSON, TEXT, at


def make_profile(tenant_id: UUID, **changes: Any) -> CustomerProfile:
    return CustomerProfile(**{"tenant_id": tenant_id, **changes})


def make_identity(**changes: Any) -> ChannelIdentity:
    return ChannelIdentity(**{"channel": Channel.EMAIL, "channel_user_id": f"{uuid4()}@example.com", **changes})


def make_field(name: str = "city", value: Any = "Bonn", **changes: Any) -> ProfileField:
    values = {"value_type": "string", "source": ProfileFieldSource.USER_PROVIDED}
    return ProfileField(**{"name": name, "value": value, **values, **changes})


def make_asset(**changes: Any) -> ProfileAsset:
    values = {
        "name": "passport.pdf",
        "asset_type": "document",
        "storage_provider": "s3",
        "storage_path": "customers/1/passport.pdf",
        "mime_type": "application/pdf",
        "size_bytes": 12_345,
        "checksum": "0f" * 32,
    }
    return ProfileAsset(**{**values, **changes})


def full_profile(tenant_id: UUID) -> CustomerProfile:
    identities = [
        make_identity(verified=True, verified_at=at(1), primary=True, linked_at=at(2)),
        make_identity(channel=Channel.WHATSAPP, channel_user_id=f"{TEXT} {uuid4()}"),
    ]
    consents = [
        Consent(
            consent_type="marketing",
            granted=False,
            granted_at=at(1),
            revoked_at=at(2),
            source_session_id=uuid4(),
            ip_address="2001:db8::1",
        )
    ]
    return make_profile(
        tenant_id,
        channel_identities=identities,
        fields={"cart": full_field(), "city": make_field()},
        assets=[full_asset(), make_asset()],
        consents=consents,
        verification_level=VerificationLevel.PHONE_VERIFIED,
        last_interaction_at=at(3),
    )


def full_field(name: str = "cart") -> ProfileField:
    return make_field(
        name,
        JSON,
        value_type="object",
        source=ProfileFieldSource.TOOL_RESULT,
        source_session_id=uuid4(),
        source_scenario_id=uuid4(),
        source_step_id=uuid4(),
        source_item_id=uuid4(),
        source_metadata=JSON,
        verified=True,
        verification_method="call",
        verified_at=at(1),
        verified_by="ann",
        confidence=0.125,
        requires_confirmation=True,
        collected_at=at(2),
        updated_at=at(3),
        expires_at=at(4),
    )


def full_asset() -> ProfileAsset:
    return make_asset(
        name=TEXT,
        uploaded_at=at(1),
        uploaded_in_session_id=uuid4(),
        uploaded_in_scenario_id=uuid4(),
        source_item_id=uuid4(),
        derived_from_tool="ocr",
        status="expired",
        verified=True,
        verification_result=JSON,
        retention_policy="30 days",
        expires_at=at(2),
        analysis_field_ids=[uuid4()],
    )
