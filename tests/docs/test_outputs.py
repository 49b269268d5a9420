"""What counts as shown output, and when a block did not print it."""

from tests.docs.blocks import Block
from tests.docs.outputs import complaints, shown

SHELL = """
# 1. What comes is a heading
send GET /a
# {"a":1,"id":"…"}
# second

# another heading
send GET /b
"""
PYTHON = """
# a comment
print(balance)  # 3
x = 5  # a reason
# not shown
"""


def block(language: str, text: str) -> Block:
    """A block of a page."""
    return Block("a.md", 1, language, {}, text)


def test_what_is_shown() -> None:
    """In a shell below a command, in a program behind or below what prints."""
    assert shown(block("sh", SHELL)) == ['{"a":1,"id":"…"}', "second"]
    assert shown(block("python", PYTHON)) == ["3"]
    assert shown(block("ts", "console.log(a); // 1\n// 2\nf(); // no\n")) == ["1", "2"]


def test_what_was_printed() -> None:
    """In the order in which it is shown, with wildcards; more may be printed."""
    page = block("sh", SHELL)
    assert not complaints(page, 'x\n{"a":1,"id":"evt_1"}\r\nsecond\n{"b":2}\n')
    assert complaints(page, 'second\n{"a":1,"id":"evt_1"}\n')
    assert complaints(page, '{"a":2,"id":"evt_1"}\nsecond\n')
    assert complaints(page, "")


def test_a_problem_that_is_not_shown_is_a_failure() -> None:
    """A command that was refused does not fail by itself."""
    problem = '{"type":"/docs/errors#not_found","title":"Nothing"}'
    assert complaints(block("sh", "send GET /a\n"), problem)
    assert not complaints(block("sh", 'send GET /a\n# {"type":"/docs/errors#not_found",…}\n'), problem)
