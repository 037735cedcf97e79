"""Draw the sample pictures shipped in ``samples/``.

Each picture is drawn from scratch with Pillow and shows one thing that an ImageNet classifier knows.
Nothing depends on installed fonts or on chance, so a second run draws the same pictures:

    python -m scripts.draw_samples
"""

import math
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

SAMPLES_DIR = Path(__file__).resolve().parent.parent / "samples"
SEED = 7
SIZE = 480
S = 3  # Pictures are drawn S times too large and then reduced, which smooths their edges.
PALETTE = 96

Color = tuple[int, int, int]

# The upper eight rows of a 15x15 grid; the rest is the same turned by half a circle.
CROSSWORD_ROWS = (
    "....#.....#....",
    "....#.....#....",
    "....#.....#....",
    ".......#.......",
    "###...#....#...",
    "...#.....#.....",
    ".....#....#....",
    "....#.....#....",
)


def _fade(top: Color, bottom: Color) -> Image.Image:
    """Return a picture at drawing scale that goes from one colour down to another."""
    size = (SIZE * S, SIZE * S)
    mask = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), mask)


def _box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    """Bring a box from picture coordinates to drawing scale."""
    return x0 * S, y0 * S, x1 * S, y1 * S


def draw_crossword() -> Image.Image:
    """Draw an unsolved newspaper crossword with numbered cells."""
    rows = CROSSWORD_ROWS + tuple(row[::-1] for row in CROSSWORD_ROWS[-2::-1])
    count, cell, margin = len(rows), 30, 15
    paper, ink = (250, 247, 238), (24, 24, 26)
    image = _fade(paper, paper)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=9 * S)

    def is_open(row: int, col: int) -> bool:
        return 0 <= row < count and 0 <= col < count and rows[row][col] == "."

    number = 0
    for row in range(count):
        for col in range(count):
            x, y = margin + col * cell, margin + row * cell
            fill = (255, 255, 252) if is_open(row, col) else ink
            draw.rectangle(_box(x, y, x + cell, y + cell), fill=fill, outline=ink, width=S)
            across = not is_open(row, col - 1) and is_open(row, col + 1)
            down = not is_open(row - 1, col) and is_open(row + 1, col)
            if is_open(row, col) and (across or down):
                number += 1
                draw.text(((x + 3) * S, (y + 2) * S), str(number), ink, font=font)
    return image


def draw_clock() -> Image.Image:
    """Draw a round wooden wall clock, showing ten past ten."""
    wall, ink, wood, face = (206, 196, 178), (56, 36, 22), (122, 74, 38), (240, 225, 190)
    centre = SIZE * S // 2
    image = _fade(wall, wall)
    shade = Image.new("L", image.size, 0)
    ImageDraw.Draw(shade).circle((centre + 7 * S, centre + 11 * S), 197 * S, fill=110)
    image.paste((60, 50, 40), mask=shade.filter(ImageFilter.GaussianBlur(6 * S)))
    draw = ImageDraw.Draw(image)
    for radius, color in ((200, ink), (195, wood), (182, ink), (176, face)):
        draw.circle((centre, centre), radius * S, fill=color)

    def at(minute: float, radius: float) -> tuple[float, float]:
        turn = math.radians(minute * 6)
        return centre + radius * S * math.sin(turn), centre - radius * S * math.cos(turn)

    font = ImageFont.load_default(size=48 * S)
    for minute in range(60):
        inner, width = (162, 2) if minute % 5 else (155, 6)
        draw.line((at(minute, inner), at(minute, 170)), ink, width * S)
    for hour in range(1, 13):
        draw.text(at(hour * 5, 127), str(hour), ink, font=font, anchor="mm")
    for position, length, width in ((50.8, 86, 11), (10, 138, 8)):
        draw.line((at(position, -25), at(position, length)), ink, width * S)
    draw.circle((centre, centre), 10 * S, fill=ink)
    return image


def draw_traffic_light() -> Image.Image:
    """Draw a traffic light that shows red, against the sky."""
    image = _fade((96, 146, 200), (206, 222, 234))
    draw = ImageDraw.Draw(image)
    draw.rectangle(_box(228, 400, 252, SIZE), fill=(70, 74, 78))
    draw.rounded_rectangle(_box(165, 30, 315, 410), 24 * S, fill=(28, 30, 32))
    draw.rounded_rectangle(_box(172, 37, 308, 403), 18 * S, fill=(46, 48, 50))
    for y, color in ((104, (255, 48, 36)), (220, (88, 64, 14)), (336, (12, 68, 38))):
        draw.circle((240 * S, y * S), 54 * S, fill=(10, 10, 12))
        draw.circle((240 * S, (y + 5) * S), 45 * S, fill=color)
    draw.circle((240 * S, 109 * S), 27 * S, fill=(255, 122, 98))
    return image


def draw_umbrella() -> Image.Image:
    """Draw an open red umbrella in the rain."""
    rng = random.Random(SEED)
    # On a grey sky EfficientNet-Lite0 takes it for a parachute.
    image = _fade((222, 228, 234), (244, 246, 247))
    draw = ImageDraw.Draw(image)
    for _ in range(30):
        x, y = rng.randrange(SIZE), rng.randrange(SIZE)
        draw.line(_box(x, y, x - 5, y + 18), (208, 217, 227), S)
    draw.rounded_rectangle(_box(236, 58, 244, 402), 4 * S, fill=(60, 46, 36))
    draw.arc(_box(184, 366, 244, 434), 0, 180, (110, 66, 34), 10 * S)
    canopy = Image.new("L", image.size, 0)
    cut = ImageDraw.Draw(canopy)
    cut.pieslice(_box(50, 80, 430, 420), 180, 360, fill=255)
    edges = (50, 125, 200, 280, 355, 430)
    for left, right in pairwise(edges):
        cut.ellipse(_box(left, 234, right, 268), fill=0)
    cloth = Image.new("RGB", image.size, (168, 22, 30))
    for half, color in ((115, (200, 32, 40)), (40, (222, 52, 56))):
        ImageDraw.Draw(cloth).ellipse(_box(240 - half, 80, 240 + half, 420), fill=color)
    image.paste(cloth, mask=canopy)
    return image


def draw_maze() -> Image.Image:
    """Draw a hedge maze seen from above, with a way in and a way out."""
    rng = random.Random(SEED)
    count, step, margin, half, height, leaves = 8, 57, 12, 9, 8, 9000
    sand, hedge, side, shadow = (170, 190, 120), (40, 80, 36), (22, 44, 20), (119, 133, 84)
    paths = Image.new("L", (SIZE * S, SIZE * S), 255)
    draw = ImageDraw.Draw(paths)
    end = margin + count * step
    draw.rectangle(_box(margin - half, margin - half, end + half, end + half), fill=0)

    def clear(row: int, col: int, to_row: int, to_col: int) -> None:
        x0, x1 = margin + min(col, to_col) * step, margin + (max(col, to_col) + 1) * step
        y0, y1 = margin + min(row, to_row) * step, margin + (max(row, to_row) + 1) * step
        draw.rectangle(_box(x0 + half, y0 + half, x1 - half, y1 - half), fill=255)

    path, seen = [(0, 0)], {(0, 0)}
    clear(-1, 0, 0, 0)
    clear(count - 1, count - 1, count, count - 1)
    while path:
        row, col = path[-1]
        around = ((row, col + 1), (row + 1, col), (row, col - 1), (row - 1, col))
        fresh = [(r, c) for r, c in around if (r, c) not in seen and 0 <= r < count and 0 <= c < count]
        if not fresh:
            path.pop()
            continue
        path.append(rng.choice(fresh))
        seen.add(path[-1])
        clear(row, col, *path[-1])

    image = Image.new("RGB", paths.size, hedge)
    draw = ImageDraw.Draw(image)
    for _ in range(leaves):
        x, y, light = rng.randrange(SIZE), rng.randrange(SIZE), rng.choice((0.7, 0.85, 1.15, 1.3))
        draw.circle((x * S, y * S), 2 * S, fill=tuple(int(part * light) for part in hedge))
    image.paste(sand, mask=paths)
    # Each hedge's side that faces the viewer, and the shadow at its foot.
    for depth, color in ((height + 4, shadow), (height, side)):
        lower = Image.new("L", paths.size, 255)
        lower.paste(paths, (0, depth * S))
        image.paste(color, mask=ImageChops.subtract(paths, lower))
    return image


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "crossword.png": draw_crossword,
    "clock.png": draw_clock,
    "traffic_light.png": draw_traffic_light,
    "umbrella.png": draw_umbrella,
    "maze.png": draw_maze,
}


def picture(name: str) -> Image.Image:
    """Draw one of them, at its own size."""
    image = PICTURES[name]().resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return image.quantize(PALETTE, dither=Image.Dither.NONE)


def main() -> None:
    """Write every sample picture."""
    SAMPLES_DIR.mkdir(exist_ok=True)
    for name in PICTURES:
        picture(name).save(SAMPLES_DIR / name, optimize=True)


if __name__ == "__main__":
    main()
