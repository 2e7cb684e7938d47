"""The contract: manifest, provider and models as Dify's SDK, its daemon and its marketplace read them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dify_plugin.core.entities.plugin.setup import PluginConfiguration
from dify_plugin.entities.model import ModelFeature, ModelPropertyKey
from dify_plugin.entities.model.provider import FormType, ModelProviderConfiguration

from harmony_core.request import NUMBERS

ROOT = Path(__file__).parents[2]
MANIFEST = yaml.safe_load((ROOT / "manifest.yaml").read_text("utf-8"))
PROVIDER = yaml.safe_load(
    (ROOT / "dify_plugin_mlx/provider/mlx.yaml").read_text("utf-8")
)
MODELS = {
    path.stem: yaml.safe_load(path.read_text("utf-8"))
    for path in sorted((ROOT / "dify_plugin_mlx/models/llm").glob("gpt-oss-*.yaml"))
}
FORMS = {
    "provider": PROVIDER["provider_credential_schema"]["credential_form_schemas"],
    "model": PROVIDER["model_credential_schema"]["credential_form_schemas"],
}


def texts_of(value: object, path: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Every translated text in a YAML tree, with where it stands."""
    if isinstance(value, dict):
        if "en_US" in value:
            yield path, value
        for name, inner in value.items():
            yield from texts_of(inner, f"{path}/{name}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts_of(inner, f"{path}/{index}")


def test_the_sdk_loads_the_manifest() -> None:
    assert PluginConfiguration(**MANIFEST).plugins.models == [
        "dify_plugin_mlx/provider/mlx.yaml"
    ]


def test_the_sdk_loads_the_provider_with_both_models_in_order(
    provider: ModelProviderConfiguration,
) -> None:
    assert provider.provider == "mlx_harmony"
    assert {model.model for model in provider.models} == {"gpt-oss-20b", "gpt-oss-120b"}
    assert provider.position is not None
    assert provider.position.llm == ["gpt-oss-20b", "gpt-oss-120b"]


def test_every_path_in_manifest_and_provider_exists() -> None:
    python = PROVIDER["extra"]["python"]
    paths = [
        *MANIFEST["plugins"]["models"],
        python["provider_source"],
        *python["model_sources"],
    ]
    paths += [
        f"_assets/{MANIFEST['icon']}",
        f"_assets/{MANIFEST['icon_dark']}",
        MANIFEST["privacy"],
    ]
    paths += [
        f"_assets/{name}"
        for icon in ("icon_small", "icon_small_dark")
        for name in PROVIDER[icon].values()
    ]
    paths += [
        PROVIDER["models"]["llm"]["position"],
        f"{MANIFEST['meta']['runner']['entrypoint']}.py",
    ]
    assert [path for path in paths if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    "tree",
    [MANIFEST, PROVIDER, *MODELS.values()],
    ids=["manifest", "provider", *MODELS],
)
def test_every_text_is_there_in_english_japanese_and_chinese(tree: object) -> None:
    found = dict(texts_of(tree))
    assert found
    missing = [
        f"{path} {language}"
        for path, text in found.items()
        for language in ("en_US", "ja_JP", "zh_Hans")
        if not text.get(language, "").strip()
    ]
    assert missing == []


def test_the_manifest_speaks_portuguese_too() -> None:
    assert all(text["pt_BR"].strip() for _, text in texts_of(MANIFEST))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_has_at_most_twelve_fields_each_explained(
    form: list[dict[str, object]],
) -> None:
    assert 0 < len(form) <= 12
    assert all(field["label"] and field["placeholder"] for field in form)
    assert len({field["variable"] for field in form}) == len(form)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_no_field_is_a_switch_because_dify_drops_one_that_is_off(
    form: list[dict[str, object]],
) -> None:
    assert {field["type"] for field in form} <= {kind.value for kind in FormType} - {
        "switch"
    }


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_key_is_a_secret_and_only_the_url_is_needed(
    form: list[dict[str, object]],
) -> None:
    fields = {field["variable"]: field for field in form}
    assert fields["api_key"]["type"] == "secret-input"
    assert [name for name, field in fields.items() if field["required"]] == ["base_url"]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_defaults_are_texts_among_the_options(form: list[dict[str, object]]) -> None:
    for field in form:
        if "options" in field:
            assert field["default"] in [option["value"] for option in field["options"]]  # type: ignore[attr-defined]
        assert isinstance(field.get("default", ""), str)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_placeholder_of_a_choice_reads_like_its_default_since_dify_shows_it_so(
    form: list[dict[str, object]],
) -> None:
    for field in form:
        labels = {
            option["value"]: option["label"]
            for option in field.get("options", [])  # type: ignore[attr-defined]
        }
        if labels:
            assert field["placeholder"] == labels[field["default"]]


def test_the_models_are_chat_models_that_work_in_workflows_and_agents(
    provider: ModelProviderConfiguration,
) -> None:
    for model in provider.models:
        assert model.model_properties[ModelPropertyKey.MODE] == "chat"
        assert model.model_properties[ModelPropertyKey.CONTEXT_SIZE] == 131072
        assert set(model.features or []) == {
            ModelFeature.AGENT_THOUGHT,
            ModelFeature.TOOL_CALL,
            ModelFeature.MULTI_TOOL_CALL,
            ModelFeature.STREAM_TOOL_CALL,
            ModelFeature.STRUCTURED_OUTPUT,
        }


def test_the_models_differ_in_their_name_alone() -> None:
    small, large = MODELS["gpt-oss-20b"], MODELS["gpt-oss-120b"]
    names = ("model", "label")
    assert {k: v for k, v in small.items() if k not in names} == {
        k: v for k, v in large.items() if k not in names
    }
    assert set(small) == set(large)


def test_every_parameter_has_a_rule_since_dify_drops_the_others() -> None:
    rules = {rule["name"]: rule for rule in MODELS["gpt-oss-20b"]["parameter_rules"]}
    assert set(rules) == {
        "max_tokens",
        "reasoning_effort",
        "thinking",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "seed",
        "response_format",
        "json_schema",
    }
    assert all(rule["help"] for rule in rules.values())
    assert not any("use_template" in rule for rule in rules.values())
    assert (rules["max_tokens"]["default"], rules["temperature"]["default"]) == (
        8192,
        1.0,
    )
    assert rules["temperature"]["max"] == 2.0


def test_no_parameter_may_be_larger_than_what_is_sent() -> None:
    for rule in MODELS["gpt-oss-20b"]["parameter_rules"]:
        if "max" in rule:
            least, most = NUMBERS[rule["name"]]
            assert least <= rule["min"]
            assert rule["max"] <= most


def test_the_response_formats_switch_on_structured_output_and_not_the_prompt_rewriter() -> (
    None
):
    rules = {rule["name"]: rule for rule in MODELS["gpt-oss-20b"]["parameter_rules"]}
    assert rules["response_format"]["options"] == ["text", "json_object", "json_schema"]
    assert rules["json_schema"]["type"] == "text"


def test_there_is_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert MANIFEST["version"] == project["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", MANIFEST["version"])


def test_the_daemon_accepts_machine_and_runner() -> None:
    assert set(MANIFEST["meta"]["arch"]) == {"amd64", "arm64"}
    assert MANIFEST["meta"]["runner"] == {
        "language": "python",
        "version": "3.12",
        "entrypoint": "main",
    }


def test_the_readme_is_english_and_its_translations_are_not() -> None:
    english = (ROOT / "README.md").read_text("utf-8")
    assert len(re.findall("[\u3040-\u30ff\u4e00-\u9fff]", english)) < len(english) / 100
    assert re.search(
        "[\u3040-\u30ff]", (ROOT / "readme/README_ja_JP.md").read_text("utf-8")
    )
    assert re.search(
        "[\u4e00-\u9fff]", (ROOT / "readme/README_zh_Hans.md").read_text("utf-8")
    )


def test_the_japanese_readme_explains_every_label_since_dify_shows_them_in_english() -> (
    None
):
    readme = (ROOT / "readme/README_ja_JP.md").read_text("utf-8")
    rules = [rule for model in MODELS.values() for rule in model["parameter_rules"]]
    model_name = PROVIDER["model_credential_schema"]["model"]
    labels = [
        text
        for path, text in texts_of([*FORMS.values(), model_name, rules])
        if path.endswith("/label")
    ]
    assert len(labels) > 2 * len(rules)
    rows = {f"| {text['en_US']} | {text['ja_JP']} |" for text in labels}
    assert [row for row in rows if row not in readme] == []
