"""Each recipe is a valid spec that says what it is."""

from pathlib import Path

import pytest
from tuneforge_specs.errors import UsageError
from tuneforge_specs.loader import load
from tuneforge_specs.recipes import recipe, recipes


@pytest.mark.parametrize("name", recipes())
def test_loads_without_a_warning(name: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(recipe(name).text, encoding="utf-8")
    spec = load(path)
    assert spec.warnings == ()
    assert spec.spec.export, "a recipe ends with something to use"


@pytest.mark.parametrize("name", recipes())
def test_begins_with_what_it_is(name: str) -> None:
    found = recipe(name)
    assert found.text.startswith(f"# {found.summary}\n")
    assert 20 < len(found.summary) <= 100


def test_every_method_has_one() -> None:
    text = "".join(found.text for found in recipes().values())
    assert 'method = "sft"' in text
    assert 'method = "dpo"' in text
    assert 'kind = "full"' in text
    assert 'quantize = "nf4"' in text
    assert "[base.scratch]" in text
    assert "[sources" not in recipe("merge").text


def test_no_such_recipe() -> None:
    with pytest.raises(UsageError, match="there is no recipe `sft-lra`") as caught:
        recipe("sft-lra")
    assert caught.value.fix == "did you mean `sft-lora`?"
