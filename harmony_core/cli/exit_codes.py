"""Exit codes, so that scripts can tell the failures apart."""

from __future__ import annotations

OK = 0
UNEXPECTED_REPLY = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4
MODEL = 5
BROKEN_OFF = 6
INTERRUPTED_BY_USER = 130

_KINDS_OF_CODE: dict[int, tuple[str, ...]] = {
    UNREACHABLE: (
        "bad_url",
        "dns",
        "refused",
        "connect_timeout",
        "unreachable",
        "tls",
        "proxy",
    ),
    REFUSED: (
        "wrong_path",
        "unauthorized",
        "bad_key",
        "rate_limited",
        "redirect",
        "web_page",
        "not_a_reply",
        "bad_request",
        "too_large",
        "template_refused",
        "server_error",
        "bad_gateway",
    ),
    MODEL: (
        "no_model",
        "unknown_model",
        "model_not_loaded",
        "gpt_oss_unsupported",
        "lossy_server",
        "unstable_server",
        "out_of_memory",
    ),
    BROKEN_OFF: (
        "empty_reply",
        "dead_server",
        "silent",
        "stalled",
        "interrupted",
        "error_frame",
    ),
    UNEXPECTED_REPLY: ("cut_in_reasoning", "only_reasoning", "broken_call", "empty"),
}

_CODE_OF_KIND = {kind: code for code, kinds in _KINDS_OF_CODE.items() for kind in kinds}

EPILOG = (
    "Exit codes: 0 all is well · 1 the reply is not what was asked for · 2 wrong usage · "
    "3 the server cannot be reached · 4 the server refused · 5 trouble with the model or the version of "
    "mlx-lm · 6 the reply broke off · 130 stopped with Ctrl-C."
)


def exit_code(kind: str) -> int:
    """The exit code for a kind of problem."""
    return _CODE_OF_KIND[kind]
