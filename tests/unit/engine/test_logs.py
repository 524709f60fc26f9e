"""Reading logs in pieces, and their last lines."""

from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.backends import logfiles
from runyard.backends.base import Cursor, Handle, LogChunk
from runyard.engine.logs import LogReader, search, tail

lines = st.lists(
    st.text(st.characters(blacklist_characters="\n\r", blacklist_categories=["Cs"]), max_size=12), max_size=12
)


class Growing:
    """A job whose log grows between two looks."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces, self.text = pieces, b""

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[LogChunk]:
        if self.pieces:
            self.text += self.pieces.pop(0)
        start = cursor.get("attempts/1/log", 0)
        if self.text[start:]:
            yield LogChunk("attempts/1/log", start, self.text[start:])


@given(lines, st.data(), st.booleans())
def test_whole_lines_each_once_however_the_log_grows(wanted: list[str], data: st.DataObject, ends: bool) -> None:
    text = "\n".join(wanted).encode() + (b"\n" if ends and wanted else b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    backend = Growing(list(pieces))
    reader = LogReader(backend, Handle("x", "y", "z", "f"))  # type: ignore[arg-type]
    seen = [line for _ in pieces for _, line in reader.lines()]
    seen += [line for _, line in reader.lines(final=True)]
    assert seen == text.decode().split("\n")[: -1 if text.endswith(b"\n") or not text else None]


class Files:
    """A job whose logs are files here."""

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[LogChunk]:
        return logfiles.read(handle.folder, cursor)


def files(folder: Path) -> LogReader:
    return LogReader(Files(), Handle("x", "y", "z", str(folder)))  # type: ignore[arg-type]


def log(folder: Path, attempt: str, content: bytes, member: str = "") -> None:
    path = folder / "attempts" / attempt / member
    path.mkdir(parents=True, exist_ok=True)
    (path / "log").write_bytes(content)


@given(lines, st.integers(1, 5), st.booleans())
@settings(max_examples=50)
def test_tail(tmp_path_factory, wanted: list[str], count: int, newline: bool) -> None:
    folder = tmp_path_factory.mktemp("job")
    text = "\n".join(wanted) + ("\n" if newline else "")
    log(folder, "1", text.encode())
    expected = text.split("\n")
    if expected[-1] == "":
        expected.pop()
    assert tail(files(folder), count) == tuple(expected[-count:])


def test_tail_of_a_large_file_reads_its_end_only(tmp_path: Path) -> None:
    log(tmp_path, "1", b"".join(b"%d\n" % i for i in range(200_000)))
    assert tail(files(tmp_path), 2) == ("199998", "199999")


def test_streams_are_in_the_order_of_attempts_and_members(tmp_path: Path) -> None:
    for attempt, member in (("10", ""), ("2", ""), ("1", "b"), ("1", "a"), ("manual-7", "")):
        log(tmp_path, attempt, b"x", member)
    (tmp_path / "attempts" / "1" / "output").mkdir()
    (tmp_path / "attempts" / "1" / "output" / "log").write_text("a file of the user's, and no log")
    (tmp_path / "attempts" / "3").mkdir()
    assert logfiles.streams(str(tmp_path)) == [
        "attempts/1/a/log",
        "attempts/1/b/log",
        "attempts/2/log",
        "attempts/10/log",
        "attempts/manual-7/log",
    ]


def test_tail_shows_the_newest_attempt_by_member(tmp_path: Path) -> None:
    log(tmp_path, "1", b"old\n")
    log(tmp_path, "2", b"one\n", "a")
    log(tmp_path, "2", b"two\n", "b")
    assert tail(files(tmp_path), 5) == ("a | one", "b | two")
    assert tail(files(tmp_path), 5, attempt=1) == ("old",)


def test_a_truncated_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    log(tmp_path, "1", b"new")
    assert list(logfiles.read(str(tmp_path), {"attempts/1/log": 100})) == [("attempts/1/log", 0, b"new")]


def test_search(tmp_path: Path) -> None:
    log(tmp_path, "1", b"loss 3\nacc 1\nloss 2")
    assert [line for _, line in search(files(tmp_path), "^loss")] == ["loss 3", "loss 2"]
    assert len(list(search(files(tmp_path), None))) == 3


def test_a_progress_bar_shows_its_last_state(tmp_path: Path) -> None:
    log(tmp_path, "1", b"10%\r50%\r100%\r\nnext\n")
    assert tail(files(tmp_path), 5) == ("100%", "next")
