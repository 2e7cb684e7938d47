"""What an admin and a user can set. Wrong values are replaced, never refused: Open WebUI hides the reason."""

from __future__ import annotations

import importlib
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.config import JsonDict

from harmony_core.profile import DEFAULT_MAX_TOKENS, DEFAULT_TEMPERATURE, Effort

Number = TypeVar("Number", int, float)


def clamped(kind: type[Number], low: Number, high: Number, otherwise: Number) -> BeforeValidator:
    """Read a number from whatever an input box holds."""

    def clamp(value: object) -> Number:
        if not isinstance(value, str | int | float):
            return otherwise
        try:
            return max(low, min(high, kind(float(value)))) if float(value) == float(value) else otherwise
        except (ValueError, OverflowError):
            return otherwise

    return BeforeValidator(clamp)


def one_of(*allowed: str) -> BeforeValidator:
    """Fall back to the first of the values."""
    return BeforeValidator(lambda value: value if value in allowed else allowed[0])


def secret_input() -> JsonDict | None:
    """What makes an input box hide its text; Open WebUI before 0.8 shows no box at all then."""
    try:
        version = str(importlib.import_module("open_webui.env").VERSION)
        old = [int(part) for part in version.split(".")[:2]] < [0, 8]
    except (ImportError, AttributeError, ValueError):
        return None
    return None if old else {"input": {"type": "password"}}


SECRET: Final = secret_input()
LONGEST_WAIT: Final = 3600.0


class PipeValves(BaseModel):
    """The admin's settings."""

    BASE_URL: str = Field(
        default="http://localhost:8080",
        title="Base URL",
        description="Address of mlx_lm.server, with or without /v1. From inside Docker:"
        " http://host.docker.internal:8080, and start the server with --host 0.0.0.0.",
    )
    API_KEY: str = Field(
        default="",
        title="API key",
        description="Only for a proxy that asks for one: mlx_lm.server itself has no keys.",
        json_schema_extra=SECRET,
    )
    MODEL_FILTER: str = Field(
        default="gpt-oss",
        description="Which of the server's models to offer: parts of their names, or patterns with *,"
        " separated by commas. Empty offers all.",
    )
    THINKING: Annotated[Literal["fold", "hide"], one_of("fold", "hide")] = Field(
        default="fold", description="Fold the model's thinking above the answer, or leave it out."
    )
    REASONING_EFFORT: Annotated[Effort, one_of("medium", "low", "high")] = Field(
        default="medium",
        description="How long the model thinks. A user's own setting and the chat's control win.",
    )
    MAX_TOKENS: Annotated[int, clamped(int, 1, 131_072, DEFAULT_MAX_TOKENS)] = Field(
        default=DEFAULT_MAX_TOKENS, description="Most tokens of one reply, thinking included."
    )
    TEMPERATURE: Annotated[float, clamped(float, 0.0, 2.0, DEFAULT_TEMPERATURE)] = Field(
        default=DEFAULT_TEMPERATURE, description="OpenAI recommends 1.0 for gpt-oss."
    )
    TOOLS: Annotated[Literal["user-selected", "all", "off"], one_of("user-selected", "all", "off")] = Field(
        default="user-selected",
        description="user-selected leaves out the built-in tools that Open WebUI adds unasked, thousands of"
        " tokens with every message; all sends them too; off sends none.",
    )
    TASKS: Annotated[Literal["low-effort", "normal", "off"], one_of("low-effort", "normal", "off")] = Field(
        default="low-effort",
        description="Titles, tags, follow-ups and search queries: with low effort, with the effort set above,"
        " or not at all. They wait while an answer streams.",
    )
    CONNECT_TIMEOUT: Annotated[float, clamped(float, 0.5, LONGEST_WAIT, 5.0)] = Field(
        default=5.0, description="Seconds to wait for the connection."
    )
    FIRST_BYTE_TIMEOUT: Annotated[float, clamped(float, 1.0, LONGEST_WAIT, 600.0)] = Field(
        default=600.0, description="Seconds to wait for the first sign of life, loading the model included."
    )
    IDLE_TIMEOUT: Annotated[float, clamped(float, 1.0, LONGEST_WAIT, 120.0)] = Field(
        default=120.0, description="Seconds of silence after which a reply counts as broken off."
    )


class PipeUserValves(BaseModel):
    """A user's own settings."""

    REASONING_EFFORT: Annotated[
        Literal["inherit", "low", "medium", "high"], one_of("inherit", "low", "medium", "high")
    ] = Field(default="inherit", description="How long the model thinks in your chats.")
    THINKING: Annotated[Literal["inherit", "fold", "hide"], one_of("inherit", "fold", "hide")] = Field(
        default="inherit", description="Fold the model's thinking above the answer, or leave it out."
    )


def user_valves_of(user: object) -> PipeUserValves:
    """The user's settings, which Open WebUI puts into `__user__`."""
    valves = user.get("valves") if isinstance(user, dict) else None
    return PipeUserValves.model_validate(valves or {}, from_attributes=True)
