"""What the tools of `compose mcp` do. Knows no protocol: the tools are functions of plain data.

A request of an agent passes the checks of requests to `compose serve`, and one that costs much is refused without the
token that `plan` returned for the same overrides.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from composer.errors import ComposerError
from composer.recipes.check import CheckedRecipe
from composer.recipes.requests import CheckedSpec, runs_of
from composer.server.answers import command_of
from composer.server.queue import FINAL, QueuedJob
from composer.server.requested_words import request_words, sweep_words
from composer.server.service import Service
from composer.server.settings import AgentSettings
from composer.server.worker import RECORD, job_folder

if TYPE_CHECKING:
    pass

#: Longest time that a call waits for its jobs, in seconds, and time between two looks at them.
LONGEST_WAIT, LOOK_SECONDS = 600.0, 0.1
#: Most jobs in an answer of `status`.
SHOWN_JOBS = 20
CLIENT = "mcp"


class AgentTools:
    """The tools, around a service.

    Args:
        service: The service.
        settings: Its settings.
    """

    def __init__(self, service: Service, settings: AgentSettings) -> None:
        self.service, self.settings = service, settings
        self._secret = secrets.token_bytes(32)

    def list_options(self, group: str | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """List what there is to choose from: the groups, or the options of one, such as scheduler, model or task, each
        with a line about it. With overrides such as ["model=sd15"], only the schedulers or tasks that fit that model.
        """
        from composer.api.listing import listed

        request_words([*overrides], self.service.uploads)
        groups = listed([*([] if group is None else [group]), *overrides])
        return groups if group else {name: f"{len(options)} options" for name, options in groups.items()}

    def show(self, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """Describe the pipeline of a request: model, components, sizes, steps, and what else its model can do. Loads no
        weights. Overrides are words such as ["model=tiny", "prompt=a red cone", "steps=10"].
        """
        checked, notes = self.service.checked(request_words([*overrides], self.service.uploads))
        if isinstance(checked, CheckedRecipe):
            from composer.recipes.describe import described

            return described(checked)[0]
        from composer.pipelines.description import describe
        from composer.pipelines.description_facts import facts
        from composer.pipelines.offers import find_offers

        offers = find_offers(checked)
        return facts(checked, notes, describe(checked, notes, offers), offers)

    def check(self, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """Check whether a request can work, without loading weights: its cost, and notes on what the run would do
        differently. What cannot work is refused in a line that says why and what to do.
        """
        checked, notes = self.service.checked(request_words([*overrides], self.service.uploads))
        return {**cost([checked]), "notes": [*notes]}

    def plan(self, overrides: Sequence[str] = (), sweep: bool = False) -> dict[str, Any]:
        """Say what a request or a sweep costs before it runs: jobs, images, and steps of the denoiser in all. With
        sweep=true, keys with several values, such as "steps=10,20" or "seed=range(4)", make a job of each combination.
        Returns the token `plan`, which `run` takes for the same overrides.
        """
        prepared, several = self._jobs(overrides, sweep)
        total = cost([self.service.checked(words)[0] for words in several])
        return {**total, "commands": [command_of(tuple(words)) for words in several[:SHOWN_JOBS]],
                "plan": self._token(prepared, sweep)}  # fmt: skip

    def run(
        self, overrides: Sequence[str] = (), sweep: bool = False, plan: str | None = None, wait: float = 60.0
    ) -> dict[str, Any]:
        """Generate images, clips or sounds. A request of several jobs, or of more images or steps than the server lets
        pass, needs the token `plan` of the tool plan for the same overrides. Waits at most `wait` seconds; `status`
        says later what became of jobs that were not done by then.
        """
        require_wait(wait)
        prepared, several = self._jobs(overrides, sweep)
        self._allow(prepared, several, sweep, plan)
        return self._submitted(overrides, sweep, wait)

    def status(self, job: str | None = None) -> dict[str, Any]:
        """Say how far a job is, with the paths of its images once it is done, or why it failed; without a job, the
        newest ones and how many there are in each state.
        """
        if job is not None:
            return self._facts(self._job(job))
        jobs = self.service.queue.jobs(most=SHOWN_JOBS)
        return {"jobs": [self._facts(one) for one in jobs], "counts": self.service.queue.counts()}

    def rerun(
        self, job: str, overrides: Sequence[str] = (), plan: str | None = None, wait: float = 60.0
    ) -> dict[str, Any]:
        """Run a job again, or a variation of it: overrides such as ["seed=4"] take the place of its own. `same` says
        whether all pixels, samples or frames are those of the first time; null if overrides changed it or it has not
        ended. A costly one needs the token of the tool plan for all of its overrides.
        """
        require_wait(wait)
        first = self._job(job)
        words = replaced(first.words, overrides)
        prepared, several = self._jobs(words, False)
        self._allow(prepared, several, False, plan)
        answer = self._submitted(words, False, wait)
        ended = self._job(answer["jobs"][0]["id"])
        comparable = not overrides and first.state == ended.state == "done"
        same = self._digests(first) == self._digests(ended) if comparable else None
        return {**answer, "same": same}

    def upload(self, file: str) -> dict[str, Any]:
        """Keep an image for image= and mask=, and return its name upload:… for these keys. The file is one of an
        earlier job, or is in the directory that the server's setting `images` names.
        """
        path = Path(file).expanduser().resolve()
        folders = [self.service.folder / "jobs", *([self.settings.images_path] if self.settings.images else [])]
        if not any(path.is_relative_to(folder.resolve()) for folder in folders) or not path.is_file():
            reason = "is no image of a job, nor one in the directory that the setting images of compose mcp names"
            raise ComposerError("upload", file, reason)
        return {"upload": self.service.upload(path.read_bytes())}

    def _jobs(self, overrides: Sequence[str], sweep: bool) -> tuple[list[str], list[list[str]]]:
        """The checked overrides, and those of each job."""
        prepared = request_words([*overrides], self.service.uploads, sweep)
        return prepared, sweep_words(prepared) if sweep else [prepared]

    def _allow(self, prepared: Sequence[str], several: Sequence[list[str]], sweep: bool, plan: str | None) -> None:
        """Refuse what costs much and was not planned, or was planned with other overrides."""
        if plan is not None:
            if not hmac.compare_digest(plan.encode(), self._token(prepared, sweep).encode()):
                raise ComposerError("plan", plan, "is not the token of these overrides: call plan with them, in this "
                                    "order, and send what it returns")  # fmt: skip
            return
        most, total = self.settings, cost([self.service.checked(words)[0] for words in several])
        if len(several) > 1 or total["images"] > most.free_images or total["steps"] > most.free_steps:
            parts = f"{total['jobs']} jobs, {total['images']} images and {total['steps']} steps in all"
            reason = (
                f"{parts} are more than 1 job, {most.free_images} images or {most.free_steps} steps: "
                "call plan with the same overrides, and run with the token that it returns"
            )
            raise ComposerError("plan", None, reason)

    def _token(self, prepared: Sequence[str], sweep: bool) -> str:
        text = json.dumps([list(prepared), sweep])
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:32]

    def _submitted(self, overrides: Sequence[str], sweep: bool, wait: float) -> dict[str, Any]:
        """Queue the jobs, and wait for them as long as the caller does."""
        names = [job.id for job in self.service.submit(CLIENT, [*overrides], sweep)]
        until = time.monotonic() + wait
        while True:
            jobs = [self._job(name) for name in names]
            if all(job.state in FINAL for job in jobs) or time.monotonic() >= until:
                return {"jobs": [self._facts(job) for job in jobs]}
            time.sleep(LOOK_SECONDS)

    def _job(self, name: str) -> QueuedJob:
        job = self.service.queue.get(name)
        if job is None:
            raise ComposerError("job", name, "there is no such job: status without a job lists them")
        return job

    def _facts(self, job: QueuedJob) -> dict[str, Any]:
        folder = job_folder(self.service.folder, job.id)
        files = [str(folder / name) for name in job.files]
        return {
            "id": job.id, "state": job.state, "step": job.step, "total": job.total, "overrides": [*job.words],
            "command": command_of(job.words), "files": files, "metrics": dict(job.metrics),
            "error": job.error and job.error["message"],
        }  # fmt: skip

    def _digests(self, job: QueuedJob) -> Any:
        record = json.loads((job_folder(self.service.folder, job.id) / RECORD).read_text("utf-8"))
        return record["pixels"]


def cost(several: Sequence[CheckedSpec]) -> dict[str, Any]:
    """Count what jobs do.

    Args:
        several: The checked settings of each.

    Returns:
        `jobs`, `images` (or clips, or sounds) of all steps, and `steps` of the denoiser for all of them.
    """
    requests = [run.request for checked in several for run in runs_of(checked)]
    return {
        "jobs": len(several),
        "images": sum(request.batch for request in requests),
        "steps": sum(request.batch * (request.steps - request.steps_skipped) for request in requests),
    }


def replaced(words: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Let overrides take the place of those of the same key.

    Args:
        words: Overrides of an earlier job.
        overrides: Later ones.
    """
    from composer.config.overrides import split

    keys = {split(word)[1] for word in overrides}
    return [*(word for word in words if split(word)[1] not in keys), *overrides]


def require_wait(seconds: float) -> None:
    """Refuse a time that no call waits.

    Args:
        seconds: The time.

    Raises:
        ComposerError: It is negative, too long or not finite.
    """
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ComposerError("wait", seconds, f"must be a number of seconds from 0 to {LONGEST_WAIT:g}")
