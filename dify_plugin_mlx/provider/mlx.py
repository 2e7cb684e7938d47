"""The provider class that Dify's loader looks for."""

from dify_plugin import ModelProvider
from dify_plugin.entities.model import ModelType


class MlxHarmonyProvider(ModelProvider):
    """One mlx_lm.server."""

    def validate_provider_credentials(self, credentials: dict[str, object]) -> None:
        name = self.provider_schema.models[0].model
        self.get_model_instance(ModelType.LLM).validate_credentials(name, credentials)
