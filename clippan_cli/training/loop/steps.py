"""The training loop: steps, running mean, checkpoints, log, and what comes out at the end."""

from __future__ import annotations

import copy
import csv
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Generic

import torch
from torch import nn

from clippan_cli.base.files import replace_table
from clippan_cli.base.identity import Key, check_same
from clippan_cli.base.listener import Listener
from clippan_cli.base.memory import Memory
from clippan_cli.base.version import ALGORITHM, __version__
from clippan_cli.errors import Interrupted, ModelError, OutputError, ResourceError, UsageError
from clippan_cli.modelstore.model import Model, find_model
from clippan_cli.training.loop.curves import CURVES, draw_curves
from clippan_cli.training.loop.distributed import Group
from clippan_cli.training.loop.state import Best, Learner, load_state, save_state
from clippan_cli.training.loop.task import Product, Record, Run, Schedule, Task, Trained

LOG, STATE = "training.csv", "training.safetensors"

_BETAS, _DECAY = (0.9, 0.98), 1e-4
_WARM_UP, _LOWEST_RATE = 200, 0.01
_GRADIENT = 1.0
_EMA = 0.999
_MEMORY = 8 << 30


class Loop(Generic[Record]):
    """Runs one training.

    Args:
        folder: The folder of the product.
        net: The net, on its device already; those of its weights that need a gradient are trained.
        task: What the net is trained for.
        product: What the training leaves behind.
        schedule: How long and how fast the net is trained.
        key: What a resumed training must have in common with the first.
        hears: Hears of progress.
        stop: Set it to stop after the step in work.
        group: The processes that train together.
    """

    def __init__(
        self,
        *,
        folder: Path,
        net: nn.Module,
        task: Task,
        product: Product[Record],
        schedule: Schedule,
        key: Key,
        hears: Listener,
        stop: Event,
        group: Group | None = None,
    ) -> None:
        self._folder, self._net, self._task, self._product = folder, net, task, product
        self._schedule, self._key, self._hears, self._stop = schedule, {**key, "algorithm": ALGORITHM}, hears, stop
        self._group = group or Group()
        self._device = next(net.parameters()).device
        self._mean = copy.deepcopy(net)
        self._best: Best | None = None
        self._weights = [weight for weight in net.parameters() if weight.requires_grad]
        self._optimiser = torch.optim.AdamW(self._weights, schedule.rate, _BETAS, weight_decay=_DECAY)
        self._learner = Learner(net, self._mean, self._optimiser)
        self._batch = schedule.batch

    def run(self, resume: bool) -> Trained[Record]:
        """Train and write the product.

        Args:
            resume: Whether to continue where a former run stopped, if one did.

        Returns:
            The product: the first process writes it, the others read it.
        """
        if resume and (former := find_finished(self._folder, self._product, self._key, self._hears)) is not None:
            return former
        with Memory(_MEMORY):
            return self._train(resume)

    def _train(self, resume: bool) -> Trained[Record]:
        total, every = self._schedule.iterations, self._schedule.every
        first = self._begin(resume)
        began = time.perf_counter()
        self._hears.begin("training", total)
        self._hears.advance(first)
        if self._task.ranks and self._best is None and self._group.leads:
            # The net as it begins is the best so far.
            self._note(first, 0.0, [math.nan] * (len(self._task.terms) + 1))
        recent: list[list[float]] = []
        for done in range(first + 1, total + 1):
            recent.append(self._step(done - 1))
            self._hears.advance(1)
            if done % every == 0 or done == total:
                means = self._group.mean([sum(part) / len(recent) for part in zip(*recent, strict=True)])
                if self._group.leads:
                    self._note(done, time.perf_counter() - began, means)
                recent.clear()
            if self._group.any(self._stop.is_set()) and done < total:
                if self._group.leads:
                    self._save(done)
                raise Interrupted(f"stopped after {done} of {total} iterations", "continue with `resume`")
        trained = self._finish(time.perf_counter() - began) if self._group.leads else None
        self._group.wait()
        return trained or self._read()

    def _read(self) -> Trained[Record]:
        return Trained(str(self._folder), self._product.read(self._folder))

    def _begin(self, resume: bool) -> int:
        """Return the first iteration: 0 in a fresh folder, or where a former run stopped."""
        state = self._folder / STATE
        if resume and state.is_file():
            first, self._best = load_state(state, self._learner, self._key)
            self._hears.say(f"resuming after {first} iterations")
            if self._group.leads:
                _trim(self._folder / LOG, self._columns, first)
        else:
            first = 0
            if self._group.leads:
                self._clear()
        self._group.wait()
        return first

    @property
    def _columns(self) -> tuple[str, ...]:
        return ("iteration", "seconds", "rate", *self._task.terms, "gradient", *self._task.checks)

    def _clear(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            discard(self._folder, self._product.record)
            self._product.clear(self._folder)
            with (self._folder / LOG).open("w", newline="") as file:
                csv.writer(file).writerow(self._columns)
        except OSError as error:
            raise OutputError(f"cannot write into {self._folder}: {error.strerror}", "choose another folder") from error

    def _step(self, iteration: int) -> list[float]:
        """Do one step of the optimiser; return the terms, and the length of the gradient."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(iteration)
        while (found := self._gradient(iteration)) is None:
            self._halve()
        terms, where = found
        self._group.average(self._weights)
        norm = float(nn.utils.clip_grad_norm_(self._weights, _GRADIENT))
        # The gradient is shared: what one process cannot use, none can.
        if not math.isfinite(norm):
            here = where if where and not math.isfinite(sum(terms)) else ""
            raise ModelError(
                f"the loss is not finite at iteration {iteration + 1}{here and ', ' + here}",
                f"{STATE} keeps the last checkpoint; begin again elsewhere with a lower `rate`",
            )
        self._optimiser.step()
        decay = min(_EMA, (iteration + 1) / (iteration + 20))
        with torch.no_grad():
            for mean, weight in zip(self._mean.parameters(), self._net.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)
            for kept, value in zip(self._mean.buffers(), self._net.buffers(), strict=True):
                kept.copy_(value)
        return [*terms, norm]

    def _gradient(self, iteration: int) -> tuple[list[float], str] | None:
        """Leave the gradient in the weights; return the terms of a sample and what it shows, None if out of memory."""
        self._optimiser.zero_grad(set_to_none=True)
        try:
            sample = self._task.draw(iteration, self._batch)
            weights = self._task.weights(iteration / self._schedule.iterations)
            terms = self._task.losses(self._net, sample)
            torch.autograd.backward(torch.stack([weights[name] * term for name, term in terms.items()]).sum())
            return [float(terms[name].detach()) for name in self._task.terms], self._task.where(sample)
        except torch.OutOfMemoryError:
            # Handled by the caller: as long as the exception lives, so does the graph.
            return None

    def _rate(self, iteration: int) -> float:
        """Return the learning rate of a step: linear up, cosine down."""
        warm = min(1.0, (iteration + 1) / max(1, min(_WARM_UP, self._schedule.iterations // 10)))
        cosine = 0.5 * (1 + math.cos(math.pi * iteration / self._schedule.iterations))
        return self._schedule.rate * warm * (_LOWEST_RATE + (1 - _LOWEST_RATE) * cosine)

    def _halve(self) -> None:
        if self._batch == 1 or self._group.size > 1:
            raise ResourceError(
                f"{self._device} has not enough memory for a step", "a smaller `batch`, or `device=cpu`"
            )
        self._batch //= 2
        torch.cuda.empty_cache()
        self._hears.warn(f"{self._device} is out of memory: going on with {self._batch} pairs in a step")

    def _remember_best(self, done: int, found: Mapping[str, float]) -> None:
        """Keep a copy of the net if it is the best so far."""
        if not self._task.ranks:
            return
        score = self._task.score(found)
        score = score if math.isfinite(score) else math.inf
        if self._best is None or score < self._best.score:
            weights = {name: value.detach().clone() for name, value in self._mean.state_dict().items()}
            self._best = Best(score, done, weights)

    def _note(self, done: int, seconds: float, means: Sequence[float]) -> None:
        """Write a line of the log and the pictures, and remember the best net."""
        with torch.no_grad():
            found = self._task.validate(self._mean)
        self._remember_best(done, found)
        self._save(done)
        checks = [found[name] for name in self._task.checks]
        row = [done, f"{seconds:.1f}", f"{self._rate(max(0, done - 1)):.3e}", *(f"{x:.5f}" for x in (*means, *checks))]
        try:
            with (self._folder / LOG).open("a", newline="") as file:
                csv.writer(file).writerow(row)
            draw_curves(self._folder / LOG, self._folder / CURVES)
            with torch.no_grad():
                self._product.picture(self._mean, done, found, self._folder)
        except OSError as error:
            raise OutputError(
                f"cannot write into {self._folder}: {error.strerror}", "free some space; `resume` continues"
            ) from error
        terms = [f"{name} {mean:.4g}" for name, mean in zip(self._task.terms, means, strict=False)]
        self._hears.say(
            f"{done}: "
            + (f"{', '.join(terms)}; " if done else "")
            + ", ".join(f"{name} {found[name]:.4g}" for name in self._task.checks)
        )

    def _save(self, done: int) -> None:
        save_state(self._folder / STATE, done, self._learner, self._key, self._best)

    def _finish(self, seconds: float) -> Trained[Record]:
        best = self._best
        if best is not None:
            self._mean.load_state_dict(best.weights)
            if best.iteration:
                self._hears.say(f"the best was that of iteration {best.iteration}")
            else:
                self._hears.warn("nothing was better than what it began with: that is what is written")
        kept = None if best is None else best.iteration
        run = Run(__version__, str(torch.__version__), str(self._device), round(seconds / 60, 1), kept)
        trained = self._product.write(self._folder, self._mean, run)
        (self._folder / STATE).unlink(missing_ok=True)
        return trained


def find_finished(folder: Path, product: Product[Record], key: Key, hears: Listener) -> Trained[Record] | None:
    """Return what a training that had finished has left, if there was one.

    Args:
        folder: The folder of the product.
        product: What the training leaves behind.
        key: What the training must have in common with this one.
        hears: Hears that nothing is left to do.

    Raises:
        ModelError: It was another training, or its record cannot be used.
    """
    if not (folder / product.record).is_file() or (folder / STATE).is_file():
        return None
    record = product.read(folder)
    check_same(record.training.key, key, str(folder), ModelError)
    hears.say(f"{folder} is complete already")
    return Trained(str(folder), record)


def check_folder(folder: Path, record: str, *, overwrite: bool, resume: bool) -> None:
    """Refuse a folder that cannot be written into.

    Args:
        folder: The folder to write into.
        record: The file by which a finished training is known.
        overwrite: Whether to replace what is there.
        resume: Whether to continue what is there.

    Raises:
        OutputError: It holds something already, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file", "give the name of a folder")
    if (folder / record).exists() and not (overwrite or resume):
        raise OutputError(
            f"{folder} holds a {Path(record).stem}", "choose another folder, or replace it with `overwrite`"
        )
    if (folder / STATE).exists() and not (overwrite or resume):
        raise OutputError(
            f"{folder} holds a training that was stopped", "continue with `resume`, or start again with `overwrite`"
        )
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        raise OutputError(f"the folder {place} is not writable", "choose another folder")


def discard(folder: Path, record: str) -> None:
    """Remove what a finished training is known by, and a stopped one continues from."""
    for name in (record, STATE):
        (folder / name).unlink(missing_ok=True)


def begin_from(name: str, folder: Path) -> Model:
    """Find the model that a training goes on from.

    Raises:
        UsageError: There is none, or it is the one to be written.
        ModelError: Its record cannot be used.
    """
    model = find_model(name)
    if model.folder.resolve() == folder.resolve():
        raise UsageError(f"{folder} cannot go on from itself", "choose another folder")
    return model


def _trim(log: Path, columns: Sequence[str], done: int) -> None:
    """Drop what a killed run logged after its last checkpoint; what is lost or damaged begins again.

    Raises:
        OutputError: It cannot be written; it is as it was.
    """
    rows = csv.reader(log.read_text(errors="replace").splitlines() if log.is_file() else [])
    # A full disk leaves half a row.
    kept = [row for row in rows if len(row) == len(columns) and row[-1] and row[0].isdecimal() and int(row[0]) <= done]
    try:
        replace_table(log, [columns, *kept])
    except OSError as error:
        raise OutputError(f"cannot write {log}: {error.strerror}", "free some space; `resume` continues") from error
