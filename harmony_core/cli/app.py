"""The commands and their options. Each command imports the module that does its work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from .exit_codes import EPILOG
from .options import (
    ApiKey,
    BaseUrl,
    CaFile,
    EffortChoice,
    Insecure,
    Model,
    ThinkingChoice,
    UseProxies,
)
from .phrases import language
from .phrases_help import command_help, help_text

DEFAULT_BASE_URL = "http://127.0.0.1:8585"

app = typer.Typer(
    name="mlx-harmony",
    help=help_text(
        "Chat with gpt-oss on mlx_lm.server, and see what is wrong when it does not work."
    ),
    epilog=help_text(EPILOG),
    no_args_is_help=True,
    add_completion=False,
    # rich's tables cut Japanese off, because it has no blanks to wrap at.
    rich_markup_mode="rich" if language() == "en" else None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # they show local variables, such as the API key
)


_MOST_SECONDS = 86_400


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"mlx-harmony {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help=help_text("Show the version and exit."),
        ),
    ] = False,
) -> None:
    """Handle the options that belong to no command."""


@app.command(epilog=help_text(EPILOG), help=command_help("chat"))
def chat(
    message: Annotated[
        str | None,
        typer.Argument(
            show_default=False,
            help=help_text(
                "Message to send; “-” reads stdin. Leave it out for a conversation."
            ),
        ),
    ] = None,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    model: Model = "",
    effort: Annotated[
        EffortChoice | None,
        typer.Option(show_default="the server's", help=help_text("Reasoning effort.")),
    ] = None,
    thinking: Annotated[
        ThinkingChoice,
        typer.Option(
            help=help_text("Thinking: one line that folds away, nothing, or all of it.")
        ),
    ] = ThinkingChoice.fold,
    system: Annotated[str, typer.Option(help=help_text("System prompt."))] = "",
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="8192",
            help=help_text("Limit of tokens for thinking and answer together."),
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, show_default="1.0", help=help_text("Randomness.")),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            show_default="1.0",
            help=help_text("Nucleus sampling: share of probability."),
        ),
    ] = None,
    json_schema: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help=help_text("Ask for JSON that fits this schema, and check it."),
        ),
    ] = None,
    timeout: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_MOST_SECONDS,
            metavar="SECONDS",
            show_default="600, then 120 within the reply",
            help=help_text("How long the server may send nothing."),
        ),
    ] = None,
    api_key: ApiKey = "",
    use_proxies: UseProxies = False,
    ca_file: CaFile = "",
    insecure: Insecure = False,
) -> None:
    """Talk to the model: one MESSAGE, or a conversation.

    The answer goes to stdout, thinking and everything else to stderr.
    """
    from ..client import Client, Timeouts
    from ..diagnosis import visible_url
    from .chat import ChatOptions, Conversation, message_from_stdin
    from .schema import read_schema

    try:
        schema = read_schema(json_schema) if json_schema else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--json-schema") from None
    options = ChatOptions(
        # Python makes a byte that is not UTF-8 a lone surrogate, which cannot be sent.
        model=model.encode("utf-8", "replace").decode(),
        system=system,
        effort=effort,
        thinking=thinking.value,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        schema=schema,
    )
    timeouts = Timeouts(first_byte=timeout, idle=timeout) if timeout else Timeouts()
    client = Client(base_url, api_key, timeouts, use_proxies, ca_file, not insecure)
    conversation = Conversation(client, options)
    if message is None and sys.stdin.isatty():
        from .talk import talk

        talk(conversation, visible_url(base_url))
        return
    text = message_from_stdin() if message in (None, "-") else message
    if not text:
        raise typer.BadParameter("There is nothing to send.", param_hint="MESSAGE")
    raise typer.Exit(conversation.ask(text))


@app.command(epilog=help_text(EPILOG), help=command_help("doctor"))
def doctor(
    base_url: BaseUrl = DEFAULT_BASE_URL,
    model: Model = "",
    as_json: Annotated[
        bool, typer.Option("--json", help=help_text("Report as JSON."))
    ] = False,
    timeout: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_MOST_SECONDS,
            metavar="SECONDS",
            show_default="180",
            help=help_text("The longest wait for a reply."),
        ),
    ] = None,
    server_python: Annotated[
        str,
        typer.Option(
            show_default="where mlx_lm.server is found",
            help=help_text(
                "Python interpreter that has mlx-lm, to look at its installation."
            ),
        ),
    ] = "",
    api_key: ApiKey = "",
    use_proxies: UseProxies = False,
    ca_file: CaFile = "",
    insecure: Insecure = False,
) -> None:
    """Check a server with real requests, and say how to fix what is wrong.

    It takes about a minute with gpt-oss-20b on a Mac and ends with one sentence. Use --json for bug reports.
    """
    from ..client import Client, Timeouts
    from .doctor import REPLY_LIMIT, examine

    timeouts = Timeouts(first_byte=timeout or REPLY_LIMIT)
    client = Client(base_url, api_key, timeouts, use_proxies, ca_file, not insecure)
    raise typer.Exit(examine(client, model, as_json, api_key, server_python))


@app.command(help=command_help("parse"))
def parse() -> None:
    """Turn raw Harmony text from stdin into JSON: reasoning, answer, tool calls."""
    from .filters import parse_text

    parse_text()


@app.command(help=command_help("clean"))
def clean() -> None:
    """Turn a JSON list of messages from stdin into one that the gpt-oss chat template accepts."""
    from .filters import clean_messages

    clean_messages()


@app.command(epilog=help_text(EPILOG), help=command_help("demo"))
def demo(
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            help=help_text("Keep the toy server running instead."),
        ),
    ] = False,
    server_python: Annotated[
        str,
        typer.Option(
            show_default="this one",
            help=help_text("Python interpreter that has mlx-lm."),
        ),
    ] = "",
    host: Annotated[
        str, typer.Option(help=help_text("Address that the toy server listens on."))
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            show_default="8585 to serve, if free",
            help=help_text("Port that it listens on."),
        ),
    ] = 0,
) -> None:
    """Start the real mlx_lm.server with a toy gpt-oss, and show what it sends beside what a reader sees."""
    from .demo import run_demo

    raise typer.Exit(run_demo(server_python, serve, host, port))


@app.command(help=command_help("package"))
def package(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            show_default="mlx-harmony-VERSION.difypkg",
            help=help_text("The file to write."),
        ),
    ] = None,
) -> None:
    """Write the Dify plugin as a .difypkg file; works in a checkout of the repository only."""
    from .package import run_package

    raise typer.Exit(run_package(Path(), output))


@app.command(help=command_help("bench"))
def bench() -> None:
    """Measure what parsing and reading a stream cost on this machine; no server is needed."""
    from .bench import run_bench

    run_bench()
