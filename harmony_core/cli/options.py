"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .phrases_help import help_text


class EffortChoice(StrEnum):
    """How long the model may think."""

    low = "low"
    medium = "medium"
    high = "high"


class ThinkingChoice(StrEnum):
    """How thinking is shown."""

    fold = "fold"
    hide = "hide"
    show = "show"


BaseUrl = Annotated[
    str,
    typer.Option(
        envvar="MLX_HARMONY_BASE_URL",
        help=help_text("Address of the server, with or without /v1."),
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help=help_text("Model to use; empty for the one that the server has loaded.")
    ),
]
ApiKey = Annotated[
    str,
    typer.Option(
        envvar="MLX_HARMONY_API_KEY",
        show_default=False,
        help=help_text("Key for a proxy before the server."),
    ),
]
UseProxies = Annotated[
    bool,
    typer.Option(
        "--use-proxies",
        help=help_text("Use the proxies of HTTP_PROXY and similar variables."),
    ),
]
CaFile = Annotated[
    str,
    typer.Option(
        show_default="REQUESTS_CA_BUNDLE or SSL_CERT_FILE",
        metavar="PATH",
        help=help_text("For https: the certificate of an authority of your own."),
    ),
]
Insecure = Annotated[
    bool,
    typer.Option(
        "--insecure",
        help=help_text(
            "Do not check certificates: anybody on the way can read along and take the key."
        ),
    ),
]
