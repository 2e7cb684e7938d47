"""What servers, proxies and TLS libraries say when they refuse, and which row of the table that means.

The words are from the sources of the servers, or from public reports. `tests/corpus/server_words.json`
holds an example of each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .failures import Cause

# The status alone decides, whatever the body says.
ROW_OF_SURE_STATUS: Final[Mapping[int, str]] = {
    429: "rate_limited",
    **dict.fromkeys(range(300, 400), "redirect"),
    **dict.fromkeys((401, 403, 407), "unauthorized"),
}
# The status decides unless the body says more.
ROW_OF_STATUS: Final[Mapping[int, str]] = {
    413: "too_large",
    **dict.fromkeys((405, 501), "wrong_server"),
    **dict.fromkeys((502, 503, 504), "bad_gateway"),
}
# What error bodies of mlx_lm.server, chat templates, huggingface_hub, MLX, llama.cpp,
# vLLM, SGLang, Ollama and LM Studio say; the first match counts.
ROW_OF_WORDS: Final[Mapping[str, str]] = {
    "dead_server": "generation thread died",
    "endless_reply": r"a piece of the reply is longer than \d+ MiB",  # ChatStream says it
    "stream_defect": r"there is no stream\(",
    "batching_defect": r"\[broadcast_shapes\]",
    "gpt_oss_unsupported": "model type gpt_oss not supported",
    "no_model": "a model path has to be given|no models? (is |are )?loaded",
    "model_loading": r"(?<!error )(?<!failed )loading model"
    "|model is (still |currently )?(loading|being loaded)",
    "context_overflow": r"maximum (context|input|sequence) length|context[_ ]length[_ ]exceeded"
    r"|exceed\w* (the |its )?((maximum|max|model'?s?|available|allowed) )*(context|n_ctx)"
    "|exceed_context_size|context (size|length|window) (has been |was )?exceeded"
    "|context ?window ?exceeded"
    "|loaded with context length|greater than the context length|reached context length"
    r"|longer than the (maximum )?model'?s? (context|length)"
    "|prompt (is )?too (long|large)|context the overflows"
    "|reduce the length of the (messages|prompt|input)|max_new_tokens` must be",
    "template_refused": "(assistant|tool|system) message|has tool role|conversation roles"
    r"|message containing <\|channel|chat[ _]template"
    "|object' has no attribute|' is undefined|can only get item pairs",
    "out_of_memory": r"out ?of ?memory|insufficient memory|\[metal::malloc\]",
    "unknown_model/offline": "cannot find (an|the) (appropriate|requested)|offline mode"
    "|couldn['’]t connect to|local_?entry_?not_?found|outgoing traffic"
    r"|max retries exceeded|nodename nor servname|name resolution|name or service not known",
    "unknown_model": "repository not found|repo id must|local models must be relative"
    "|model_not_found|try pulling it|invalid model identifier|no such model|unknown model"
    r"|model [`'\"“]?\S{1,300}[`'\"”]? (was )?not found|model not found"
    "|the model .{1,300}? does not exist|is not a valid model",
    "model_not_loaded": r"model type \S+ not supported|no safetensors found|config\.json"
    "|failed to load model|error loading model",
}
# What OpenSSL and `requests` say about a failed handshake.
CAUSE_OF_TLS_WORDS: Final[Mapping[Cause, str]] = {
    "tls/http_only": "WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE|UNKNOWN_PROTOCOL"
    "|record layer failure|PACKET_LENGTH_TOO_LONG",
    "tls/ca_file": "NO_CERTIFICATE_OR_CRL_FOUND|PEM lib|No such file|invalid path"
    "|CA certificate bundle|NO_START_LINE|BAD_BASE64",
    "tls/certificate": "CERTIFICATE_VERIFY_FAILED|match certificate|doesn't match",
}
# How a server that speaks TLS answers plain http: in words, or with a TLS alert.
HTTPS_ONLY: Final = re.compile(
    r"(?i)http request to an https server|plain http request was sent to https"
    r"|speaking plain http to an ssl|^\x15\x03|b'\\x15\\x03"
)
