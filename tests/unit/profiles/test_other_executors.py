"""The shared words of profiles reach executors of other kinds under the names that these have."""

import pytest

from runyard.profiles.translate import Layer, combine, shared_words


def fields(known: set[str], *layers: dict[str, object]) -> dict[str, object]:
    return combine([Layer(layer, lambda name: f"here.{name}") for layer in layers], known, "run", {}).fields


@pytest.mark.parametrize(
    ("known", "written", "expected"),
    [
        ({"container_image", "volumes"}, {"mounts": ["/a:/a"]}, {"volumes": ["/a:/a"]}),
        ({"volumes"}, {"mounts": ["/a:/a"], "volumes": ["/b:/b"]}, {"volumes": ["/b:/b", "/a:/a"]}),
        (
            {"mounts"},
            {"mounts": [{"path": "/a", "mount_path": "/b"}]},
            {"mounts": [{"path": "/a", "mount_path": "/b"}]},
        ),
        ({"image"}, {"container_image": "x"}, {"image": "x"}),
        (set(), {"container_image": "x"}, {"container_image": "x"}),
        ({"num_nodes"}, {"nodes": 2}, {"num_nodes": 2}),
        ({"nodes", "num_nodes"}, {"nodes": 2}, {"nodes": 2}),
        ({"nprocs_per_node"}, {"nproc_per_node": 4}, {"nprocs_per_node": 4}),
        ({"nodes"}, {"run_partition": "x"}, {"run_partition": "x"}),
    ],
)
def test_words(known: set[str], written: dict[str, object], expected: dict[str, object]) -> None:
    assert fields(known, written) == expected


def test_layers() -> None:
    assert fields({"volumes"}, {"mounts": ["/a:/a"], "x": {"a": 1}}, {"mounts": ["/b:/b"], "x": {"b": 2}}) == {
        "volumes": ["/a:/a", "/b:/b"],
        "x": {"a": 1, "b": 2},
    }


def test_only_words_that_mean_something_are_suggested() -> None:
    assert "mounts" not in shared_words({"nodes"})
    assert {"mounts", "container"} <= set(shared_words({"volumes", "image"}))
    assert {"host", "run_partition"} <= set(shared_words({"tunnel", "partition"}))
