"""What a deploy sets after the upload: schedules, and the queues that the function consumes."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from workerd_faas.cli.client.api import ApiError
from workerd_faas.cli.client.queues import ConsumersApi
from workerd_faas.cli.client.scripts import Record, ScriptsApi
from workerd_faas.cli.config.project import Project
from workerd_faas.cli.failure import Failure
from workerd_faas.cli.terminal import note, warn, when, working


@attrs.frozen(kw_only=True)
class TriggersSet:
    """
    What has been set; None where the configuration says nothing.
    """

    schedules: Sequence[Record] | None
    consumers: Sequence[str] | None

    def document(self) -> dict[str, Any]:
        """
        For programs.
        """
        found = {"schedules": self.schedules, "consumers": self.consumers}
        return {key: value for key, value in found.items() if value is not None}

    def show(self) -> None:
        """
        For people.
        """
        for schedule in self.schedules or ():
            note(f"schedule {schedule.get('cron')}: next run {when(schedule.get('next_run_on'))}")
        for queue in self.consumers or ():
            note(f"consumer of queue {queue}")


@attrs.frozen(kw_only=True)
class Triggers:
    """
    What is to be set. Made before the upload, so that a queue that is missing is told while
    nothing has changed.
    """

    project: Project
    scripts: ScriptsApi
    name: str
    queues: Mapping[str, Record]

    @classmethod
    def of(cls, project: Project, scripts: ScriptsApi, name: str) -> "Triggers":
        """
        Look at what is there.

        Raises:
            Failure: a queue is missing.
        """
        queues: Mapping[str, Record] = {}
        if project.consumers is not None:
            with working("looking for the queues"):
                queues = ConsumersApi(scripts, name).queues(project.consumers)
        return cls(project=project, scripts=scripts, name=name, queues=queues)

    def set(self) -> TriggersSet:
        """
        Set it.

        Raises:
            Failure: the server refuses something.
        """
        self._reach()
        return TriggersSet(schedules=self._schedules(), consumers=self._consumers())

    def _reach(self) -> None:
        project = self.project
        if project.enabled is None and project.previews is None:
            return
        enabled = project.enabled is not False
        previews = enabled if project.previews is None else project.previews
        with working("opening and closing hosts"):
            self.scripts.set_reach(self.name, enabled, previews)
        closed = [
            what
            for what, is_open in (
                ("its host (workers_dev)", enabled),
                ("the hosts of its versions (preview_urls)", previews),
            )
            if not is_open
        ]
        if closed:
            note(f"{self.name} gets no requests from outside at {' and '.join(closed)}.")

    def _schedules(self) -> Sequence[Record] | None:
        if self.project.crons is None:
            return None
        try:
            with working("setting the schedules"):
                return self.scripts.set_schedules(self.name, self.project.crons)
        except ApiError as error:
            raise Failure(
                f"{self.name} is there, but its schedules are not set: {error.message}",
                hint="correct triggers.crons and run `wrkst triggers deploy`",
            ) from None

    def _consumers(self) -> Sequence[str] | None:
        consumers = self.project.consumers
        if consumers is None:
            return None
        api = ConsumersApi(self.scripts, self.name)
        for consumer in consumers:
            try:
                with working("setting the consumers"):
                    api.consume(consumer, self.queues[consumer.queue])
            except ApiError as error:
                raise Failure(
                    f"{self.name} is there, but does not consume the queue {consumer.queue!r}: "
                    f"{error.message}",
                    hint="correct queues.consumers and run `wrkst triggers deploy`",
                ) from None
        for queue in api.others(consumers, self.queues):
            warn(
                f"{self.name} still consumes the queue {queue!r}, which the configuration does not "
                f"name; `wrkst queues consumer remove {queue} {self.name}` ends that"
            )
        return [consumer.queue for consumer in consumers]
