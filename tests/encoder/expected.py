"""Faces and templates of photos by OpenCV's FaceDetectorYN and FaceRecognizerSF, as JSON on standard output.

    expected.py [--whole] MODELS_DIR PHOTO...

MODELS_DIR holds the models as they are published. The answer maps each photo's path to its width, height and faces, largest
first; positions are ratios of width and height, templates have unit length.

A JPEG that is four times as long as the detector's input, or more, is read reduced by libjpeg, and each face is aligned from
the reduction that leaves it two pixels or more for each of its own. Its sides must divide by 8, or
OpenCV takes the pixels that fill up the last block for the photo's. Anything smaller is read whole, and with --whole everything.

It takes OpenCV 4: its warpAffine is the one that the encoder follows, and it runs the block-quantised models as they are
published. OpenCV 5 samples at exact positions and refuses the embedder.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

ARGUMENTS = [argument for argument in sys.argv[1:] if argument != "--whole"]
WHOLE = "--whole" in sys.argv[1:]
DETECTOR = "face_detection_yunet_2023mar_int8bq.onnx"
EMBEDDER = "face_recognition_sface_2021dec_int8bq.onnx"
SIDE_PX_MAX = 640
CONFIDENCE_MIN = 0.6
OVERLAP_MAX = 0.3
CANDIDATES_MAX = 5000
PIXELS_PER_ALIGNED_PIXEL_MIN = 2.0
REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def shrink(photo, full):
    """The photo with its longest side at most SIDE_PX_MAX."""
    longest = max(full)
    if longest <= SIDE_PX_MAX:
        return photo
    size = tuple(max(1, int(side * SIDE_PX_MAX / longest + 0.5)) for side in full)
    return cv2.resize(photo, size, interpolation=cv2.INTER_LINEAR)


def read(path, reduction):
    """The photo with each side divided by 1, 2, 4 or 8."""
    photo = cv2.imread(path, REDUCED[reduction])
    if photo is None:
        sys.exit(f"OpenCV cannot read {path}")
    return photo


def first_reduction(size):
    """How the photo is read for the detector."""
    if WHOLE:
        return 1
    return next((it for it in (8, 4) if max(size) // it >= SIDE_PX_MAX), 1)


def reduction_of(landmarks, first):
    """The reduction that a face is aligned from: like OpenCV's, the scale is that of the least-squares similarity."""
    seen = landmarks - landmarks.mean(axis=0)
    wanted = TEMPLATE - TEMPLATE.mean(axis=0)
    products = (seen[:, 0] - 1j * seen[:, 1]) * (wanted[:, 0] + 1j * wanted[:, 1])
    spare = (seen**2).sum() / abs(products.sum()) / PIXELS_PER_ALIGNED_PIXEL_MIN
    return next((it for it in (8, 4, 2) if it <= spare), 1) if first > 1 else 1


def faces_of(path, detector, embedder):
    """The photo's width, height, and faces, largest first."""
    full = np.array(cv2.imread(path, cv2.IMREAD_COLOR).shape[1::-1], dtype=np.float64)
    first = first_reduction(full)
    photo = read(path, first)
    shrunk = shrink(photo, full)
    extent = np.array([shrunk.shape[1], shrunk.shape[0]], dtype=np.float64)
    detector.setInputSize((shrunk.shape[1], shrunk.shape[0]))
    _, found = detector.detect(shrunk)
    faces = []
    for row in [] if found is None else found:
        ratios = row[:14].reshape(7, 2) / extent
        reduction = reduction_of(ratios[2:] * full, first)
        level = photo if reduction == first else read(path, reduction)
        scaled = row.copy()
        scaled[:14] = ((ratios * full + 0.5) / reduction - 0.5).reshape(14)
        template = embedder.feature(embedder.alignCrop(level, scaled))[0].astype(np.float64)
        faces.append(
            {
                "box": ratios[:2].reshape(4).tolist(),
                "landmarks": ratios[2:].tolist(),
                "confidence": float(row[14]),
                "template": (template / np.linalg.norm(template)).tolist(),
            }
        )
    largest_first = sorted(faces, key=lambda face: -face["box"][2] * face["box"][3])
    return {"width_px": int(full[0]), "height_px": int(full[1]), "faces": largest_first}


def main():
    models = Path(ARGUMENTS[0])
    cv2.setNumThreads(1)
    detector = cv2.FaceDetectorYN.create(
        str(models / DETECTOR), "", (320, 320), CONFIDENCE_MIN, OVERLAP_MAX, CANDIDATES_MAX
    )
    embedder = cv2.FaceRecognizerSF.create(str(models / EMBEDDER), "")
    json.dump({path: faces_of(path, detector, embedder) for path in ARGUMENTS[1:]}, sys.stdout)


main()
