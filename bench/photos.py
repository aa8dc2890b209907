"""Photos a second on one thread, with OpenCV and ONNX Runtime from packages: decode, detect, align, embed.

    photos.py [--write-large FILE PORTRAIT] MODEL_DIR PHOTOS REPEATS

MODEL_DIR holds the folded models (`yunet-2023mar.onnx`, `sface-2021dec.onnx`), the very files that Vidimus loads; it runs the
same arithmetic in other operators. PHOTOS is a photo or a folder of them (with its folders); all are encoded REPEATS times. It
prints JSON: photos, faces, seconds, photos_per_second. `photos_per_second`, an example of `vidimus-onnx`, does the same steps.

With --write-large it first makes FILE, a JPEG of 12 megapixels (4:2:0, quality 90) out of PORTRAIT: enlarged, with grain, so that
its size is that of a camera's.
"""

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

SIDE_PX_MAX = 640
CONFIDENCE_MIN = 0.6
OVERLAP_MAX = 0.3
STRIDES = (8, 16, 32)
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
GRAIN = 4


def session(path):
    """The model on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def detect(photo, detector):
    """Boxes and landmarks in the photo's pixels."""
    height, width = photo.shape[:2]
    scale = min(1.0, SIDE_PX_MAX / max(width, height))
    size = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    shrunk = photo if scale == 1.0 else cv2.resize(photo, size, interpolation=cv2.INTER_LINEAR)
    padded = (-(-size[1] // 32) * 32, -(-size[0] // 32) * 32)
    values = np.zeros((1, 3, *padded), np.float32)
    values[0, :, : size[1], : size[0]] = shrunk.transpose(2, 0, 1)
    names = [f"{name}_{stride}" for name in ("cls", "obj", "bbox", "kps") for stride in STRIDES]
    outputs = dict(zip(names, detector.run(names, {detector.get_inputs()[0].name: values}), strict=True))
    found = [decode(outputs, stride, padded[1] // stride) for stride in STRIDES]
    scores, boxes, landmarks = (np.concatenate(parts) for parts in zip(*found, strict=True))
    kept = cv2.dnn.NMSBoxes(boxes, scores, CONFIDENCE_MIN, OVERLAP_MAX) if len(scores) else []
    full = np.array([width / size[0], height / size[1]])
    return [landmarks[index] * full for index in kept]


def decode(outputs, stride, columns):
    """Scores, boxes and landmarks of the cells of a stride that may be faces."""
    classes, objects = outputs[f"cls_{stride}"][0, :, 0], outputs[f"obj_{stride}"][0, :, 0]
    scores = np.sqrt(classes.clip(0, 1) * objects.clip(0, 1))
    cells = np.flatnonzero(scores >= CONFIDENCE_MIN)
    corner = np.stack([cells % columns, cells // columns], axis=1)
    shape = outputs[f"bbox_{stride}"][0, cells]
    sides = np.exp(shape[:, 2:]) * stride
    boxes = np.hstack([(corner + shape[:, :2]) * stride - sides / 2, sides])
    marks = outputs[f"kps_{stride}"][0, cells].reshape(-1, 5, 2)
    return scores[cells], boxes, (marks + corner[:, None]) * stride


def align(photo, landmarks):
    """The face on the template: the least-squares similarity (Umeyama), 112 x 112."""
    source, target = landmarks - landmarks.mean(axis=0), TEMPLATE - TEMPLATE.mean(axis=0)
    spread = (source**2).sum()
    a = (source * target).sum() / spread
    b = (source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum() / spread
    turn = np.array([[a, -b], [b, a]])
    shift = TEMPLATE.mean(axis=0) - turn @ landmarks.mean(axis=0)
    return cv2.warpAffine(photo, np.hstack([turn, shift[:, None]]), (112, 112), flags=cv2.INTER_LINEAR)


def templates(path, detector, embedder):
    """The templates of a photo's faces."""
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    answer = []
    for landmarks in detect(photo, detector):
        face = cv2.cvtColor(align(photo, landmarks), cv2.COLOR_BGR2RGB)
        values = np.ascontiguousarray(face.transpose(2, 0, 1)[None], dtype=np.float32)
        template = embedder.run(None, {embedder.get_inputs()[0].name: values})[0][0]
        answer.append(template / np.linalg.norm(template))
    return answer


def write_large(path, portrait):
    """A portrait of 12 megapixels with grain."""
    photo = cv2.imread(portrait, cv2.IMREAD_COLOR)
    scale = (12e6 / photo.shape[0] / photo.shape[1]) ** 0.5
    large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(0).normal(0, GRAIN, large.shape)
    grainy = np.clip(large + grain, 0, 255).astype(np.uint8)
    cv2.imwrite(path, grainy, [cv2.IMWRITE_JPEG_QUALITY, 90])


def main(arguments):
    cv2.setNumThreads(1)
    if arguments[0] == "--write-large":
        write_large(arguments[1], arguments[2])
        arguments = arguments[3:]
    models, place, repeats = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    detector = session(models / "yunet-2023mar.onnx")
    embedder = session(models / "sface-2021dec.onnx")
    paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    templates(paths[0], detector, embedder)
    begun = time.perf_counter()
    faces = sum(len(templates(path, detector, embedder)) for _ in range(repeats) for path in paths)
    seconds = time.perf_counter() - begun
    photos = len(paths) * repeats
    figures = {"photos": photos, "faces": faces, "seconds": seconds, "photos_per_second": photos / seconds}
    json.dump(figures, sys.stdout)


main(sys.argv[1:])
