"""Text of records stays text."""

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from wellread_hf.hub.cards.text import code, duration, fence, markdown, plain, without_places

PARSER = MarkdownIt("commonmark").enable("table")
NASTY = (
    "<script>alert(1)</script>",
    "[click](https://example.org)",
    "![x](https://example.org/x.png)",
    "https://example.org www.example.org a@example.org",
    "a | b || c",
    "``` \n---\nlicense: mit\n---\n# heading",
    "`x` ``y`` ```z```",
    "`",
    "|`|",
    "&lt;b&gt; &#60;b&#62;",
    "*a* _b_ __c__ ~~d~~ $$e$$ \\(f\\)",
    "\\",
    "\\|",
    "]]> <!-- --> <a href='x'>",
    "- a\n+ b\n1. c\n> d",
    "\ud800\x00\u202e\u2028\x85",
    "{{ facts }} {% raw %}",
    "'\": {}[]?!@%*&#,- : yaml",
)
TEXTS = st.sampled_from(NASTY) | st.text(max_size=40) | st.text("`|<>[]()*_\\&#:! \na-", max_size=30)


def inline(text: str) -> list[tuple[str, str]]:
    (token,) = [token for token in PARSER.parse(text) if token.type == "inline"]
    return [(child.type, child.content) for child in token.children or []]


@settings(derandomize=True, deadline=None)
@given(TEXTS)
def test_text_is_shown_as_it_is(text: str) -> None:
    children = inline(f"a {markdown(text)} z")
    assert {kind for kind, _ in children} <= {"text", "text_special"}
    assert " ".join("".join(content for _, content in children).split()) == f"a {plain(text)} z".replace(
        "  ", " "
    )


@settings(derandomize=True, deadline=None)
@given(TEXTS)
def test_inline_code_is_shown_as_it_is(text: str) -> None:
    children = inline(f"a {code(text)} z")
    assert {kind for kind, _ in children} <= {"text", "text_special", "code_inline"}
    assert " ".join("".join(content for _, content in children).split()) == f"a {plain(text)} z".replace(
        "  ", " "
    )


@settings(derandomize=True, deadline=None)
@given(TEXTS, st.sampled_from([markdown, code]))
def test_a_cell_stays_one_cell(text: str, escape: object) -> None:
    cell = escape(text)  # type: ignore[operator]
    assert "|" not in cell
    assert "\n" not in cell
    tokens = PARSER.parse(f"| a | b |\n|---|---|\n| {cell} | 1 |\n")
    assert [token.type for token in tokens].count("td_open") == 2


@settings(derandomize=True, deadline=None)
@given(TEXTS)
def test_a_fence_ends_where_it_should(text: str) -> None:
    opened, following = [
        token
        for token in PARSER.parse(fence(text, "bash") + "\n\nafter\n")
        if token.type in ("fence", "inline")
    ]
    assert opened.type == "fence"
    assert opened.info == "bash"
    assert opened.content.splitlines() == ([plain(line) for line in text.splitlines()] or [""])
    assert following.content == "after"


def test_words_and_numbers_stay_readable() -> None:
    assert markdown("0.001, linear, warm-up 3%") == "0.001, linear, warm-up 3%"
    assert markdown("me/x_y") == "me&#47;x&#95;y"
    assert code("a`b") == "``a`b``"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (1980, "33 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("/home/reader/data/my.csv", "my.csv"),
        ("~/data/my.csv", "my.csv"),
        ("~reader", "reader"),
        ("../../other/my.csv", "my.csv"),
        ("data/../../my.csv", "my.csv"),
        ("--runs=/home/reader/runs/", "--runs=runs"),
        ("/home/reader/a,b.txt,column=text,split=train", "a,b.txt,column=text,split=train"),
        ("/data/a b/my.csv", "my.csv"),
        (r"C:\Users\reader\my.csv", "my.csv"),
        ("file:///home/reader/my.csv", "my.csv"),
        ("reader@node17:/data/my.csv", "my.csv"),
        ("ray://node17:10001", "ADDRESS"),
        ("node17:6379", "ADDRESS"),
        ("..", "PATH"),
        ("/", "PATH"),
        *((kept, kept) for kept in (
            "pf.py", "--task.name", "google/bert_uncased_L-2_H-128_A-2", "MY-NAME/bert@main", "data/my.csv",
            "runs/finetune-x-0a1b2c", "wikimedia/wikipedia,config=20231101.en", "--epochs=3", "3e-4", "1:3",
            "./my.csv", "--no-send", "0.9", "1:12",
        )),
    ],
)  # fmt: skip
def test_a_command_line_names_no_place_of_a_machine(word: str, shown: str) -> None:
    assert without_places(shlex.join(["pf.py", word])) == f"pf.py {shown}"
