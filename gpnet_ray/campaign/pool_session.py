"""Picks from pools that no memory holds: exact, given everything that is told or still pending.

A session keeps what it is told in memory alone; what has been picked is the user's to keep. Given the same labels and the
same pending ids, another session goes on as this one would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from gpnet_ray.campaign.arguments import check_is_config, check_is_surrogate
from gpnet_ray.campaign.pool_scoring import PoolScoring, Traffic
from gpnet_ray.campaign.pool_state import PoolState
from gpnet_ray.campaign.ray_errors import ray_errors_explained
from gpnet_ray.config import STRATEGIES, Config, Strategy
from gpnet_ray.data.pool_folder import DRAWN
from gpnet_ray.errors import InputError, nearest_name_hint
from gpnet_ray.progress import NullProgress, Progress

if TYPE_CHECKING:
    from gpnet_ray.campaign.surrogate import Surrogate
    from gpnet_ray.gp.messages import Touched

__all__ = ["PICKING", "PoolPick", "PoolSession"]

PICKING: tuple[Strategy, ...] = tuple(s for s in STRATEGIES if s != "random")
"""The strategies of a session: those that look at a variance."""

TRY_AGAIN = "Nothing was picked; try again. What shards had bounded is kept in the folder of bounds, if there is one"


@dataclass(frozen=True)
class PoolPick:
    """A candidate to label: σ of an observation and the prediction when it was picked (target's unit)."""

    material_id: str
    sigma: float
    predicted: float


class PoolSession:
    """Picks from folders of latents by a surrogate, while its ``with`` block is open.

    The actors start with the first pick and stay alive. One that is lost begins again, with the others, from what
    the session knows.

    >>> from gpnet_ray import PoolSession
    >>> with PoolSession(surrogate, ["pools/oxides"]) as session:  # doctest: +SKIP
    ...     for pick in session.pick(10):
    ...         session.tell([pick.material_id], [my_dft(pick.material_id)])
    """

    def __init__(
        self,
        surrogate: Surrogate,
        pools: Iterable[Path | str],
        config: Config | None = None,
        *,
        bounds_dir: Path | str | None = None,
        labels: Mapping[str, float] | None = None,
        pending: Iterable[str] = (),
        withdrawn: Iterable[str] = (),
        progress: Progress | None = None,
    ) -> None:
        """Look at the pools and at what is known; no actor is started yet.

        Args:
            surrogate: Network and Gaussian process; the network made the pools' latents.
            pools: Folders that ``pool build`` or ``featurize`` wrote.
            config: ``selection`` (distance cut-off) and ``resources``; the defaults where left out.
            bounds_dir: Folder in which first bounds are kept, so that no later session computes them again; it
                has to be the same on all machines. Left out: in memory alone.
            labels: Labels beside the surrogate's own (target's unit), of candidates, asked for or not; taken
                as they are, plausible or not.
            pending: What was picked before and has no label yet; it counts as known.
            withdrawn: What is not to be picked.
            progress: Where progress is shown; nowhere where left out.

        Raises:
            DataError: a folder holds no pool, or two of them hold the same ids.
            InputError: a pool of another network, layer or width; ids that are in no pool, or labels that
                are not finite or not those that are there already.
        """
        check_is_surrogate(surrogate)
        check_is_config(config or Config())
        self._config, self._progress = config or Config(), progress or NullProgress()
        self._unit = surrogate.network.unit
        self._state = PoolState(surrogate)
        if isinstance(pools, str | Path):
            raise InputError(
                f"several pools are wanted, not {str(pools)!r}; give a list: [{str(pools)!r}]"
            )
        self._take_in(tuple(pools))
        if not self._state.n_points:
            raise InputError("there is no candidate to pick from; name at least one pool")
        told = dict(labels or {})
        self._state.tell(tuple(told), tuple(told.values()), accept_implausible=True)
        self._state.withdraw(withdrawn)
        self._state.wait_for(pending)
        folder = None if bounds_dir is None else _made(Path(bounds_dir))
        self._scoring = PoolScoring(self._config, surrogate, folder, self._progress)
        self._touched: Touched | None = None
        self._is_closed = False

    def __enter__(self) -> PoolSession:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the actors; say what exact picks have cost. What it knows can be read on, and nothing be done."""
        self._is_closed = True
        self._scoring.close()
        if self._touched is not None:
            self._progress.line(_cost(self._touched))
            self._touched = None

    @property
    def pending(self) -> tuple[str, ...]:
        """What was picked and has no label yet, in the order of picking."""
        return self._state.pending

    @property
    def n_free(self) -> int:
        """How many candidates can still be picked."""
        return self._state.n_free

    def pick(
        self, n: int, *, strategy: str = "max-sigma", batch_size: int | None = None
    ) -> tuple[PoolPick, ...]:
        """Pick the next ``n`` candidates, given all that is told or pending; they are pending from now on.

        Args:
            n: How many.
            strategy: ``max-sigma``, ``top-k`` or ``distance``.
            batch_size: How many ``top-k`` and ``distance`` pick without seeing each other; left out: all.

        Raises:
            InputError: ``n`` is below 1, fewer candidates are left, or shards have too little memory.
            ClusterError: the cluster does not give what was asked for, or actors were lost again and again.
        """
        self._check_open()
        known = self._checked(n, strategy, batch_size)
        size = 1 if strategy == "max-sigma" else min(batch_size or n, n)
        picks: list[PoolPick] = []
        try:
            with self._at_work():
                self._scoring.surviving(lambda: self._pick_into(picks, n, size, known))
        except BaseException:
            # Nobody will hear of them.
            self._state.give_back(pick.material_id for pick in picks)
            raise
        return tuple(picks)

    def tell(
        self, ids: Sequence[str], y: Sequence[float], *, accept_implausible: bool = False
    ) -> int:
        """Tell labels (target's unit) of candidates, picked or not; telling the same again changes nothing.

        What is predicted changes and no pick does: a variance never reads a label.

        Args:
            ids: Of which candidates; several at once, unlike ``AskTellCampaign.tell``.
            y: Their labels, one an id.
            accept_implausible: Take labels far from the surrogate's own, as of another unit.

        Returns:
            How many were new.

        Raises:
            InputError: a label that is not finite or not plausible, another one than is there already, or an
                id that is in no pool; nothing has been taken then.
        """
        self._check_open()
        return self._state.tell(ids, y, accept_implausible=accept_implausible)

    def withdraw(self, ids: Iterable[str]) -> None:
        """Never pick these: what is pending of them counts as known no longer, what has a label stays.

        Bounds that rest on a pending one are void, so the shards begin again.

        Raises:
            InputError: an id that is in no pool.
        """
        self._check_open()
        self._state.withdraw(ids)

    def add(self, pool: Path | str) -> int:
        """Let the pool grow by a folder; how many points it has.

        Raises:
            DataError: it is no pool or a damaged one, or has ids that are here already; the session is as it was then.
            InputError: latents of another network, layer or width.
        """
        self._check_open()
        return self._take_in([pool])

    def touched(self) -> Touched | None:
        """How many candidates the picks have computed in full; ``None`` before the first pick.

        Where shards began again it is counted from there.
        """
        return self._touched

    def traffic(self) -> Traffic:
        """Rounds of messages that the picks took so far, and their bytes."""
        return self._scoring.traffic

    def _take_in(self, pools: Sequence[Path | str]) -> int:
        folders = self._state.add(pools)
        for folder in folders:
            if folder.kind == DRAWN:
                self._progress.line(
                    f"{folder.path}: points that were drawn at random, of no crystal"
                )
        return sum(folder.n_points for folder in folders)

    def _check_open(self) -> None:
        if self._is_closed:
            raise InputError(
                "the session is closed, and nobody would end what it started now; work within its with"
                " block, or open another PoolSession with the labels, what is pending and what is withdrawn"
            )

    def _checked(self, n: int, strategy: str, batch_size: int | None) -> Strategy:
        known = next((s for s in PICKING if s == strategy), None)
        if known is None:
            hint = nearest_name_hint(strategy, PICKING)
            if strategy == "random":
                hint = f"it looks at no variance; draw ids of the pool yourself. Valid: {', '.join(PICKING)}"
            raise InputError(f"strategy {strategy!r} does not pick from a pool: {hint}")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"a batch of {batch_size} picks: it has to be at least 1")
        if n < 1:
            raise InputError(f"{n} picks asked for; ask for at least 1")
        if n > self.n_free:
            raise InputError(
                f"{n} picks asked for, and {self.n_free} candidates are left; ask for fewer or add a pool"
            )
        return known

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        try:
            with ray_errors_explained(TRY_AGAIN):
                yield
        except BaseException:
            # Ctrl-C may come when some shards have taken in a point and others have not.
            self._scoring.close()
            raise

    def _pick_into(self, picks: list[PoolPick], n: int, size: int, strategy: Strategy) -> None:
        """Pick until there are ``n``, in batches of ``size``."""
        scoring, state = self._scoring, self._state
        scoring.bring_up_to(state.known(), reserve=state.n_labels + n - len(picks))
        with self._progress.task(f"Picking, {strategy}", total=n, unit="picks") as task:
            task.advance(len(picks))
            while left := n - len(picks):
                cycles = scoring.plan(strategy, max(1, left // size), min(size, left))
                ids = [i for cycle in cycles for i in cycle.ids]
                sigmas = [sigma for cycle in cycles for sigma in cycle.sigmas]
                X, predicted = scoring.take(ids)
                rows = zip(ids, sigmas, predicted.tolist(), strict=True)
                picks += [PoolPick(*row) for row in rows]
                state.take(dict(zip(ids, X, strict=True)))
                task.advance(len(ids), note=f"σ {sigmas[-1]:.4g} {self._unit}")
        self._touched = scoring.touched()


def _cost(touched: Touched) -> str:
    share = touched.n_touched / touched.n_points
    rest = "; bounds were enough for the others" if touched.n_touched < touched.n_points else ""
    return (
        f"{touched.n_touched:,} of {touched.n_points:,} points of the pools ({share:.3%}) were looked at again, in"
        f" {touched.n_computed:,} full computations{rest}"
    )


def _made(folder: Path) -> Path:
    """The folder of first bounds, by the name that it has for all processes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"bounds cannot be kept in {folder}: {error}; name one that can be written (--bounds-dir)"
        ) from None
    return folder.resolve()
