"""Settings can be found and kept: `--show-recipe` prints them, `--save-recipe` writes a file that `--recipe` reads."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from freelight.shards import FreelightError
from freelight.train import RECIPES, Header, Recipe
from freelight.train.cli import main
from freelight.train.recipes import described_settings, find_recipe, read_recipe, write_recipe

CHANGES = ["layer_rates=conv:0.123456789,fc10.weight:1", "learning_rate=1e-7", "lighting_off_epoch=3", "removed=conv3"]


def test_show_recipe_prints_every_setting_as_it_is_set_with_what_it_may_be_and_its_meaning() -> None:
    result = CliRunner().invoke(main, ["--show-recipe", "paper", "--set", CHANGES[0]])
    settings = re.sub(r"\n {30,}", " ", result.stdout.split("\n\n")[2])
    assert "crops = random                    (random, center) place of training crops\n" in settings
    assert "layer_rates = conv:0.123456789,fc10.weight:1.0  (numbers by layer, as conv:0.1,fc8:2) factors" in settings
    assert "sixth_conv = false                (true or false) adds a convolution after the last pooling\n" in settings
    recipe = RECIPES["paper"].override(CHANGES[:1])
    lines = [re.fullmatch(r"(\w+ = .*?) +\(.+?\) .+", line) for line in settings.splitlines()]
    assert None not in lines
    typed = [line[1].replace(" = ", "=", 1).replace(" =", "=") for line in lines if line]
    assert len(typed) == len(recipe.settings())
    assert RECIPES["source"].override(typed).settings() == recipe.settings(), "each line is what --set takes"


@pytest.mark.parametrize("name", RECIPES)
def test_a_saved_recipe_comes_back_whole_under_the_name_of_its_file(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name].override([*CHANGES[:-1], *([] if "cifar" in name else CHANGES[-1:])])
    write_recipe(recipe, tmp_path / "mine.toml")
    read = find_recipe(str(tmp_path / "mine.toml"))
    assert (read.name, read.settings()) == ("mine", recipe.settings())
    assert read.header.summary.startswith(f"{name}, with ")
    text = (tmp_path / "mine.toml").read_text()
    for key, (_, choices, meaning) in described_settings(recipe).items():
        assert re.search(rf"^{key} = .*# {re.escape(f'({choices}) {meaning}')}$", text, re.MULTILINE)


def test_the_command_saves_a_changed_recipe_and_shows_and_trains_by_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    saved = CliRunner().invoke(main, ["--recipe", "source", "--epochs", "12", "--save-recipe", str(file)])
    assert saved.stdout == f"{file}: source, with epochs=12; train --recipe {file} trains by it\n"
    shown = CliRunner().invoke(main, ["--show-recipe", str(file), "--set", "momentum=0.5"])
    assert shown.stdout.startswith("source, with epochs=12\n\nrescale ")
    assert "momentum = 0.5 " in shown.stdout
    described = CliRunner().invoke(main, ["--recipe", str(file), "--describe"])
    assert described.stdout.startswith("alexnet, 224 x 224 pixels")


def test_what_a_file_leaves_out_is_as_in_paper(tmp_path: Path) -> None:
    file = tmp_path / "short.toml"
    file.write_text(
        'name = "mine"\ndrop_epochs = [3, 4]\nlayer_rates = {conv = 0.5}\nmomentum = 0\n[header]\nnote = "x"\n'
    )
    read = read_recipe(file)
    assert read == Recipe(name="mine").override(["drop_epochs=3,4", "layer_rates=conv:0.5", "momentum=0"])
    assert read.header == Header(note="x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("widht = 3", r"x\.toml: 'widht=3': there is no setting widht; did you mean width\?"),
        ("crops = 'none'", r"x\.toml: 'crops=none': crops takes one of random, center"),
        ("batch_size = 1.5", r"x\.toml: 'batch_size=1.5': batch_size takes a whole number"),
        ("batch_size = 0", r"x\.toml: batch_size \(=0\) must be at least 1"),
        ("name = 3", r"x\.toml is not a recipe: name \(=3\) must be a string that is not empty"),
        ("[header]\nwords = ''", r"x\.toml is not a recipe: header\.words is unknown to this version"),
        ("[network]\nwidth = 0.5", r"x\.toml: 'network=width:0.5': there is no setting network"),
        ("momentum", r"x\.toml is not a recipe: Expected '='"),
        ("momentum = " + "[" * 5000, r"x\.toml is not a recipe: "),
        ("momentum = 0x" + "f" * 9999, r"x\.toml is not a recipe: "),
        ("#" * 99999, r"x\.toml has more than 65536 bytes"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line_that_names_it(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(content)
    with pytest.raises(FreelightError, match=message) as raised:
        read_recipe(tmp_path / "x.toml")
    assert "`" not in str(raised.value)


def test_a_name_that_is_no_recipe_is_said_with_the_nearest() -> None:
    with pytest.raises(FreelightError, match=r"`recipe` \(=sorce\) is neither .* \.toml; did you mean source\?"):
        find_recipe("sorce")
    result = CliRunner().invoke(main, ["--show-recipe", "missing.toml"])
    assert (result.exit_code, result.stderr) == (
        2,
        "error: there is no recipe missing.toml; --save-recipe writes one\n",
    )
