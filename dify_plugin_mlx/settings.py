"""What a user entered in the provider's form, as typed values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dify_plugin.entities import I18nObject
from dify_plugin.entities.model import (
    AIModelEntity,
    FetchFrom,
    ModelFeature,
    ModelPropertyKey,
)

from harmony_core.client import Client, Timeouts
from harmony_core.gpt_oss import (
    CONTEXT_SIZE,
    DEFAULT_EFFORT,
    DEFAULT_MAX_TOKENS,
    Effort,
    effort_named,
)
from harmony_core.render import Thinking

from .phrases import UserError, plugin_problem

CHECK_LIMIT = 14.0
"""Seconds for the check of a server, because somebody waits in front of the form."""

_MOST_DIGITS = 9

_TOOL_FEATURES = frozenset(
    {
        ModelFeature.TOOL_CALL,
        ModelFeature.MULTI_TOOL_CALL,
        ModelFeature.STREAM_TOOL_CALL,
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The form's fields. Dify sends texts, sends empty ones for empty fields, and may leave fields out."""

    base_url: str = field(repr=False)  # may hold a password
    api_key: str = field(default="", repr=False)
    ca_file: str = ""
    """A path, or "off" for no check of certificates."""
    model_id: str = ""
    display_name: str = ""
    context_size: int = CONTEXT_SIZE
    max_tokens_limit: int = CONTEXT_SIZE
    effort: Effort = DEFAULT_EFFORT
    thinking: Thinking = "fold"
    tool_calling: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)

    @classmethod
    def read(cls, credentials: Mapping[str, object]) -> Settings:
        """Read the credentials that Dify hands over; raises UserError."""
        given = {
            name: str(value).strip()
            for name, value in credentials.items()
            if value is not None
        }
        defaults = Timeouts()
        if not given.get("base_url"):
            raise UserError(plugin_problem("no_url"))
        return cls(
            base_url=given["base_url"],
            api_key=given.get("api_key", ""),
            ca_file=given.get("ca_file", ""),
            model_id=given.get("model_id", ""),
            display_name=given.get("display_name", ""),
            context_size=_whole(given, "context_size", "Context size", CONTEXT_SIZE),
            max_tokens_limit=_whole(
                given, "max_tokens_limit", "Upper limit of max tokens", CONTEXT_SIZE
            ),
            effort=effort_of(given.get("effort"), DEFAULT_EFFORT),
            thinking="hide" if given.get("thinking") == "hide" else "fold",
            tool_calling=given.get("tool_calling", "").lower() != "false",
            timeouts=Timeouts(
                first_byte=_seconds(
                    given,
                    "first_token_timeout",
                    "Seconds to wait for the first token",
                    defaults.first_byte,
                ),
                idle=_seconds(
                    given,
                    "idle_timeout",
                    "Seconds of silence before giving up",
                    defaults.idle,
                ),
            ),
        )

    def client(self) -> Client:
        """A client for the server that was entered."""
        return Client(
            self.base_url,
            self.api_key,
            self.timeouts,
            ca_file=self.ca_file,
            verify=self.ca_file.lower() != "off",
        )


def effort_of(value: object, default: Effort) -> Effort:
    """The effort that `value` names, else the default."""
    return effort_named(value) or default


def custom_schema(
    pattern: AIModelEntity, model: str, settings: Settings
) -> AIModelEntity:
    """The schema of a model that the user added: the predefined one with the form's values in it."""
    schema = pattern.model_copy(deep=True)
    schema.model = model
    schema.label = I18nObject(en_US=settings.display_name or model)
    schema.fetch_from = FetchFrom.CUSTOMIZABLE_MODEL
    schema.model_properties[ModelPropertyKey.CONTEXT_SIZE] = settings.context_size
    if not settings.tool_calling:
        schema.features = [
            feature
            for feature in schema.features or []
            if feature not in _TOOL_FEATURES
        ]
    rules = {rule.name: rule for rule in schema.parameter_rules}
    rules["max_tokens"].max = settings.max_tokens_limit
    rules["max_tokens"].default = min(DEFAULT_MAX_TOKENS, settings.max_tokens_limit)
    rules["reasoning_effort"].default = settings.effort
    rules["thinking"].default = settings.thinking
    return schema


def _whole(given: Mapping[str, str], name: str, label: str, default: int) -> int:
    text = given.get(name, "")
    if not text:
        return default
    plain = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    if not (plain and int(text) > 0):
        blanks = {"label": label, "value": text[:100], "example": default}
        raise UserError(plugin_problem("not_whole", **blanks))
    return int(text)


def _seconds(given: Mapping[str, str], name: str, label: str, default: float) -> float:
    text = given.get(name, "")
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (math.isfinite(seconds) and seconds > 0):
        blanks = {"label": label, "value": text[:100], "example": f"{default:g}"}
        raise UserError(plugin_problem("not_seconds", **blanks))
    return seconds
