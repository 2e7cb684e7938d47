"""A PostgreSQL with pgvector and a server of embeddings, for the search of Open WebUI 0.12.4."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.pipe.openwebui import install
from tests.server.embeddings import EmbeddingServer
from tests.support.postgres import postgres


@contextlib.contextmanager
def installed_postgres() -> Iterator[Path]:
    """A copy of the PostgreSQL from Open WebUI's environment, which any user of the system can read.

    PostgreSQL does not run as root, and its user may not see into the folder of a checkout.
    """
    # The package, and beside it the libraries that its programs look for there.
    packages = install("0.12.4").glob("lib/*/site-packages/*pgserver*")
    with tempfile.TemporaryDirectory(prefix="pgvector-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for package in packages:
            shutil.copytree(package, folder / package.name, symlinks=True)
        (home,) = folder.glob("*/pginstall18")
        yield home


@contextlib.contextmanager
def knowledge_store() -> Iterator[dict[str, str]]:
    """Start both; yields the settings of an `OpenWebUi` that uses them."""
    with (
        installed_postgres() as home,
        EmbeddingServer() as embeddings,
        postgres(home, "webui") as port,
    ):
        yield {
            "BYPASS_EMBEDDING_AND_RETRIEVAL": "False",
            "VECTOR_DB": "pgvector",
            "PGVECTOR_DB_URL": f"postgresql://webui@127.0.0.1:{port}/postgres",
            "RAG_OPENAI_API_BASE_URL": embeddings.base_url,
            "RAG_OPENAI_API_KEY": "none",
            "RAG_TOP_K": "1",  # only the nearest text, so that a test sees which one was found
        }
