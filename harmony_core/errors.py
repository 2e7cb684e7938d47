"""What can go wrong with a server, as one table: what happened and what to do next.

Pure: a failure is described by values (`Failure`, or the `Reply` that did arrive), so that an asyncio
host, a gevent host and the command line say the same thing. The bodies are those of `mlx_lm.server`
0.26.3 to 0.32.2, read in its source and seen on the wire (mlx_server.md), and of proxies in front of it.

No text holds an API key: addresses are shown without user name and query, and a server's own words are
quoted only where they say what to correct, with the key blotted out.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from .events import Reply
from .jsontext import load_json
from .problems import PROBLEMS, Problem

Phase = Literal["connect", "send", "headers", "status", "first_byte", "idle", "stream"]
Cause = Literal["", "bad_url", "dns", "refused", "timeout", "tls", "proxy", "bad_key"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known of an exchange that brought no reply.

    `phase`: how far it came. "connect" needs a `cause`; "send" and "headers" ended before a status line;
    "status" brought one that is not 200; "first_byte" is the wait for the first byte of the body, "idle" a
    silence after it, "stream" a broken connection after it. `cause` "timeout" tells a silence from an end.
    `models` are the ids of GET /v1/models, None where nobody asked or nothing came. `seconds` is the time
    limit that ran out.
    """

    phase: Phase
    base_url: str
    cause: Cause = ""
    status: int | None = None
    body: str = ""
    location: str = ""
    model: str = ""
    models: tuple[str, ...] | None = None
    seconds: float = 0


# What an error body says -> row of the table; the first match counts. From mlx_lm/server.py, the gpt-oss
# chat template, huggingface_hub, MLX's allocator, and vLLM's, Ollama's and LM Studio's words for a model.
_BODY_ROWS = tuple(
    (re.compile(pattern, re.IGNORECASE), row)
    for pattern, row in (
        ("generation thread died", "dead_server"),
        ("model type gpt_oss not supported", "gpt_oss_unsupported"),
        ("a model path has to be given", "no_model"),
        ("only '?text'? content", "text_only"),
        (r"passed a message containing <\|channel\|>", "template_refused"),
        ("message has tool role|cannot pass both content and thinking", "template_refused"),
        ("(assistant|tool|system) message|conversation roles|chat[ _]template", "template_refused"),
        (r"'\w+ object' has no attribute|'\w+' is undefined", "template_refused"),
        ("can only get item pairs from a mapping", "template_refused"),
        ("the json object must be str", "template_refused"),
        ("expecting property name enclosed", "template_refused"),
        (r"out ?of ?memory|insufficient memory|\[metal::malloc\]", "out_of_memory"),
        ("repository not found|repo id must|local models must be relative", "unknown_model"),
        ("cannot find (an appropriate cached snapshot|the requested files)", "unknown_model"),
        ("model_not_found|the model .* does not exist|try pulling it", "unknown_model"),
        (r"model type \S+ not supported|no safetensors found|config\.json", "model_not_loaded"),
    )
)

_STATUS_ROWS = {
    401: "unauthorized",
    403: "unauthorized",
    407: "unauthorized",
    413: "too_large",
    429: "rate_limited",
    502: "bad_gateway",
    503: "bad_gateway",
    504: "bad_gateway",
}

_CAUSE_ROWS: dict[Cause, str] = {
    "": "unreachable",
    "bad_url": "bad_url",
    "dns": "dns",
    "refused": "refused",
    "timeout": "connect_timeout",
    "tls": "tls",
    "proxy": "proxy",
    "bad_key": "bad_key",
}

# What an end and what a silence mean, by how far the exchange had come.
_PHASE_ROWS = {
    "send": ("empty_reply", "silent"),
    "headers": ("empty_reply", "silent"),
    "first_byte": ("dead_server", "silent"),
    "idle": ("stalled", "stalled"),
    "stream": ("interrupted", "stalled"),
}

# Exceptions by class name, since this module may import neither a socket nor an HTTP library.
_CAUSE_OF_CLASS: dict[str, Cause] = {
    "InvalidURL": "bad_url",
    "InvalidURLError": "bad_url",
    "InvalidSchema": "bad_url",
    "LocationParseError": "bad_url",
    "InvalidHeader": "bad_key",
    "UnicodeEncodeError": "bad_key",
    "ProxyError": "proxy",
    "ClientProxyConnectionError": "proxy",
    "SSLError": "tls",
    "gaierror": "dns",
    "NameResolutionError": "dns",
    "ConnectionRefusedError": "refused",
    "TimeoutError": "timeout",
    "NewConnectionError": "",  # is a ConnectTimeoutError by inheritance only: the cause is inside
    "ConnectTimeoutError": "timeout",
    "ReadTimeoutError": "timeout",
    "Timeout": "timeout",
    "ValueError": "bad_url",  # of what is sent, only the address can be that wrong
}

_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
_QUOTED_LENGTH = 200  # characters of the server's own words
_FINGERPRINT = re.compile(r"(\d+)\.(\d+)\.(\d+)[^-]*-\d")  # mlx-lm's version, then MLX's
# Besides the end token, one delta may be withheld when the reply ends in a blank (mlx_server.md).
_TOKENS_WITHOUT_DELTA = 2


def cause_of(error: BaseException) -> Cause:
    """Why a connection failed, from an exception of `requests`, `aiohttp`, or the operating system.

    Looks through the exceptions that it wraps; "" means that it came from none of the known causes.
    """
    pending: list[BaseException] = [error]
    seen: list[BaseException] = []
    while pending:
        current = pending.pop(0)
        if cause := _cause_of_class(type(current)):
            return cause
        seen.append(current)
        wrapped = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        pending += [inner for inner in wrapped if isinstance(inner, BaseException) and inner not in seen]
    return ""


def _cause_of_class(error_class: type[BaseException]) -> Cause:
    for base in error_class.__mro__:
        if base.__name__ in _CAUSE_OF_CLASS:
            return _CAUSE_OF_CLASS[base.__name__]
    return ""


def server_version(fingerprint: str) -> tuple[int, int, int] | None:
    """The mlx-lm version at the head of `system_fingerprint`; None for another server."""
    match = _FINGERPRINT.match(fingerprint)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def visible_url(base_url: str) -> str:
    """A base URL as it may be shown: without user name, password and query."""
    return _address(base_url)[0]


def explain_failure(failure: Failure, *, api_key: str = "") -> Problem:
    """Name the problem of an exchange that brought no reply.

    A server's words may be quoted; `api_key` is blotted out of them.
    """
    failure = replace(failure, body=_without(api_key, failure.body))
    return _problem(_row_of(failure), failure)


def explain_reply(
    reply: Reply,
    *,
    base_url: str = "",
    fingerprint: str = "",
    deltas: int = 0,
    max_tokens: int | None = None,
    api_key: str = "",
) -> Problem | None:
    """Name the problem of a reply that did arrive; None when it is what was asked for.

    `deltas` counts the deltas that carried text: mlx-lm 0.26.3 is lossy where its own count of tokens is
    higher. A server's words may be quoted; `api_key` is blotted out of them.
    """
    row = _row_of_reply(reply, fingerprint, deltas)
    if row is None:
        return None
    failure = Failure("stream", base_url, body=_without(api_key, reply.detail))
    return _problem(row, failure, budget=f" ({max_tokens})" if max_tokens else "")


def explain_version(fingerprint: str) -> Problem | None:
    """Name what is known to be wrong with the server's version of mlx-lm."""
    version = server_version(fingerprint)
    if version == (0, 26, 3):
        return _problem("lossy_server", Failure("stream", ""))
    if version is not None and version[:2] in ((0, 29), (0, 30)):
        return _problem("unstable_server", Failure("stream", ""), version=".".join(map(str, version)))
    return None


def explain_unknown_model(model: str, models: tuple[str, ...], base_url: str) -> Problem:
    """Name a model that GET /v1/models does not list, with the nearest ones that it does."""
    return _problem("unknown_model", Failure("status", base_url, model=model, models=models))


def _row_of(failure: Failure) -> str:
    if failure.phase == "connect":
        return _connect_row(failure)
    if failure.phase == "status":
        return _status_row(failure)
    broken, silent = _PHASE_ROWS[failure.phase]
    return silent if failure.cause == "timeout" else broken


def _connect_row(failure: Failure) -> str:
    row = _CAUSE_ROWS[failure.cause]
    _, host, _ = _address(failure.base_url)
    if row == "refused" and host in _LOCAL_HOSTS:
        return "refused_local"
    if row == "dns" and host == "host.docker.internal":
        return "dns_docker"
    return row


def _status_row(failure: Failure) -> str:
    status = failure.status or 0
    if 300 <= status < 400:
        return "redirect"
    if status in _STATUS_ROWS:
        return _STATUS_ROWS[status]
    if status >= 500:
        return _row_of_body(failure.body) or "server_error"
    if _is_html(failure.body):
        return "web_page"
    if status == 404:
        return _row_of_body(failure.body) or _not_found_row(failure)
    if status >= 400:
        return _row_of_body(failure.body) or "bad_request"
    return "not_a_reply" if status == 200 else "unexpected_status"


def _not_found_row(failure: Failure) -> str:
    """Every exception before the headers is a 404 (mlx_server.md): only the body and the list tell."""
    if _error_message(failure.body).strip().lower() not in ("", "not found"):
        return "bad_request"
    if failure.models is not None and failure.model and failure.model not in failure.models:
        return "unknown_model"
    # mlx-lm before 0.28 says "Not Found" for a model that it cannot load, too.
    return "wrong_path" if failure.models is None else "gpt_oss_unsupported"


def _row_of_reply(reply: Reply, fingerprint: str, deltas: int) -> str | None:
    if _lost_tokens(reply, fingerprint, deltas):
        return "lossy_server"
    match reply.outcome:
        case "failed" if reply.finish_reason == "error":
            return _row_of_body(reply.detail) or "error_frame"
        case "failed":
            return "web_page" if _is_html(reply.detail) else "not_a_reply"
        case "interrupted":
            return "interrupted" if deltas else "dead_server"
        case "cut_in_reasoning" | "only_reasoning":
            return reply.outcome
        case "empty":
            return "empty_answer"
        case _:
            return None


def _row_of_body(body: str) -> str | None:
    return next((row for pattern, row in _BODY_ROWS if pattern.search(body)), None)


def _lost_tokens(reply: Reply, fingerprint: str, deltas: int) -> bool:
    if server_version(fingerprint) != (0, 26, 3) or reply.usage is None:
        return False
    return reply.usage.completion_tokens > deltas + _TOKENS_WITHOUT_DELTA


def _problem(row_name: str, failure: Failure, *, budget: str = "", version: str = "") -> Problem:
    near = _nearest(failure.model, failure.models or ())
    if row_name == "unknown_model" and near:
        row_name = "unknown_model_near"
    row = PROBLEMS[row_name]
    url, host, port = _address(failure.base_url)
    values = {
        "url": url or ("" if failure.phase == "connect" else "The server"),
        "host": host,
        "port": port,
        "status": failure.status,
        "seconds": f"{failure.seconds:g}",
        "budget": budget,
        "version": version,
    }
    words = _server_words(failure.body)
    location, _, _ = _address(failure.location)
    english = values | {
        "model": f"the model {failure.model}" if failure.model else "its model",
        "near": " or ".join(near),
        "words": f": “{words}”" if words else "",
        "location": f" ({location})" if location else "",
    }
    japanese = values | {
        "model": f"モデル {failure.model} " if failure.model else "モデル",
        "url": url or ("" if failure.phase == "connect" else "サーバー"),
        "near": " か ".join(near),
        "words": f":「{words}」" if words else "",
        "location": f"({location})" if location else "",
    }
    return Problem(
        row.kind,
        row.happened.format_map(english),
        row.advice.format_map(english),
        row.happened_ja.format_map(japanese),
        row.advice_ja.format_map(japanese),
    )


def _nearest(model: str, models: tuple[str, ...]) -> list[str]:
    """Up to three ids that resemble the name, by their last part too: few people type the owner."""
    names = {candidate.lower(): candidate for candidate in models}
    names |= {candidate.rpartition("/")[2].lower(): candidate for candidate in models}
    found: list[str] = []
    for wanted in (model.lower(), model.rpartition("/")[2].lower()):
        found += [names[near] for near in difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)]
    return list(dict.fromkeys(found or models))[:3]


def _address(url: str) -> tuple[str, str, str]:
    """An address as it may be shown (no user name, no query), its host and its port."""
    address = url.strip()
    if "://" not in address and address:
        address = f"http://{address}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return url.rpartition("@")[2].partition("?")[0], "", ""
    location = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{location}{parts.path}".rstrip("/") if location else ""
    return shown or url.rpartition("@")[2].partition("?")[0], host, str(port or 8080)


def _server_words(body: str) -> str:
    """The message of an error body on one line, cut to length; "" where it would say nothing to a user."""
    message = _error_message(body)
    if _is_html(message) or "Traceback" in message:
        return ""
    line = " ".join(message.split()).rstrip(".。 ")
    return line if len(line) <= _QUOTED_LENGTH else f"{line[:_QUOTED_LENGTH]}…"


def _error_message(body: str) -> str:
    try:
        value = load_json(body)
    except ValueError:
        return body
    for name in ("error", "message", "detail"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    return value if isinstance(value, str) else ""


def _without(api_key: str, text: str) -> str:
    return text.replace(api_key, "…") if api_key else text


def _is_html(body: str) -> bool:
    return body.lstrip("\ufeff \t\r\n")[:14].lower().startswith(("<!doctype", "<html", "<head", "<?xml"))
