"""What the shell tells whoever measures it; by default nobody listens."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from b3iq_streams.core.actions import Appended, Confirmed, Intake, Notice


class Observer:
    """Override what you want to see. Calls come from the event loop and must return at once."""

    def on_assigned(self, partition: int) -> None:
        """The partition is this worker's; its owner begins to recover."""

    def on_live(self, partition: int) -> None:
        """The first epoch of this tenure is finished."""

    def on_intake(self, partition: int, intake: Intake) -> None:
        """An intake was handed to the owner."""

    def on_appended(self, partition: int, appended: Appended) -> None:
        """An epoch was acknowledged."""

    def on_confirmed(self, partition: int, confirmed: Confirmed) -> None:
        """An epoch, own or not, was seen accepted in the log."""

    def on_letters(self, partition: int, count: int) -> None:
        """Refused records were put aside."""

    def on_checkpoint(self, partition: int, count: int) -> None:
        """Node records and the head were written to the checkpoint."""

    def on_notice(self, partition: int, notice: Notice) -> None:
        """The owner has something to say."""

    def on_released(self, partition: int) -> None:
        """This worker gave the partition up."""


class Observers(Observer):
    """Several observers as one; each is told everything, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        for name in vars(Observer):
            if name.startswith("on_"):
                setattr(self, name, partial(_tell, [getattr(observer, name) for observer in observers]))


def _tell(listeners: Sequence[Callable[..., None]], *what: Any) -> None:
    for listener in listeners:
        listener(*what)
