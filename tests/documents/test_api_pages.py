"""The pages that `make docs` writes from docstrings have every public name, and describe what a caller must know."""

import inspect
import re
import runpy
from importlib import import_module
from pathlib import Path

import pytest

from freelight.pipeline import CenterCrop

ROOT = Path(__file__).parents[2]
PAGES = runpy.run_path(str(ROOT / "docs/api_pages.py"))
"""The names of the hook."""


def words(text: str | None) -> str:
    return " ".join(re.findall(r"\w+", text or ""))


@pytest.mark.slow
@pytest.mark.parametrize("package", PAGES["PACKAGES"].values())
def test_a_page_has_each_public_name_with_its_docstring(package: str) -> None:
    sections = {
        part.partition("\n")[0]: part.partition("\n### ")[0] for part in PAGES["api_page"](package).split("\n## ")[1:]
    }
    names = import_module(package).__all__
    assert sections.keys() == set(names)
    for name in names:
        value, text = getattr(import_module(package), name), sections[name]
        assert "```python\n" in text
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name} has no docstring"
            assert words(inspect.getdoc(value)) in words(text.replace("&lt;", "<"))


def test_a_signature_is_that_of_the_source_and_arguments_are_a_list() -> None:
    signature, text, *_ = PAGES["describe"]("CenterCrop", CenterCrop, {})
    assert signature == (
        "```python\nCenterCrop(\n    *,\n    size: int = 224,\n    interpolation: Interpolation = 'bilinear',\n"
        "    resize: int | None = None,\n    crop_pct: float | None = None,\n)\n```"
    )
    assert text.startswith("The central square.\n\n* `resize`: first resize the shorter side to this many pixels; ")
    assert "\n* `crop_pct`: the crop's share" in text


def test_markdown_in_a_docstring_is_text() -> None:
    def power(base: int) -> int:
        """Return `2**base` or 2**base <or> so. base: a number."""
        return 2**base

    assert PAGES["prose"](power, {"base"}) == "Return `2**base` or 2\\*\\*base &lt;or> so.\n\n* `base`: a number."
