"""A report's text shows what a browser must not act on, and can always be written as UTF-8."""

from freelight.train.inspection import html_page


def test_names_of_any_bytes_are_shown_and_not_acted_on() -> None:
    text = "<b>caf\udce9\u202e\x1b"
    page = html_page.page(text, [html_page.section(text, html_page.paragraph(text), html_page.table([[text]]))])
    assert page.encode().count(rb"&lt;b&gt;caf\udce9\u202e\u001b") == 6
    assert text not in page
