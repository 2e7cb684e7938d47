"""The model class that Dify's loader looks for; the work is done in other modules.

The loader executes this file a second time without registering it, so it keeps no state and defines
nothing else (dify.md, What lies where).
"""

from collections.abc import Mapping

from dify_plugin import LargeLanguageModel
from dify_plugin.entities.model import AIModelEntity
from dify_plugin.entities.model.llm import LLMUsage
from dify_plugin.entities.model.message import PromptMessage, PromptMessageTool
from dify_plugin.errors.model import CredentialsValidateFailedError, InvokeError
from gevent import Timeout

from dify_plugin_mlx.convert import (
    dify_error,
    language_of_messages,
    plan_reply,
    request_of,
)
from dify_plugin_mlx.loaded_model import check_server
from dify_plugin_mlx.phrases import UserError, in_both_languages
from dify_plugin_mlx.reply import Chunks, stream_reply, whole_reply
from dify_plugin_mlx.settings import CHECK_LIMIT, Settings, custom_schema
from dify_plugin_mlx.tokens import prompt_tokens
from harmony_core.client import ServerError
from harmony_core.jsontext import JsonObject
from harmony_core.problems import problem_of


class MlxHarmonyModel(LargeLanguageModel):
    """gpt-oss behind mlx_lm.server."""

    def _invoke(
        self,
        model: str,
        credentials: dict[str, object],
        prompt_messages: list[PromptMessage],
        model_parameters: JsonObject,
        tools: list[PromptMessageTool] | None = None,
        stop: list[str] | None = None,
        stream: bool = True,
        user: str | None = None,
    ) -> Chunks:
        """Yield the reply. All errors are raised in the generator, where the SDK leaves them as they are."""
        try:
            settings = Settings.read(credentials)
            plan = plan_reply(
                self._model_id(model, settings),
                settings,
                prompt_messages,
                model_parameters,
                tools or [],
                stop or [],
            )
        except UserError as error:
            language = language_of_messages(prompt_messages)
            raise dify_error(error.problem, language) from None

        def count(prompt: int, completion: int) -> LLMUsage:
            return self._calc_response_usage(model, credentials, prompt, completion)

        chunks = stream_reply(model, settings.client(), plan, count)
        yield from chunks if stream else whole_reply(chunks, plan.language)

    def validate_credentials(
        self, model: str, credentials: Mapping[str, object]
    ) -> None:
        problem = problem_of("silent/check", seconds=f"{CHECK_LIMIT:g}")
        try:
            settings = Settings.read(credentials)
            model_id = self._model_id(model, settings)
            # The client keeps the limit, but nothing limits how long a name is looked up.
            with Timeout(CHECK_LIMIT + 1, False):
                check_server(settings.client(), model_id, model, CHECK_LIMIT)
                return
        except (UserError, ServerError) as error:
            problem = error.problem
        raise CredentialsValidateFailedError(in_both_languages(problem)) from None

    def get_customizable_model_schema(
        self, model: str, credentials: Mapping[str, object]
    ) -> AIModelEntity:
        return custom_schema(
            self.predefined_models()[0], model, Settings.read(credentials)
        )

    def get_num_tokens(
        self,
        model: str,
        credentials: dict[str, object],
        prompt_messages: list[PromptMessage],
        tools: list[PromptMessageTool] | None = None,
    ) -> int:
        return prompt_tokens(request_of(prompt_messages, tools or []))

    def _model_id(self, model: str, settings: Settings) -> str:
        """What the server is asked for. The two predefined names stand for the model that it has loaded."""
        predefined = any(schema.model == model for schema in self.predefined_models())
        return settings.model_id or ("" if predefined else model)

    @property
    def _invoke_error_mapping(self) -> dict[type[InvokeError], list[type[Exception]]]:
        return {}  # `_invoke` raises Dify's own errors
