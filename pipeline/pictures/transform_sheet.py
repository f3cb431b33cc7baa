"""A contact sheet of a transform, op by op: a column for each step, a row for each image and epoch."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ...shards import Dataset, Split, Statistics
from ...shards.sources import ClassInfo
from ..draws import EpochDraws, draw_epoch
from ..mix import Mix
from ..ops import side_of
from ..schedule import Schedule, as_schedule
from ..transform import FLIP, Transform
from ..views import Views, parts_of
from .boxes import FAINT, below, beside, captioned, framed, text_box, tile, wrapped
from .mix_sheet import draw_mixed
from .preview import Preview, choose_samples
from .steps import Step, StepRenderer, take_apart

_TILE, _GAP, _SMALL, _NORMAL, _LARGE = 168, 8, 13, 15, 24
_WINDOW = (255, 60, 0)


def draw_transform(
    dataset: Dataset,
    split: Split,
    transform: Transform | Views | Schedule,
    statistics: Statistics | None,
    preview: Preview,
    *,
    name: str,
    mix: Mix | None = None,
) -> Image.Image:
    """Draw the steps of a transform on images of as many classes as possible, with the pixels of a loader's epochs.

    Of a schedule each transform has a section, from its first epoch on. name: of the transform, for the title. mix:
    adds a section with mixed batches.
    """
    schedule = as_schedule(transform)
    schedule.check(split.sizes, statistics)
    samples = choose_samples(split, preview)
    explanation = (
        "Left: the image as stored, and the crop's window in it. Then what a loader gives after each step, in their\n"
        "order. Mean and std are undone for the eye, a mean image by its channel means. Below: what was drawn."
    )
    sections = [
        text_box(f"{name}: {len(split)} images of {split.name}, seed {preview.seed}", _LARGE),
        text_box(explanation, _NORMAL, colour=FAINT),
    ]
    for first, part in schedule.parts:
        if len(schedule.parts) > 1:
            sections.append(text_box(f"From epoch {first}", _LARGE))
        view = 0
        for transform, views in parts_of(part):
            epochs = range(first, first + (preview.draws if transform.is_random or transform.ops else 1))
            occurrences = [
                draw_epoch(len(split), seed=preview.seed, epoch=epoch).occurrence(view=number)
                for epoch in epochs
                for number in range(view, view + views)
            ]
            sections.append(_Part(dataset, split, transform, statistics, samples, occurrences).drawn())
            view += views
    if mix is not None:
        sections += [
            text_box("Mixed batches", _LARGE),
            draw_mixed(dataset, split.name, schedule, statistics, mix, preview),
        ]
    return framed(below(sections, 16), 24)


class _Part:
    """The part of a sheet that one transform has."""

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        transform: Transform,
        statistics: Statistics | None,
        samples: npt.NDArray[np.int32],
        occurrences: list[EpochDraws],
    ) -> None:
        self._dataset = dataset
        self._split = split
        self._transform = transform
        self._context = transform.context(side_of(split.sizes), statistics)
        self._samples = samples
        self._draws = occurrences
        self._steps = list(take_apart(transform))
        self._renderer = StepRenderer(transform, split, statistics, samples, self._draws)

    def drawn(self) -> Image.Image:
        """Return the part: headings, then the rows."""
        images = [self._renderer.render(step) for step in self._steps]
        rows = [
            beside([_heading("as stored", ()), *(_heading(step.title, step.settings) for step in self._steps)], _GAP)
        ]
        for place, sample in enumerate(self._samples.tolist()):
            stored = np.asarray(self._split.decode(sample, self._split.read(sample)).convert("RGB"))
            for number, draws in enumerate(self._draws):
                for view in range(self._transform.views):
                    boxes = [self._stored(stored, number, place, view)]
                    before: npt.NDArray[np.uint8] | None = None
                    for step, found in zip(self._steps, images, strict=True):
                        image = found[number, place, view]
                        is_same = before is not None and np.array_equal(image, before)
                        caption = "unchanged" if is_same else self._caption(step, draws, sample, view)
                        boxes.append(captioned(tile(image, _TILE), caption))
                        before = image
                    rows.append(beside(boxes, _GAP))
        self._split.close()
        return below(rows, _GAP)

    def _stored(self, stored: npt.NDArray[np.uint8], number: int, place: int, view: int) -> Image.Image:
        """Draw an image as stored, with the window of its crop."""
        picture, sample = Image.fromarray(stored), int(self._samples[place])
        label = int(self._split.samples["label"][sample])
        info = self._dataset.manifest.classes[label] if label >= 0 else ClassInfo("no label", "no label")
        draws = self._draws[number]
        caption = f"{info.name if info.name.isascii() else info.id}\nepoch {draws.epoch}"
        if draws.view + view:
            caption += f", view {draws.view + view}"
        if self._transform.views == 1:
            rows = {name: table[[place]] for name, table in self._renderer.rows[number].items()}
            crop, size = self._transform.crop, np.array([stored.shape[:2]], np.int32)
            (top, left), (height, width) = (found[0].tolist() for found in crop.placement(rows, size))
            box = (left, top, left + width * crop.size - 1, top + height * crop.size - 1)
            ImageDraw.Draw(picture).rectangle(box, outline=_WINDOW, width=max(1, max(picture.size) // 80))
            caption += f"\n{round(width * crop.size)} x {round(height * crop.size)} at {round(left)}, {round(top)}"
        return captioned(tile(np.asarray(picture), _TILE), caption)

    def _caption(self, step: Step, draws: EpochDraws, sample: int, view: int) -> str:
        """Say what was drawn for a step that changes the image."""
        if step.place is None:
            return "flipped" if step.title == FLIP else ""
        op = self._transform.ops[step.place]
        drawn = draws.stream(op.name, step.place, view).row(sample, op.draw)
        return op.describe(drawn, self._context)


def _heading(title: str, settings: tuple[str, ...]) -> Image.Image:
    lines = [text_box(wrapped(title, _NORMAL, _TILE), _NORMAL, width=_TILE)]
    if settings:
        lines.append(text_box(wrapped("\n".join(settings), _SMALL, _TILE), _SMALL, colour=FAINT, width=_TILE))
    return below(lines, 2)
