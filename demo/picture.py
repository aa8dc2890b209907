"""Draws searches as a picture: a row for each, the probe on the left, its candidates on the right."""

from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

BACKGROUND = "#f5f6f8"
CARD = "#ffffff"
LINE = "#d9dce3"
TEXT = "#1d2433"
FAINT = "#6b7487"
PROBE = "#2f6fed"
CANDIDATE = "#12925a"
NOBODY = "#c2560c"

MARGIN = 40
GAP = 24
PHOTO = 340
CAPTION = 132
SCALE = 2  # drawn twice as large and then reduced, so that lines are smooth


@dataclass
class Shown:
    """A face in its photo, and what stands under it."""

    photo: Path
    box: dict[str, float]
    title: str
    lines: list[str]
    score: float | None = None


@dataclass
class Search:
    """One search."""

    heading: str
    probe: Shown
    candidates: list[Shown] = field(default_factory=list)


class Canvas:
    """A drawing in units of the finished picture."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width * SCALE, height * SCALE), BACKGROUND)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, at: tuple[float, float], text: str, size: int, fill: str, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * SCALE)
        self.draw.text((at[0] * SCALE, at[1] * SCALE), text, font=font, fill=fill, anchor=anchor)

    def rounded(
        self, box: tuple[float, ...], radius: float, fill: str, outline: str | None = None, width: int = 1
    ) -> None:
        scaled = tuple(round(side * SCALE) for side in box)
        self.draw.rounded_rectangle(scaled, radius * SCALE, fill=fill, outline=outline, width=width * SCALE)

    def paste(self, picture: Image.Image, at: tuple[int, int], radius: int) -> None:
        mask = Image.new("L", picture.size, 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, picture.width - 1, picture.height - 1), radius * SCALE, fill=255)
        self.image.paste(picture, (at[0] * SCALE, at[1] * SCALE), mask)

    def finished(self) -> Image.Image:
        return self.image.resize((self.image.width // SCALE, self.image.height // SCALE), Image.Resampling.LANCZOS)


def square_around(box: dict[str, float], width: int, height: int) -> tuple[float, float, float]:
    """The square of the photo that shows a face with its surroundings: left, top, side, in pixels."""
    face_height = box["Height"] * height
    side = min(face_height * 2.1, width, height)
    centre_x = (box["Left"] + box["Width"] / 2) * width
    centre_y = (box["Top"] + box["Height"] / 2) * height
    left = min(max(centre_x - side / 2, 0), width - side)
    top = min(max(centre_y - side / 2, 0), height - side)
    return left, top, side


def face_picture(shown: Shown, colour: str) -> Image.Image:
    """The face, cut out, with its box."""
    photo = ImageOps.exif_transpose(Image.open(shown.photo)).convert("RGB")
    left, top, side = square_around(shown.box, *photo.size)
    pixels = PHOTO * SCALE
    cut = photo.resize((pixels, pixels), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    ratio = pixels / side
    x0 = (shown.box["Left"] * photo.width - left) * ratio
    y0 = (shown.box["Top"] * photo.height - top) * ratio
    x1 = x0 + shown.box["Width"] * photo.width * ratio
    y1 = y0 + shown.box["Height"] * photo.height * ratio
    draw = ImageDraw.Draw(cut)
    draw.rounded_rectangle((x0, y0, x1, y1), 10 * SCALE, outline="#ffffff", width=6 * SCALE)
    draw.rounded_rectangle((x0 + 2, y0 + 2, x1 - 2, y1 - 2), 10 * SCALE, outline=colour, width=4 * SCALE)
    return cut


def badge(canvas: Canvas, corner: tuple[float, float], text: str, colour: str) -> None:
    """A small label on a photo."""
    font = ImageFont.load_default(20 * SCALE)
    width = canvas.draw.textlength(text, font=font) / SCALE + 24
    canvas.rounded((corner[0], corner[1], corner[0] + width, corner[1] + 34), 17, colour)
    canvas.text((corner[0] + width / 2, corner[1] + 17), text, 20, "#ffffff", "mm")


def card(canvas: Canvas, at: tuple[int, int], shown: Shown, label: str, colour: str) -> None:
    """A photo with its box, its score as a bar, and its caption."""
    x, y = at
    canvas.rounded((x - 10, y - 10, x + PHOTO + 10, y + PHOTO + CAPTION), 18, CARD, LINE)
    canvas.paste(face_picture(shown, colour), at, 12)
    badge(canvas, (x + 12, y + 12), label, colour)
    below = y + PHOTO + 14
    if shown.score is not None:
        canvas.rounded((x, below, x + PHOTO, below + 8), 4, LINE)
        canvas.rounded((x, below, x + PHOTO * shown.score / 100, below + 8), 4, colour)
        below += 20
    canvas.text((x, below), shown.title, 22, TEXT)
    for number, line in enumerate(shown.lines):
        canvas.text((x, below + 32 + 22 * number), line, 16, FAINT)


def nobody(canvas: Canvas, at: tuple[int, int]) -> None:
    """What stands where a candidate would."""
    x, y = at
    bottom = y + PHOTO + CAPTION
    canvas.rounded((x - 10, y - 10, x + PHOTO + 10, bottom), 18, BACKGROUND, LINE, 2)
    middle = (y - 10 + bottom) / 2
    canvas.text((x + PHOTO / 2, middle - 14), "no candidate", 26, NOBODY, "mm")
    canvas.text((x + PHOTO / 2, middle + 18), "nobody enrolled reaches the threshold", 16, FAINT, "mm")


def draw(title: str, searches: list[Search], path: Path) -> None:
    """Writes the picture."""
    columns = 1 + max([1] + [len(search.candidates) for search in searches])
    row = 54 + PHOTO + CAPTION + GAP
    width = 2 * MARGIN + columns * PHOTO + (columns - 1) * (GAP + 40)
    canvas = Canvas(width, MARGIN + 56 + row * len(searches) + MARGIN // 2)
    canvas.text((MARGIN, MARGIN - 4), title, 30, TEXT)
    for number, search in enumerate(searches):
        top = MARGIN + 56 + row * number
        canvas.text((MARGIN, top), search.heading, 19, FAINT)
        line = top + 44
        card(canvas, (MARGIN, line), search.probe, "probe", PROBE)
        for place in range(1, columns):
            x = MARGIN + place * (PHOTO + GAP + 40)
            if place <= len(search.candidates):
                shown = search.candidates[place - 1]
                card(canvas, (x, line), shown, f"similarity {shown.score:.1f}", CANDIDATE)
            elif place == 1:
                nobody(canvas, (x, line))
        canvas.text((MARGIN + PHOTO + (GAP + 40) / 2, line + PHOTO / 2), "›", 54, FAINT, "mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.finished().save(path)
