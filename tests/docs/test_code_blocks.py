"""Every code block that people read works: the README and the documentation are executed, page by page."""

import textwrap

import pytest

import code_blocks
from code_blocks import EXECUTED, ROOT, Block

PAGES = {str(path.relative_to(ROOT)): path for path in code_blocks.pages()}
BLOCKS = {name: code_blocks.blocks_of(path.read_text(), name) for name, path in PAGES.items()}
SKIPPED = [block for blocks in BLOCKS.values() for block in blocks if block.verb == "skip"]


@pytest.mark.parametrize(
    "page", [name for name, blocks in BLOCKS.items() if any(b.language in EXECUTED for b in blocks)]
)
def test_page(page: str) -> None:
    problem = code_blocks.execute_page(BLOCKS[page])
    if problem:
        pytest.fail(problem, pytrace=False)


@pytest.mark.parametrize("block", SKIPPED, ids=lambda block: block.where)
def test_skipped_blocks_say_why(block: Block) -> None:
    assert block.value, f"{block.where}: docs-test: skip needs a reason in parentheses"
    pytest.skip(f"{block.where}: {block.value}")


def page(text: str) -> list[Block]:
    return code_blocks.blocks_of(textwrap.dedent(text), "page.md")


def test_blocks_are_found_with_their_marks() -> None:
    blocks = page("""
        <!-- docs-test: skip (needs a cluster) -->
        ```bash
        sbatch x
        ```

        <!-- docs-test: file conf/a.toml -->

        ```toml
        a = 1
        ```

        1. A list item.
           ```python {other}
           if True:
               x = 1
           ```

        ````markdown
        ```python
        not a block
        ```
        ````
    """)
    assert [(b.language, b.verb, b.value, b.space) for b in blocks] == [
        ("bash", "skip", "needs a cluster", ""),
        ("toml", "file", "conf/a.toml", ""),
        ("python", "", "", "other"),
        ("markdown", "", "", ""),
    ]
    assert blocks[2].text == "if True:\n    x = 1\n"
    assert blocks[0].line == 3


def test_python_blocks_share_a_namespace_and_a_folder_with_bash() -> None:
    blocks = page("""
        ```python
        x = 1
        ```
        ```python {other}
        assert "x" not in globals()
        ```
        ```console
        $ echo hello \\
        >   world > greeting
        ignored output
        ```
        ```python
        x += 1
        assert open("greeting").read() == "hello world\\n"
        assert __name__ == "__main__" and "__file__" not in globals()
        ```
        <!-- docs-test: file s.py -->
        ```python
        raise SystemExit(3)
        ```
        <!-- docs-test: exit 3 -->
        ```bash
        python s.py
        ```
    """)
    assert code_blocks.execute_page(blocks) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```python\nprint('before')\n1 / 0\n```", ["page.md:1: failed", "before", "ZeroDivisionError"]),
        ("```bash\nfalse\n```", ["page.md:1: exit code 1, not 0"]),
        ("```bash\nfalse | true\n```", ["page.md:1: exit code 1, not 0"]),
        ("```python\nimport os; os._exit(1)\n```", ["page.md:1: ended"]),
    ],
)
def test_a_failing_block_is_told(text: str, said: list[str]) -> None:
    problem = code_blocks.execute_page(page(text))
    assert all(words in problem for words in said), problem
