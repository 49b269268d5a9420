"""What a file of model requests may look like, and what is said of one that cannot be used."""

from hashlib import sha256
from pathlib import Path

import pytest

from app.replay import parsing
from app.replay.errors import ReplayError
from app.replay.parsing import Row, parse_trace, read_trace

HEADING = b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"


@pytest.mark.parametrize(
    "content",
    [
        HEADING + b"2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,0",
        b"\xef\xbb\xbfGeneratedTokens, ContextTokens\n44, 374\n\n0,396\n",
        b'TIMESTAMP,"ContextTokens",GeneratedTokens,Region\n"16 Nov,\n2023",374,"44",eu\n,396,0\n',
    ],
)
def test_rows_are_read_by_the_names_of_their_columns(content: bytes) -> None:
    """In any order, among others, quoted or not, with either end of line; a row spans lines, a blank line is none."""
    assert parse_trace(content) == (sha256(content).hexdigest(), [Row(0, 374, 44), Row(1, 396, 0)])


def test_a_limit_takes_rows_from_the_first_on() -> None:
    """The digest is the whole file's all the same, so that the rest may follow in another run."""
    content = HEADING + b"a,1,2\nb,3,4\nc,5,broken\n"
    assert parse_trace(content, 2) == (sha256(content).hexdigest(), [Row(0, 1, 2), Row(1, 3, 4)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1 is empty"),
        (b"\r\na,1,2\n", "line 1 is empty"),
        (HEADING, "no row after the first line"),
        (
            b"TIMESTAMP,ContextTokens\na,1\n",
            "line 1 names no column GeneratedTokens; it has 'TIMESTAMP, ContextTokens'",
        ),
        (b"x" * 200, f"it has '{'x' * 60}…'"),
        (HEADING + b"a,1,2\nb,many,2\n", "line 3: ContextTokens is 'many'; it must be a whole number"),
        (HEADING + b"a,1,-2\n", "line 2: GeneratedTokens is '-2'"),
        (HEADING + b"a,1.5,2\n", "line 2: ContextTokens is '1.5'"),
        (HEADING + b"a,1,\n", "line 2: GeneratedTokens is ''"),
        (HEADING + "a,1,٣\n".encode(), "line 2: GeneratedTokens is '٣'"),
        (HEADING + b"a,1000000001,2\n", "one event carries at most 1000000000"),
        (HEADING + b"a,1," + b"9" * 5000, "line 2: GeneratedTokens is '999"),
        (HEADING + b"a,1\n", "line 2 ends before GeneratedTokens: it has 2 of at least 3 fields"),
        (HEADING + b"\n\na,1\n", "line 4 ends before"),
        (HEADING + b"a,1,2\n\xff,1,2\n", "line 3: this is not UTF-8"),
        (HEADING + b'"a,1,2\n', "line 2: unexpected end of data"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_line(content: bytes, words: str) -> None:
    """One sentence: where, what stands there, what should."""
    with pytest.raises(ReplayError) as refused:
        parse_trace(content)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_largest_count_is_what_one_event_carries() -> None:
    """The API takes as much, so it is no error here."""
    assert parse_trace(HEADING + b"a,1000000000,2\n").rows == [Row(0, 1_000_000_000, 2)]


def test_a_file_is_named_where_it_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not there, a folder, too large, or wrong inside."""
    wrong = tmp_path / "wrong.csv"
    wrong.write_bytes(b"a,b\n")
    for path, words in [(tmp_path / "none.csv", "No such file"), (tmp_path, "directory"), (wrong, "line 1 names no")]:
        with pytest.raises(ReplayError, match=rf"{path.name}.*{words}"):
            read_trace(path)
    monkeypatch.setattr(parsing, "MAX_FILE_BYTES", 3)
    with pytest.raises(ReplayError, match="split it"):
        read_trace(wrong)
