"""The list of models: those that the router would serve now to a caller whom nothing restricts, asked of the router's view.

A model is there only with a profile that is shown and that the router would grant. The list is composed again when such a
row changed or the evidence of one ends, and whether the view can be acted on is looked at on every request; so what is kept
is never older than what it says.
"""

from hashlib import sha256
from typing import NamedTuple

from b3iq_streams.catalog.envelopes import Model, ModelList
from b3iq_streams.catalog.standing import Moment, Standing, anybody
from b3iq_streams.catalog.store import Store
from b3iq_streams.router.view import Choice, RouterView


class Listed(NamedTuple):
    """The models by id, the bytes of the list, and their entity tag."""

    models: dict[str, Model]
    body: bytes
    etag: str


class Listing:
    """Keeps the list for as long as it holds."""

    def __init__(self, view: RouterView, store: Store) -> None:
        self._view, self._store = view, store
        self._kept: Listed | None = None
        self._version, self._until_ms = -1, 0
        self.composed = 0
        """How many times the list was composed."""

    def now(self, standing: Standing, moment: Moment) -> Listed:
        """The list at a moment at which the whole view can be acted on."""
        assert standing.ready
        if self._kept is None or self._version != self._store.version or standing.until_ms >= self._until_ms:
            self._kept = self._compose(moment)
            self._version, self._until_ms = self._store.version, self._store.census.next_end_ms(standing)
            self.composed += 1
        return self._kept

    def _compose(self, moment: Moment) -> Listed:
        found = (self._model(model, moment) for model in sorted(self._view.models()))
        models = {model.id: model for model in found if model is not None}
        body = ModelList(data=tuple(models.values())).body
        return Listed(models, body, f'"{sha256(body).hexdigest()[:32]}"')

    def _model(self, model: str, moment: Moment) -> Model | None:
        wanted = anybody(model)
        if not self._view.pick(wanted, *moment).allowed:
            return None
        candidates = (self._store.index.rows[i].candidate for i in self._store.census.freshest(model))
        holding = (one for one in candidates if self._view.holds(Choice(one, None), wanted, *moment))
        freshest = next(holding, None)
        return Model(id=model, created=freshest.benchmarked_at_ms // 1_000) if freshest else None
