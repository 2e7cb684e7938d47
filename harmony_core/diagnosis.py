"""From a failure or a reply to a row of the table in `problems.py`.

It is pure, so an asyncio host, a gevent host and the command line say the same thing. The bodies are those
of `mlx_lm.server` 0.26.3 to 0.32.2, read in its source and seen on the wire, and of proxies in front of it.

No text holds an API key. Addresses are shown without user name and query. A server's words are quoted only
if they say what to correct, with the key blotted out.
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Iterator
from urllib.parse import unquote

from .events import Reply
from .failures import Cause, Failure
from .jsontext import as_object, load_json
from .problems import PROBLEMS, Problem, problem_of
from .server_words import (
    CAUSE_OF_TLS_WORDS,
    HTTPS_ONLY,
    ROW_OF_STATUS,
    ROW_OF_SURE_STATUS,
    ROW_OF_WORDS,
)

# By phase: what it means if the connection ends, or stays silent, before the first byte of a reply.
_KIND_OF_END = {
    "connect": "unreachable",
    "headers": "empty_reply",
    "first_byte": "dead_server",
}
_KIND_OF_SILENCE = {
    "connect": "connect_timeout",
    "headers": "silent",
    "first_byte": "silent",
}
# Exceptions by class name, since this module may import neither a socket nor an HTTP library.
_CAUSES: dict[str, Cause] = {
    "InvalidHeader": "bad_key",
    "UnicodeEncodeError": "bad_key",
    "ProxyError": "proxy",
    "InvalidProxyURL": "proxy",
    "SSLError": "tls",
    "ClientSSLError": "tls",
    "gaierror": "dns",
    "ConnectionRefusedError": "refused",
    "NewConnectionError": "",  # inherits from a timeout, but its cause is inside
    "TimeoutError": "timeout",
    "HeadTooLong": "not_a_reply",
    "LineTooLong": "not_a_reply",
    "ValueError": "bad_url",  # of all that we send, only the address can be that wrong
}
_HTML = re.compile(r"[\ufeff\s]*<(!doctype|html|head|\?xml)", re.IGNORECASE)
# What servers and proxies say about a path that they do not have, if anything.
_NO_PATH = re.compile(r"(?i)(404:? )?((file|page) )?not found|cannot post \S*|")
_HOST_AND_PORT = re.compile(r"//(\[.*?\]|[^/:]*):?(\d*)")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0")
_QUOTED_LENGTH = 200  # characters of the server's own words
_MAX_ADDRESS = 500  # characters of an address that a server sends
_MAX_COMPARED = 500  # ids of models that are compared with a name


def cause_of(error: BaseException) -> Cause:
    """Why a connection failed, read from an exception of `requests`, `aiohttp` or the system."""
    chain = [error]
    for link in chain:  # grows on the way
        if cause := _named_cause(link):
            return cause
        inner = (link.__cause__, link.__context__, *link.args)
        chain += [e for e in inner if isinstance(e, BaseException) and e not in chain]
    return ""


def _named_cause(error: BaseException) -> Cause:
    words = str(error)
    if "CA certificate bundle" in words:  # `requests` raises it as a plain OSError
        return "tls/ca_file"
    names = (base.__name__ for base in type(error).__mro__)
    cause: Cause = next((_CAUSES[name] for name in names if name in _CAUSES), "")
    if cause == "tls":
        said = (
            c for c, saying in CAUSE_OF_TLS_WORDS.items() if re.search(saying, words)
        )
        return next(said, "tls")
    if HTTPS_ONLY.search(words):
        return "tls/https_only"
    return cause


def server_version(fingerprint: str) -> tuple[int, int, int] | None:
    """The version of mlx-lm in a `system_fingerprint`, where it precedes MLX's; None for another server."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)[^-]*-\d", fingerprint)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def visible_url(url: str) -> str:
    """An address fit to be shown: without user name, password and query."""
    address = url.strip()
    if address and "://" not in address:
        address = f"http://{address}"
    return re.sub(r"(?s)(?<=//).*@|[?#].*", "", address).rstrip("/")


def explain_failure(failure: Failure, *, api_key: str = "") -> Problem:
    """Name the problem of an exchange that brought no reply. Quoted words never show `api_key`."""
    return _filled(_problem_row(failure), failure, api_key)


def explain_reply(
    reply: Reply,
    *,
    base_url: str,
    fingerprint: str = "",
    deltas: int = 0,
    max_tokens: int | None = None,
    api_key: str = "",
) -> Problem | None:
    """Name the problem of a reply that did arrive; None if it is what was asked for.

    `deltas` counts the deltas that carried text. If mlx-lm 0.26.3 counts more tokens than its text
    explains, it lost some.
    """
    row = _reply_row(reply, fingerprint, deltas)
    failure = Failure("stream", base_url, body=reply.detail)
    return _filled(row, failure, api_key, max_tokens) if row else None


def _problem_row(failure: Failure) -> str:
    if failure.phase == "status":
        return _status_row(failure)
    if failure.cause == "timeout":
        return _KIND_OF_SILENCE.get(failure.phase, "stalled")
    if failure.cause == "limit":
        return "silent/check"
    tells = failure.cause.startswith(("tls/", "not_a_reply"))
    known = failure.cause if failure.phase == "connect" or tells else ""
    return known or _KIND_OF_END.get(failure.phase, "interrupted")


def _status_row(failure: Failure) -> str:
    if failure.status in ROW_OF_SURE_STATUS:
        return ROW_OF_SURE_STATUS[failure.status]
    is_page = _HTML.match(failure.body)
    if failure.status < 400:
        return "web_page" if is_page else "not_a_reply"
    if HTTPS_ONLY.search(failure.body):
        return "tls/https_only"
    if not is_page and (row := _body_row(failure.body)):
        return row
    if failure.status in ROW_OF_STATUS:
        return ROW_OF_STATUS[failure.status]
    if failure.status >= 500:
        return "server_error"
    if is_page:
        return "web_page"
    return _not_found_row(failure) if failure.status == 404 else "bad_request"


def _not_found_row(failure: Failure) -> str:
    """Any exception before the headers is a 404 (mlx_server.md): the body and the list tell which."""
    if not _NO_PATH.fullmatch(_message(failure.body).strip()):
        return "bad_request"
    # mlx-lm before 0.28 says just "Not Found" for a model that it cannot load, too.
    if failure.models is None or failure.body.strip() != "Not Found":
        return "wrong_path"
    if failure.model in ("", *failure.models):
        return "gpt_oss_unsupported"
    return "unknown_model" if failure.models else "model_not_loaded/silently"


def _body_row(body: str) -> str:
    rows = (row for row, said in ROW_OF_WORDS.items() if re.search(said, body, re.I))
    return next(rows, "")


def _reply_row(reply: Reply, fingerprint: str, deltas: int) -> str:
    counted = reply.usage.completion_tokens if reply.usage else 0
    lost = counted - deltas > _most_silent_tokens(reply)
    if lost and server_version(fingerprint) == (0, 26, 3):
        return "lossy_server"
    if reply.finish_reason == "error":
        return _body_row(reply.detail) or "error_frame"
    if reply.finish_reason == "not_a_stream":
        return "web_page" if _HTML.match(reply.detail) else "not_a_reply"
    if reply.finish_reason == "interrupted" and not (deltas or reply.detail):
        return "dead_server"
    if reply.outcome == "cut" and not (reply.answer.strip() or reply.tool_calls):
        return "cut_in_reasoning"
    return reply.outcome if reply.outcome in PROBLEMS else ""


def _most_silent_tokens(reply: Reply) -> int:
    """The most tokens without text in a reply that lost none.

    That is the end token and a blank before it, and all but the last token of a character
    that has several: two as a rule, four in an emoji.
    """
    text = reply.reasoning + reply.answer
    return 2 + sum((char > "\x7f") + 2 * (char > "\uffff") for char in text)


def _filled(row: str, failure: Failure, key: str, budget: int | None = None) -> Problem:
    url = visible_url(failure.base_url)
    match = _HOST_AND_PORT.search(url)
    host, port = match.groups() if match else ("", "")
    secrets = [*_secrets_of(failure.base_url, key)]
    words = _quotable(failure.body, secrets)
    target = failure.location[:_MAX_ADDRESS].partition("?")[0]
    location = _printable(_without(secrets, visible_url(target)))
    model = _printable(failure.model)[:_QUOTED_LENGTH]
    near = ", ".join(_nearest(failure.model, failure.models or ()))
    japanese = {
        "budget": f"上限の {budget} " if budget else "",
        "model": f"「{model}」" if model else "",
        "near": f"（{near}）" if near else "",
        "words": f"（「{words}」）" if words else "",
        "location": f"（{location}）" if location else "",
    }
    return problem_of(
        _case_of(row, host, failure.model),
        japanese,
        url=url,
        host=host,
        port=port or 8585,
        status=failure.status,
        seconds=f"{round(failure.seconds, 1):g}",
        budget=f" (limit {budget})" if budget else "",
        model=f" “{model}”" if model else "",
        near=f": {near}" if near else "",
        words=f": “{words}”" if words else "",
        location=f" ({location})" if location else "",
    )


def _case_of(row: str, host: str, model: str) -> str:
    """The row for this very host or request, if the table has one."""
    case = "localhost" if host.lower() in _LOCAL_HOSTS else host
    if row == "unknown_model" and not model:
        case = "unnamed"
    named = f"{row}/{case}"
    return named if named in PROBLEMS else row


def _nearest(model: str, models: tuple[str, ...]) -> list[str]:
    """Up to three ids like the name. It compares their last parts: few people type the owner."""
    name, models = model[:_QUOTED_LENGTH] or "gpt-oss", models[:_MAX_COMPARED]
    wanted, *ends = (name.rpartition("/")[2].lower() for name in (name, *models))
    near = difflib.get_close_matches(wanted, ends, n=3, cutoff=0.5)
    alike = [name for name, end in zip(models, ends, strict=True) if end in near]
    return (alike or list(models))[:3]


def _quotable(body: str, secrets: list[str]) -> str:
    """The message of an error body on one line, cut to length; "" if it would not help a user."""
    message = _message(body)
    if _HTML.match(message) or "Traceback" in message:
        return ""
    line = _printable(" ".join(_without(secrets, message).split())).rstrip(".。 ")
    return line if len(line) <= _QUOTED_LENGTH else f"{line[:_QUOTED_LENGTH]}…"


def _printable(text: str) -> str:
    """The text without characters that could steer a terminal."""
    return "".join(filter(str.isprintable, text))


def _secrets_of(base_url: str, api_key: str) -> Iterator[str]:
    """The key as it was pasted and as it is sent; the same for the password of an address."""
    yield from filter(None, (api_key.strip(), "".join(api_key.split())))
    yield from (word for word in api_key.split() if len(word) > 3)
    if user := re.search(r"(?s)//(.*)@", base_url):
        plain = unquote(user[1])
        yield base64.b64encode(plain.encode("utf-8", "replace")).decode()
        yield from filter(None, (user[1].partition(":")[2], plain.partition(":")[2]))


def _without(secrets: list[str], text: str) -> str:
    """The text with the secrets blotted out."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return text


def _message(body: str) -> str:
    try:
        value = load_json(body)
    except ValueError:
        return body
    for name in ("error", "message", "detail"):
        value = as_object(value).get(name, value)
    return value if isinstance(value, str) else ""
