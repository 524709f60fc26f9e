"""Several submissions of one attempt, and one of them that is slow to say that the attempt is its own."""

from __future__ import annotations

from pathlib import Path

import processes
import runyard as run
from runyard.backends.base import Handle
from runyard.executors.slurm import SlurmExecutor
from runyard.packagers import Packager
from runyard.states import JobState
from runyard.testing.conformance import Harness
from slurm_cluster import Cluster


def test_a_claim_of_which_nothing_is_told_yet(tmp_path: Path, cluster: Cluster) -> None:
    """A second claimant counts as no failure, and is not what is found, as long as the first does not say who it is."""

    def make(**fields: object) -> SlurmExecutor:
        return SlurmExecutor(packager=Packager(), time=5, **fields)  # type: ignore[arg-type]

    h = Harness(make, tmp_path)
    exp = h.experiment()
    exp.add(run.Script(inline="sleep 60"), name="task")
    (job,), backend, db = h.recorded(exp)
    with db:
        request = job.request.at(1)
        (first,) = backend.submit([request])
        assert isinstance(first, Handle)
        started = Path(request.folder, "attempts", "1", "started")
        processes.until(lambda: "end" in processes.lines(started), "the claim")
        started.rename(tmp_path / "started")  # as if it were not written yet
        (second,) = backend.submit([request])
        assert isinstance(second, Handle)
        under_way = (JobState.PENDING, JobState.RUNNING)
        processes.until(lambda: backend.observe([second])[second].state not in under_way, "its end")
        assert backend.observe([second])[second].state is None
        assert backend.find([(request, 1)]) == {request.job: first}
        assert backend.observe([first])[first].state is JobState.RUNNING
