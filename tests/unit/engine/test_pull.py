"""Which files a pull means, and what it does with them here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.backends.fetching import Entry, HereFetcher, Listing, Progress
from runyard.engine import choose
from runyard.engine.choose import Chosen, Item, Wanted
from runyard.engine.pull import BATCH, Found, Pulled, _Puller, batches
from runyard.errors import ConfigError, RunyardError, TunnelError

# -- choosing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "matched"),
    [
        ("**", ["a.txt", ".hidden", "sub/b.txt", "sub/.h/c", "x y", "n\nl", "[1].txt", ".git/HEAD"]),
        ("*.txt", ["a.txt", "[1].txt"]),
        ("**/*.txt", ["a.txt", "sub/b.txt", "[1].txt"]),
        ("sub", ["sub/b.txt", "sub/.h/c"]),
        ("sub/", ["sub/b.txt", "sub/.h/c"]),
        ("./sub/*", ["sub/b.txt", "sub/.h/c"]),
        ("sub/**/c", ["sub/.h/c"]),
        ("a.txt .hidden", ["a.txt", ".hidden"]),
        ("'x y'", ["x y"]),
        (["x y", "n\nl"], ["x y", "n\nl"]),
        ("[1].txt", ["[1].txt"]),
        ("?.txt", ["a.txt"]),
        ("A.txt", []),
        ("b.txt", []),
    ],
)
def test_patterns(patterns: str | list[str], matched: list[str]) -> None:
    names = ["a.txt", ".hidden", "sub/b.txt", "sub/.h/c", "x y", "n\nl", "[1].txt", ".git/HEAD"]
    matches = Wanted.of(patterns).matching()
    assert [n for n in names if matches(n)] == matched


@pytest.mark.parametrize("patterns", ["", [], "/etc/passwd", "../x", "a/../../x", "~/x", ["a", "b/../c"], ["a\0b"]])
def test_patterns_that_cannot_be_meant(patterns: str | list[str]) -> None:
    with pytest.raises(ConfigError) as e:
        Wanted.of(patterns)
    assert e.value.hint


@given(st.text(alphabet="ab/*?[]. ", min_size=1, max_size=12), st.text(alphabet="ab/.", min_size=1, max_size=8))
def test_all_that_matches_lies_below_the_starts(pattern: str, name: str) -> None:
    try:
        wanted = Wanted.of([pattern])
    except ConfigError:
        return
    path = "/".join(part for part in name.split("/") if part not in ("", ".", ".."))
    if path and wanted.matching()(path):
        starts = wanted.starts()
        plain = "/".join(part for part in pattern.split("/") if part not in ("", "."))
        assert any(s == "." or path == s or path.startswith(s + "/") for s in starts) or path == plain


def listing(*entries: Entry, root: str = "/r", problems: Sequence[str] = ()) -> Listing:
    return Listing(root, {e.name: e for e in entries}, tuple(problems))


def test_files_of_one_attempt_are_chosen_and_placed() -> None:
    seen = listing(
        Entry("1", "d"),
        Entry("1/output/a", "f", 3),
        Entry("1/output/d", "d"),
        Entry("1/output/pipe", "p"),
        Entry("1/log", "f"),
        Entry("2/output/b", "f"),
        problems=["find: './1/output/x': Permission denied"],
    )
    chosen = choose.choose(seen, Wanted(("**",)), "1/output/", "new/")
    assert [(i.entry.name, i.place) for i in chosen.items] == [("1/output/a", "new/a")]
    assert set(chosen.near) == {"a", "d", "pipe"}
    assert "Permission denied" in chosen.warnings[0]


@pytest.mark.parametrize(
    ("path", "target", "link"),
    [
        ("l", "a", "a"),
        ("l", "./a/b", "./a/b"),
        ("d/l", "../a", "../a"),
        ("d/e/l", "../../a", "../../a"),
        ("l", "/r/o/a/b", "a/b"),
        ("d/l", "/r/o/a", "../a"),
        ("l", "..", ""),
        ("l", "../o/a", ""),
        ("d/l", "../../x", ""),
        ("l", "/etc/passwd", ""),
        ("l", "/r/other", ""),
        ("l", "/r/o/../x", ""),
        ("l", "d/../a", ""),  # where d is a link, this leads anywhere
        ("l", "a b\n'", "a b\n'"),
    ],
)
def test_links_that_stay_inside(path: str, target: str, link: str) -> None:
    assert choose.inner_link(path, target, "/r/o") == link
    seen = listing(Entry(f"o/{path}", "l", target=target))
    chosen = choose.choose(seen, Wanted(("**",)), "o/")
    assert [i.link for i in chosen.items] == ([link] if link else [])
    assert bool(chosen.warnings) is not bool(link)
    assert choose.choose(seen, Wanted(("**",)), "o/", in_place=True).items[0].link == target


def test_attempts() -> None:
    names = ["10", "2", "2.0", "2.11", "2.3", "manual-77", ".ry-1", "1", "0", "x.1", "3.", "²"]
    seen = listing(*(Entry(n, "d") for n in names), Entry("12", "f"))
    present = choose.attempts_in(seen)
    assert present == ["1", "2", "2.0", "2.3", "2.11", "10"]
    assert choose.folders_of(present, None) == ["10"]
    assert choose.folders_of(present, 2) == ["2", "2.0", "2.3", "2.11"]
    assert choose.folders_of(present, 3) == []
    assert choose.attempts_in(None) == []


def test_a_near_name() -> None:
    assert choose.nearest(Wanted(("outptus/**",)), ["inputs", "outputs", "x"]) == "outputs"
    assert choose.nearest(Wanted(("qqq",)), ["inputs"]) == ""


def test_summaries() -> None:
    files = tuple(Path(str(n)) for n in range(12))
    assert (
        Pulled(Path("x"), "h:x", files, 3, 1_200_000).summary() == "pulled 3 of 12 files, 1.2 MB; 9 were here already"
    )
    assert Pulled(Path("x"), "h:x", files[:1], 1, 10).summary() == "pulled 1 of 1 file, 10 B"
    assert Pulled(Path("x"), "h:x").summary() == "nothing to pull from h:x"


# -- bringing ----------------------------------------------------------------------------------


class Counting(HereFetcher):
    """Counts what is fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.calls = 0

    def fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
        self.fetched += names
        self.calls += 1
        return super().fetch(folder, names, into, progress)


def found(fetcher: HereFetcher, folder: Path) -> Found:
    seen = fetcher.look(str(folder), ["."])
    assert seen is not None
    return Found(str(folder), str(folder), choose.choose(seen, Wanted(("**",))))


def bring(fetcher: HereFetcher, there: Path, here: Path, at_once: int = BATCH) -> Pulled:
    return _Puller(fetcher, found(fetcher, there), here, here, None, at_once).run()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    (folder / "d").mkdir(parents=True)
    (folder / "a").write_text("1")
    (folder / "d" / "b").write_text("22")
    (folder / "d" / "l").symlink_to("../a")
    (folder / "d" / "b").chmod(0o750)
    return folder


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".ry-*"))


def test_only_what_is_new_is_fetched(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    first = bring(Counting(), there, here)
    assert (first.fetched, first.size) == (3, 3)
    assert list(first.files) == [here / "a", here / "d/b", here / "d/l"]
    assert os.readlink(here / "d/l") == "../a"
    assert (here / "d/b").stat().st_mode & 0o777 == 0o750
    again = bring(fetcher := Counting(), there, here)
    assert (again.fetched, again.files, fetcher.calls) == (0, first.files, 0)

    (there / "d" / "b").write_text("33")  # as large as before
    (there / "d" / "l").unlink()
    (there / "d" / "l").symlink_to("b")
    (there / "new").write_text("")
    third = bring(fetcher := Counting(), there, here)
    assert (third.fetched, sorted(fetcher.fetched)) == (3, ["d/b", "new"])
    assert (here / "d/b").read_text() == "33"
    assert os.readlink(here / "d/l") == "b"
    assert leftovers(here) == []


def test_what_was_changed_here_is_fetched_again(there: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    bring(Counting(), there, here)
    (here / "a").write_text("mine")
    assert bring(Counting(), there, here).fetched == 1
    assert (here / "a").read_text() == "1"


def test_an_interruption_leaves_whole_files_only(there: Path, tmp_path: Path) -> None:
    class Breaking(Counting):
        def fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
            if self.calls:
                into.mkdir()
                (into / names[0].rpartition("/")[2]).write_text("half")
                raise TunnelError("lost")
            return super().fetch(folder, names, into, progress)

    here = tmp_path / "here"
    with pytest.raises(TunnelError, match="lost"):
        bring(Breaking(), there, here, at_once=1)
    files = [p for p in here.rglob("*") if p.is_file()]
    assert len(files) == 1, "what had arrived stays"
    assert files[0].read_bytes() == (there / files[0].relative_to(here)).read_bytes()
    assert leftovers(here) == []
    assert bring(Counting(), there, here).fetched == 2


def test_what_never_arrives_is_told_and_left_out(there: Path, tmp_path: Path) -> None:
    class Vanishing(Counting):
        def fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
            (there / "d" / "b").unlink(missing_ok=True)
            return super().fetch(folder, names, into, progress)

    done = bring(fetcher := Vanishing(), there, tmp_path / "here")
    assert [p.name for p in done.files] == ["a", "l"]
    assert done.fetched == 2
    assert "d/b" in done.warnings[0]
    assert "No such file" in done.warnings[0]
    assert fetcher.calls == 3, "it is tried again, in case it was only cut short"


def test_nothing_here_is_replaced_by_something_else(there: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for make in (
        lambda p: (p / "d").symlink_to(outside),
        lambda p: (p / "d").write_text("mine"),
        lambda p: (p / "a").mkdir(),
    ):
        here = tmp_path / f"here{len(list(tmp_path.iterdir()))}"
        here.mkdir()
        make(here)
        fetcher = Counting()
        with pytest.raises(ConfigError, match="has to be") as e:
            bring(fetcher, there, here)
        assert "another folder" in e.value.hint
        assert fetcher.calls == 0
    assert list(outside.iterdir()) == []


def test_links_of_a_target_that_lies_are_not_followed(there: Path, tmp_path: Path) -> None:
    class Lying(Counting):
        def fetch(self, folder: str, names: Sequence[str], into: Path, progress: Progress) -> str:
            into.mkdir()
            (into / "d").symlink_to(there / "d")
            (into / "a").symlink_to(there / "a")
            return ""

    done = bring(Lying(), there, tmp_path / "here")
    assert [p.name for p in done.files] == ["l"]
    assert (there / "d" / "b").exists()
    assert (there / "a").exists()


def test_files_are_fetched_in_parts() -> None:
    items = [Item(Entry(str(n), "f", size), str(n)) for n, size in enumerate([5, 5, 1, 20, 3, 0])]
    assert [[i.place for i in batch] for batch in batches(items, 10)] == [["0", "1"], ["2"], ["3"], ["4", "5"]]
    assert list(batches([], 10)) == []


def test_progress_ends_at_the_total(there: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    here = tmp_path / "here"
    fetcher = Counting()
    _Puller(fetcher, found(fetcher, there), here, here, lambda *now: seen.append(now), at_once=1).run()
    assert seen == sorted(seen)
    assert seen[-1] == (3, 3)


def test_nothing_to_do_makes_nothing(tmp_path: Path) -> None:
    done = _Puller(Counting(), Found("/there", "h:/there", Chosen()), tmp_path / "x", tmp_path / "x", None).run()
    assert done.files == ()
    assert not (tmp_path / "x").exists()


def test_a_backend_without_it_is_told_in_words() -> None:
    from runyard.backends.base import Component, Job, JobId
    from runyard.engine import pull
    from runyard.executors.local import LocalExecutor
    from runyard.launchers.base import Program

    component = Component("a", Program("command", (), ("true",)), LocalExecutor().to_dict())
    job = Job(JobId("e", "a"), "local", (component,), "/h", "e/a")

    class Without:
        @classmethod
        def connect(cls, executor: object, home: str) -> Without:
            return cls()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pull, "backend_class", lambda executor: Without)
        with pytest.raises(RunyardError, match="cannot be pulled from LocalExecutor") as e:
            pull._fetcher(job, "/h", "/there")
    assert "/there" in e.value.hint
