import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import Recipe, load

ROOT = Path(__file__).resolve().parent.parent
BAD = ROOT / "tests" / "bad_recipes"
GOOD = "name: x\nmodel: {factory: m.py:build}\ndata: {npz: d.npz}\ntargets: [{board: native}]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.py").touch()
    (tmp_path / "d.npz").touch()
    return tmp_path


@pytest.mark.parametrize("name", ["net.tflite", "net.keras", "net.h5"])
def test_a_model_in_the_place_of_a_recipe_is_told_from_one(name: str, folder: Path) -> None:
    with pytest.raises(RecipeError, match=rf"{name}: a model; a recipe is a YAML file that names one") as caught:
        load(folder / name)
    assert "`tensorflash verify`" in (caught.value.hint or "")


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in BAD.glob("*.yaml")))
def test_a_bad_recipe_is_refused_with_its_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(RecipeError) as caught:
        load(Path(f"{name}.yaml"))
    message = str(caught.value).replace(f"{BAD}{os.sep}", "")
    assert message + "\n" == Path(f"{name}.expected").read_text(encoding="utf-8")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("section", "scale", "offset"),
    [
        ("{raw: uint8}", (1.0,), (0.0,)),
        ("{raw: uint8, scale: 0.0625}", (0.0625,), (0.0,)),
        ("{raw: int16, scale: [0.5, 2], offset: -1}", (0.5, 2.0), (-1.0,)),
        ("{raw: uint8, mean: [127.5, 0, 51], std: [127.5, 255, 51]}", (1 / 127.5, 1 / 255, 1 / 51), (-1.0, 0.0, -1.0)),
        ("{raw: uint8, range: [-1, 1]}", (2 / 255,), (-1.0,)),
        ("{raw: float32, mean: 2, std: 4}", (0.25,), (-0.5,)),
    ],
)
def test_every_way_to_state_the_input_becomes_one_formula(
    section: str, scale: tuple[float, ...], offset: tuple[float, ...], folder: Path
) -> None:
    contract = load(write(folder, f"{GOOD}input: {section}\n")).contract
    assert contract is not None and contract.layout == "channels_last"
    assert contract.scale == tuple(float(np.float32(value)) for value in scale)
    assert contract.offset == offset


def test_every_expected_message_has_its_recipe() -> None:
    recipes = {path.stem for path in BAD.glob("*.yaml")}
    assert len(recipes) >= 25
    assert {path.stem for path in BAD.glob("*.expected")} == recipes


def test_the_digits_example_is_read() -> None:
    recipe = load(ROOT / "examples" / "digits" / "recipe.yaml")
    assert recipe.name == "digits"
    assert recipe.model.factory is not None
    assert recipe.model.factory.path == ROOT / "examples" / "digits" / "model.py"
    assert recipe.train is not None and recipe.train.learning_rate == 0.002
    assert [target.board for target in recipe.targets] == ["native", "qemu_cortex_m4"]
    assert recipe.source == ROOT / "examples" / "digits" / "recipe.yaml"


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir()))
def test_every_example_is_read_and_its_readme_says_how_it_is_run(example: str) -> None:
    folder = ROOT / "examples" / example
    assert load(folder / "recipe.yaml").name == example
    assert f"tensorflash run examples/{example}/recipe.yaml" in (folder / "README.md").read_text(encoding="utf-8")


def test_paths_are_relative_to_the_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, GOOD)
    monkeypatch.chdir(folder.parent)
    recipe = load(Path(folder.name) / "recipe.yaml")
    assert recipe.data is not None and recipe.data.npz == folder / "d.npz"


def test_defaults_are_filled_in(folder: Path) -> None:
    recipe = load(write(folder, GOOD))
    assert recipe.train is None and recipe.gate is None
    assert recipe.quantization.method == "qat"
    assert recipe.targets[0].runtime == "aot"
    assert (recipe.verify.samples, recipe.verify.layer_samples, recipe.verify.test_set) == (100, 10, True)


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-03", ".1e-2"])
def test_a_number_in_scientific_notation_is_a_number(folder: Path, text: str) -> None:
    recipe = load(write(folder, f"{GOOD}train: {{epochs: 1, learning_rate: {text}}}\n"))
    assert recipe.train is not None and recipe.train.learning_rate == pytest.approx(0.001, rel=1e-15)


def test_a_quoted_number_is_text(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe.yaml:5: train.learning_rate is '1e-3': should be a valid number"):
        load(write(folder, f"{GOOD}train: {{epochs: 1, learning_rate: '1e-3'}}\n"))


def test_every_mistake_is_reported_at_once_in_the_order_of_the_lines(folder: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(write(folder, f"{GOOD}seed: -1\nthreads: 0\nlables: []\n"))
    assert [line.split(":")[1] for line in caught.value.message.splitlines()] == ["5", "6", "7"]
    assert caught.value.hint == "'labels' instead of 'lables'."


def test_a_recipe_cannot_be_changed(folder: Path) -> None:
    recipe = load(write(folder, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "y"  # type: ignore[misc]


def test_an_exponential_bomb_is_refused(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(RecipeError, match=r"recipe.yaml:2: alias \*a0"):
        load(write(folder, "\n".join(lines)))


def test_deep_nesting_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match="nested too deeply"):
        load(write(folder, "a: " + "[" * 5000))


def test_a_merge_key_is_an_unknown_key(folder: Path) -> None:
    with pytest.raises(RecipeError, match="the recipe has no key '<<'"):
        load(write(folder, GOOD + "<<: {seed: 3}\n"))


def test_a_huge_file_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match="more than 262,144 bytes"):
        load(write(folder, "#" * 300_000))


def test_a_file_that_is_not_text_is_refused_with_its_line(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe.yaml:2: not UTF-8"):
        load(write(folder, b"name: x\nmodel: \xff\xfe\n"))


def test_a_control_character_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match="not valid YAML"):
        load(write(folder, b"name: \x00\n"))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent.yaml: no such file"):
        load(tmp_path / "absent.yaml")


def test_a_folder_is_not_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a folder; a recipe file is needed"):
        load(tmp_path)


def test_weights_need_a_factory(folder: Path) -> None:
    (folder / "w.h5").touch()
    (folder / "k.h5").touch()
    text = GOOD.replace("{factory: m.py:build}", "{keras: k.h5, weights: w.h5}")
    with pytest.raises(RecipeError, match="weights belong to a factory"):
        load(write(folder, text))


def test_the_json_schema_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "write_schema.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_json_schema_knows_every_section_and_no_other_key() -> None:
    schema = json.loads((ROOT / "docs" / "recipe.schema.json").read_text(encoding="utf-8"))
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["additionalProperties"] is False
    assert all(section["additionalProperties"] is False for section in schema["$defs"].values())


def test_the_documentation_names_every_key() -> None:
    schema = json.loads((ROOT / "docs" / "recipe.schema.json").read_text(encoding="utf-8"))
    text = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    sections = {
        "model": "ModelSource",
        "data": "DataSource",
        "input": "InputOptions",
        "train": "TrainOptions",
        "quantize": "QuantizeOptions",
        "quantize.quantizers[]": "QuantizerOptions",
        "convert": "ConvertOptions",
        "gate": "Gate",
        "targets[]": "Target",
        "verify": "VerifyOptions",
        "edgetpu": "EdgeTpuSection",
    }
    keys = {f"{name}.{key}" for name, section in sections.items() for key in schema["$defs"][section]["properties"]}
    keys |= set(schema["properties"]) - {name.removesuffix("[]") for name in sections}
    assert len(keys) > 20
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_a_board_file_of_ones_own_is_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"")
    (tmp_path / "mine.toml").write_text("")
    (tmp_path / "recipe.yaml").write_text("name: r\nmodel: {tflite: net.tflite}\ntargets: [{board: mine.toml}]\n")
    assert load(tmp_path / "recipe.yaml").targets[0].board == str(tmp_path / "mine.toml")
    (tmp_path / "mine.toml").unlink()
    with pytest.raises(RecipeError, match=r"targets\[0\]\.board is 'mine.toml'"):
        load(tmp_path / "recipe.yaml")
