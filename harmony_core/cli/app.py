"""The commands and their options; what they do lies in modules that are imported when they are called."""

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
from .phrases_help import told, told_of

DEFAULT_BASE_URL = "http://127.0.0.1:8585"

app = typer.Typer(
    name="mlx-harmony",
    help=told(
        "Chat with gpt-oss on mlx_lm.server, and see what is wrong when it does not work."
    ),
    epilog=told(EPILOG),
    no_args_is_help=True,
    add_completion=False,
    # Its tables cut Japanese, which has no blanks to wrap at.
    rich_markup_mode="rich" if language() == "en" else None,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,  # its tracebacks would show local variables, the API key among them
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
            help=told("Show the version and exit."),
        ),
    ] = False,
) -> None:
    """Take the options that belong to no command."""


@app.command(epilog=told(EPILOG), help=told_of("chat"))
def chat(
    message: Annotated[
        str | None,
        typer.Argument(
            show_default=False,
            help=told("What to say; “-” reads stdin. Without it, a conversation."),
        ),
    ] = None,
    base_url: BaseUrl = DEFAULT_BASE_URL,
    model: Model = "",
    effort: Annotated[
        EffortChoice | None,
        typer.Option(show_default="the server's", help=told("Reasoning effort.")),
    ] = None,
    thinking: Annotated[
        ThinkingChoice,
        typer.Option(
            help=told("Thinking: one line that folds away, nothing, or all of it.")
        ),
    ] = ThinkingChoice.fold,
    system: Annotated[str, typer.Option(help=told("System prompt."))] = "",
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default="8192",
            help=told("Tokens for thinking and answer together."),
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, show_default="1.0", help=told("Randomness."))
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0, max=1, show_default="1.0", help=told("Nucleus size.")),
    ] = None,
    json_schema: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help=told("Ask for JSON that fits this schema, and check it."),
        ),
    ] = None,
    timeout: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_MOST_SECONDS,
            metavar="SECONDS",
            show_default="600, then 120 within the reply",
            help=told("The longest silence of the server."),
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
        # A byte that is not UTF-8 became a lone surrogate, which cannot be sent.
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


@app.command(epilog=told(EPILOG), help=told_of("doctor"))
def doctor(
    base_url: BaseUrl = DEFAULT_BASE_URL,
    model: Model = "",
    as_json: Annotated[
        bool, typer.Option("--json", help=told("Report as JSON."))
    ] = False,
    timeout: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_MOST_SECONDS,
            metavar="SECONDS",
            show_default="180",
            help=told("The longest wait for a reply."),
        ),
    ] = None,
    server_python: Annotated[
        str,
        typer.Option(
            show_default="where mlx_lm.server is found",
            help=told(
                "Python interpreter that has mlx-lm, to look at its installation."
            ),
        ),
    ] = "",
    api_key: ApiKey = "",
    use_proxies: UseProxies = False,
    ca_file: CaFile = "",
    insecure: Insecure = False,
) -> None:
    """Check a server with real requests, and say what to do about what is wrong.

    Takes about a minute with gpt-oss-20b on a Mac. Ends in one sentence; --json is made for bug reports.
    """
    from ..client import Client, Timeouts
    from .doctor import REPLY_LIMIT, examine

    timeouts = Timeouts(first_byte=timeout or REPLY_LIMIT)
    client = Client(base_url, api_key, timeouts, use_proxies, ca_file, not insecure)
    raise typer.Exit(examine(client, model, as_json, api_key, server_python))


@app.command(help=told_of("parse"))
def parse() -> None:
    """Turn raw Harmony text from stdin into JSON: reasoning, answer, tool calls."""
    from .filters import parse_text

    parse_text()


@app.command(help=told_of("clean"))
def clean() -> None:
    """Turn a JSON list of messages from stdin into one that the gpt-oss chat template accepts."""
    from .filters import clean_messages

    clean_messages()


@app.command(epilog=told(EPILOG), help=told_of("demo"))
def demo(
    serve: Annotated[
        bool, typer.Option("--serve", help=told("Keep the toy server up instead."))
    ] = False,
    server_python: Annotated[
        str,
        typer.Option(
            show_default="this one", help=told("Python interpreter that has mlx-lm.")
        ),
    ] = "",
    host: Annotated[
        str, typer.Option(help=told("Where the toy server listens."))
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            show_default="8585 to serve, if free",
            help=told("Its port."),
        ),
    ] = 0,
) -> None:
    """Start the real mlx_lm.server with a toy gpt-oss, and show what it sends beside what a reader sees."""
    from .demo import run_demo

    raise typer.Exit(run_demo(server_python, serve, host, port))


@app.command(help=told_of("package"))
def package(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            show_default="mlx-harmony-VERSION.difypkg",
            help=told("The file to write."),
        ),
    ] = None,
) -> None:
    """Write the Dify plugin as a .difypkg file; works in a checkout of the repository only."""
    from .package import run_package

    raise typer.Exit(run_package(Path(), output))


@app.command(help=told_of("bench"))
def bench() -> None:
    """Measure what parsing and reading a stream cost on this machine; no server is needed."""
    from .bench import run_bench

    run_bench()
