"""What the plugin's tests share: the SDK first, then a scripted server and the model class behind Dify."""

from __future__ import annotations

import dify_plugin  # isort: skip  (patches the process; must come before anything that opens sockets)

from pathlib import Path

import pytest
import yaml
from dify_plugin.entities.model.provider import ModelProviderConfiguration

from tests.dify.sdk_driver import Talk
from tests.server import ScriptedServer, models

assert dify_plugin

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def provider() -> ModelProviderConfiguration:
    """The provider as the SDK loads it; it looks for the models' files in the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return ModelProviderConfiguration(
            **yaml.safe_load(Path("dify_plugin_mlx/provider/mlx.yaml").read_text())
        )


@pytest.fixture
def server(server: ScriptedServer) -> ScriptedServer:
    """A server that lists one model and answers as the test says."""
    return server.models(models("mlx-community/gpt-oss-20b-MXFP4-Q8"))


@pytest.fixture
def talk(server: ScriptedServer, provider: ModelProviderConfiguration) -> Talk:
    """The plugin's model class, invoked as the SDK does it, against the scripted server."""
    return Talk(provider, {"base_url": server.base_url})
