"""The string enums. Members equal their values: `Channel.EMAIL == "email"`."""

from enum import StrEnum


class Channel(StrEnum):
    """Where a conversation takes place."""

    WHATSAPP = "whatsapp"
    SLACK = "slack"
    WEBCHAT = "webchat"
    EMAIL = "email"
    VOICE = "voice"
    SMS = "sms"
    API = "api"


class SessionStatus(StrEnum):
    """What a session is doing; every status but `CLOSED` counts as open."""

    ACTIVE = "active"
    IDLE = "idle"
    PROCESSING = "processing"
    INTERRUPTED = "interrupted"
    CLOSED = "closed"


class Scope(StrEnum):
    """Where a rule or template applies."""

    GLOBAL = "global"
    SCENARIO = "scenario"
    STEP = "step"


class TemplateMode(StrEnum):
    """How strongly a template binds the response."""

    SUGGEST = "suggest"
    EXCLUSIVE = "exclusive"
    FALLBACK = "fallback"


class VariableUpdatePolicy(StrEnum):
    """When a variable is resolved anew."""

    ON_EACH_TURN = "on_each_turn"
    ON_DEMAND = "on_demand"
    ON_SCENARIO_ENTRY = "on_scenario_entry"
    ON_SESSION_START = "on_session_start"


class MigrationPlanStatus(StrEnum):
    """How far a migration plan has come."""

    PENDING = "pending"
    APPROVED = "approved"
    DEPLOYED = "deployed"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"


class ItemStatus(StrEnum):
    """Whether a profile field or asset is the one in force."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    ORPHANED = "orphaned"


class ProfileFieldSource(StrEnum):
    """Where the value of a profile field came from."""

    USER_PROVIDED = "user_provided"
    LLM_EXTRACTED = "llm_extracted"
    TOOL_RESULT = "tool_result"
    DOCUMENT_EXTRACTED = "document_extracted"
    HUMAN_ENTERED = "human_entered"
    SYSTEM_INFERRED = "system_inferred"


class VerificationLevel(StrEnum):
    """How far a customer's identity is established, weakest first."""

    UNVERIFIED = "unverified"
    EMAIL_VERIFIED = "email_verified"
    PHONE_VERIFIED = "phone_verified"
    DOCUMENT_VERIFIED = "document_verified"
    KYC_COMPLETE = "kyc_complete"
