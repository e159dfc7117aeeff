"""pictures.py FOLDER: folders of pictures of three classes, and single ones of every form; what they sum to is printed as JSON.

JPEGs were made with libjpeg-turbo 2.1.5; their sums are what it decodes them to."""
import base64
import json
import pathlib
import random
import struct
import sys
import zlib

COLOUR = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGB"
    "YUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/wAARCAAI"
    "AAgDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhBy"
    "JxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKT"
    "lJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAA"
    "AAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRom"
    "JygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExc"
    "bHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDgvg9+yf8A6j/Q/T+GiiinhcTU9mtTp4G4yzn+xqf73+vvP//Z"
)
GRAY = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGB"
    "YUGBIUFRT/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAABv/EABcQAAMBAAAAAAAAAAAAAAAAAAAJRYL/2gAIAQEAAD8ABLumZP/Z"
)
CMYK = (
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdoZz5NcXlwZH"
    "hcZWdj/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABQAAQAAAAAAAAAAAAAAAAAAAAb/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oADgRDAE0AWQBL"
    "AAA/AHZsYlj/2Q=="
)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, width, height, colour_type, depth, rows, more=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    raw = b"".join(b"\0" + bytes(r) for r in rows)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def luma(r, g, b):
    return (299 * r + 587 * g + 114 * b + 500) // 1000


def main():
    at = pathlib.Path(sys.argv[1])
    rng = random.Random(1)
    for split, n in (("train", 20), ("test", 6)):
        for k, name in enumerate(("ball", "cat", "shoe")):
            folder = at / "set" / split / name
            folder.mkdir(parents=True)
            for i in range(n):  # one third of the rows is bright: which says the class
                rows = [[(200 if y // 3 == k else 20) + rng.randrange(50) for _ in range(8)] for y in range(8)]
                png(folder / f"{i:03}.PNG" if i % 2 else folder / f"{i:03}.png", 8, 8, 0, 8, rows)
    for i in range(60):  # 2.4 MB of pixels
        folder = at / "large" / "abc"[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        png(folder / f"{i:02}.png", 200, 200, 0, 8, [rng.randbytes(200) for _ in range(200)])
    (at / "flat" / "a").mkdir(parents=True)
    (at / "flat" / "b").mkdir()
    for name in "ab":
        for i in range(3):
            png(at / "flat" / name / f"{i}.png", 8, 8, 0, 8, [[i] * 8] * 8)
    sums = {}

    def keep(name, pixels):
        sums[name] = [sum(p[c] for p in pixels) for c in range(3)] + [sum(luma(*p) for p in pixels)]

    g = [[rng.randrange(256) for _ in range(8)] for _ in range(8)]
    flat = [v for r in g for v in r]
    c = [tuple(rng.randrange(256) for _ in range(3)) for _ in range(64)]
    lines = lambda pixels, f: [sum((f(p) for p in pixels[8 * y:8 * y + 8]), []) for y in range(8)]
    png(at / "gray.png", 8, 8, 0, 8, g)
    png(at / "gray16.png", 8, 8, 0, 16, lines(flat, lambda v: [v, 77]))
    png(at / "gray_alpha.png", 8, 8, 4, 8, lines(flat, lambda v: [v, 128]))
    for name in "gray", "gray16", "gray_alpha":
        keep(name + ".png", [(v, v, v) for v in flat])
    png(at / "one_bit.png", 8, 8, 0, 1, [[0b10110000]] * 8)
    keep("one_bit.png", [(255 * b,) * 3 for b in (1, 0, 1, 1, 0, 0, 0, 0)] * 8)
    png(at / "rgb.png", 8, 8, 2, 8, lines(c, list))
    png(at / "rgba.png", 8, 8, 6, 8, lines(c, lambda p: [*p, 0]))
    palette = [(i, 255 - i, i // 2) for i in range(256)]
    png(at / "palette.png", 8, 8, 3, 8, g, chunk(b"PLTE", b"".join(bytes(p) for p in palette)) + chunk(b"tRNS", bytes(256)))
    keep("rgb.png", c)
    keep("rgba.png", c)
    keep("palette.png", [palette[v] for v in flat])
    (at / "colour.jpeg").write_bytes(base64.b64decode(COLOUR))
    (at / "gray.JPG").write_bytes(base64.b64decode(GRAY))
    sums["colour.jpeg"] = [6674, 6759, 6718, None]
    sums["gray.JPG"] = [6744] * 4
    whole = (at / "rgb.png").read_bytes()
    (at / "cut.png").write_bytes(whole[:-60])
    (at / "wrong.png").write_bytes(whole.replace(b"IDAT" + whole[whole.index(b"IDAT") + 4:][:3], b"IDAT\0\0\0"))
    (at / "cut.jpg").write_bytes(base64.b64decode(COLOUR)[:-40])
    (at / "inks.jpg").write_bytes(base64.b64decode(CMYK))
    (at / "text.png").write_text("a text")
    png(at / "wide.png", 40000, 1, 0, 8, [[0] * 40000])
    png(at / "other.png", 9, 8, 0, 8, [[0] * 9] * 8)
    print(json.dumps(sums))


main()
