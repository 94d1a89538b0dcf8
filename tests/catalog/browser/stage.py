"""What a browser test may do to the network behind the page, whoever plays it: the stand-in, or the real catalog."""

from typing import Protocol

from tests.catalog.browser.standin_fleet import Fleet


class Stage(Protocol):
    """A catalog that answers at `address`, and the hands that move what it tells."""

    address: str
    """Where the page is, with a slash at its end."""
    fleet: Fleet
    """The script: what is so, for tests to compare with."""

    def block(self, node_id: str, profile_id: str, code: str) -> None:
        """One more reason stands against this profile: it closes, or its reasons change."""

    def clear(self, node_id: str, profile_id: str, code: str) -> None:
        """That reason is gone: the profile opens if it was the last."""

    def lag(self) -> None:
        """The processor falls silent: nothing can be claimed."""

    def catch_up(self) -> None:
        """The processor is back."""

    def hang_up(self) -> None:
        """Every connection ends, and nobody is answered until `answer`."""

    def answer(self) -> None:
        """Readers are answered again."""

    def forget(self) -> None:
        """The changes of the past can no longer be told one by one."""
