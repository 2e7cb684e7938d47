"""What an admin and a user can set."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    FieldSerializationInfo,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
)
from pydantic.config import JsonDict

from harmony_core.gpt_oss import (
    CONTEXT_SIZE,
    DEFAULT_EFFORT,
    DEFAULT_MAX_TOKENS,
    DEFAULT_TEMPERATURE,
    Effort,
)
from harmony_core.jsontext import as_object
from openwebui_pipe.host_version import at_least


def secret_input() -> JsonDict | None:
    """The option that masks an input box; before Open WebUI 0.8 it would remove the box."""
    return {"input": {"type": "password"}} if at_least(0, 8) else None


def clamp(least: float, most: float) -> AfterValidator:
    """Moves a number between two bounds."""
    return AfterValidator(lambda value: max(least, min(most, value)))


SECRET: Final = secret_input()
Seconds = Annotated[float, clamp(0.5, 3600.0)]


class ForgivingValves(BaseModel):
    """Settings that replace an invalid value by their default.

    Open WebUI would refuse it without saying why.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def take_or_default(
        cls, value: object, take: ValidatorFunctionWrapHandler, field: ValidationInfo
    ) -> object:
        """The value if it is valid, else the default of its field."""
        try:
            return take(value)
        except ValidationError:
            return cls.model_fields[field.field_name or ""].default

    @field_serializer("*")
    def leave_empty_out(self, value: object, field: FieldSerializationInfo) -> object:
        """The value to store: None for an empty default, because the form saves no empty text."""
        default = type(self).model_fields[field.field_name].default
        return None if value == default == "" else value


class PipeValves(ForgivingValves):
    """The admin's settings."""

    BASE_URL: str = Field(
        default="http://localhost:8585",
        repr=False,  # may hold a password
        title="Base URL",
        description="Address of mlx_lm.server --port 8585 (8080 is Open WebUI's own)."
        " From inside Docker: http://host.docker.internal:8585, and start the server"
        " with --host 0.0.0.0. Several servers: Studio = http://studio.local:8585"
        " Mini = http://mini.local:8585.",
    )
    API_KEY: str = Field(
        default="",
        repr=False,
        title="API key",
        description="Only for a proxy that asks for one: mlx_lm.server has no keys."
        " With several servers one for all, or one for each in their order, with - for"
        " none.",
        json_schema_extra=SECRET,
    )
    CA_FILE: str = Field(
        default="",
        title="CA file",
        description="For https with certificates of your own: the path of the file with"
        " your authority's certificate, as Open WebUI sees it. Default: REQUESTS_CA_BUNDLE,"
        " SSL_CERT_FILE or the usual authorities.",
    )
    VERIFY_TLS: bool = Field(
        default=True,
        title="Check certificates",
        description="Switched off, anybody on the way can pretend to be the server, read"
        " every chat and take the API key.",
    )
    MODEL_FILTER: str = Field(
        default="gpt-oss",
        description="Which of the server's models to offer: parts of their names, or"
        " patterns with *, separated by commas. * alone offers all that can chat.",
    )
    MODEL_IDS: str = Field(
        default="",
        title="Model IDs",
        description="Ids of models that are always offered, also while the server does"
        " not list them, separated by commas.",
    )
    SAME_MODEL: Literal["per-server", "least-busy"] = Field(
        default="per-server",
        description="A model that several servers have: one entry for each server, or"
        " one that goes to the server with the fewest answers at the moment.",
    )
    PREFIX: str = Field(default="", description="Put before the names of all models.")
    THINKING: Literal["fold", "hide"] = Field(
        default="fold",
        description="Fold the thinking above the answer, or leave it out.",
    )
    REASONING_EFFORT: Effort = Field(
        default=DEFAULT_EFFORT,
        description="How long the model thinks. A user's own setting and the chat's"
        " control win.",
    )
    MAX_TOKENS: Annotated[int, clamp(1, CONTEXT_SIZE)] = Field(
        default=DEFAULT_MAX_TOKENS,
        description="Most tokens of one reply, with the thinking.",
    )
    TEMPERATURE: Annotated[float, clamp(0.0, 2.0)] = Field(
        default=DEFAULT_TEMPERATURE, description="OpenAI recommends 1.0 for gpt-oss."
    )
    TOOLS: Literal["user-selected", "all", "off"] = Field(
        default="user-selected",
        description="user-selected leaves out the built-in tools that Open WebUI adds"
        " unasked, thousands of tokens with every message, unless the prompt names them;"
        " all sends them too; off sends none.",
    )
    TASKS: Literal["low-effort", "normal", "off"] = Field(
        default="low-effort",
        description="Titles, tags, follow-ups and search queries: with low effort, with"
        " the effort set above, or not at all. They wait while an answer streams. Tools"
        " that are called by prompt work in any case.",
    )
    CONNECT_TIMEOUT: Seconds = Field(
        default=5.0, description="Seconds to wait for the connection."
    )
    FIRST_BYTE_TIMEOUT: Seconds = Field(
        default=600.0,
        description="Seconds to wait for the first sign of life; the model is loaded"
        " meanwhile.",
    )
    IDLE_TIMEOUT: Seconds = Field(
        default=120.0,
        description="Seconds of silence after which a reply counts as broken off.",
    )


class PipeUserValves(ForgivingValves):
    """A user's own settings."""

    REASONING_EFFORT: Literal["inherit", "low", "medium", "high"] = Field(
        default="inherit", description="How long the model thinks in your chats."
    )
    THINKING: Literal["inherit", "fold", "hide"] = Field(
        default="inherit",
        description="Fold the thinking above the answer, or leave it out.",
    )


def user_valves_of(user: object) -> PipeUserValves:
    """The user's settings, which Open WebUI puts into `__user__`."""
    valves: object = as_object(user).get("valves")
    return PipeUserValves.model_validate(valves or {}, from_attributes=True)
