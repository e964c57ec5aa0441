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
    """The lifecycle status of a session; every status but `CLOSED` counts as open."""

    ACTIVE = "active"
    IDLE = "idle"
    PROCESSING = "processing"
    INTERRUPTED = "interrupted"
    CLOSED = "closed"


class Scope(StrEnum):
    """Where a rule or template applies: the whole agent, one scenario or one step."""

    GLOBAL = "global"
    SCENARIO = "scenario"
    STEP = "step"


class TemplateMode(StrEnum):
    """How strictly a response follows a template: adapted, verbatim, or verbatim if no other response is possible."""

    SUGGEST = "suggest"
    EXCLUSIVE = "exclusive"
    FALLBACK = "fallback"


class VariableUpdatePolicy(StrEnum):
    """When a variable is resolved again."""

    ON_EACH_TURN = "on_each_turn"
    ON_DEMAND = "on_demand"
    ON_SCENARIO_ENTRY = "on_scenario_entry"
    ON_SESSION_START = "on_session_start"


class MigrationPlanStatus(StrEnum):
    """The lifecycle status of a migration plan."""

    PENDING = "pending"
    APPROVED = "approved"
    DEPLOYED = "deployed"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"


class ItemStatus(StrEnum):
    """The lifecycle status of a profile field or asset; only `ACTIVE` fields are among the fields of a profile."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    ORPHANED = "orphaned"


class ProfileFieldSource(StrEnum):
    """How the value of a profile field was obtained."""

    USER_PROVIDED = "user_provided"
    LLM_EXTRACTED = "llm_extracted"
    TOOL_RESULT = "tool_result"
    DOCUMENT_EXTRACTED = "document_extracted"
    HUMAN_ENTERED = "human_entered"
    SYSTEM_INFERRED = "system_inferred"


class VerificationLevel(StrEnum):
    """How far a customer's identity is verified, lowest first."""

    UNVERIFIED = "unverified"
    EMAIL_VERIFIED = "email_verified"
    PHONE_VERIFIED = "phone_verified"
    DOCUMENT_VERIFIED = "document_verified"
    KYC_COMPLETE = "kyc_complete"
