"""Faces and templates of photos by OpenCV's FaceDetectorYN and FaceRecognizerSF, as JSON on standard output.

    expected.py MODELS_DIR PHOTO...

MODELS_DIR holds the models as they are published. The answer maps each photo's path to its width, height and faces, largest
first; positions are ratios of width and height, templates have unit length.

It takes OpenCV 4: its warpAffine is the one that the encoder follows, and it runs the block-quantised models as they are
published. OpenCV 5 samples at exact positions and refuses the embedder.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

DETECTOR = "face_detection_yunet_2023mar_int8bq.onnx"
EMBEDDER = "face_recognition_sface_2021dec_int8bq.onnx"
SIDE_PX_MAX = 640
CONFIDENCE_MIN = 0.6
OVERLAP_MAX = 0.3
CANDIDATES_MAX = 5000


def shrink(photo):
    """The photo with its longest side at most SIDE_PX_MAX."""
    full = photo.shape[1::-1]
    longest = max(full)
    if longest <= SIDE_PX_MAX:
        return photo
    size = tuple(max(1, int(side * SIDE_PX_MAX / longest + 0.5)) for side in full)
    return cv2.resize(photo, size, interpolation=cv2.INTER_LINEAR)


def faces_of(path, detector, embedder):
    """The photo's width, height, and faces, largest first."""
    photo = cv2.imread(path, cv2.IMREAD_COLOR)
    if photo is None:
        sys.exit(f"OpenCV cannot read {path}")
    full = np.array(photo.shape[1::-1], dtype=np.float64)
    shrunk = shrink(photo)
    extent = np.array([shrunk.shape[1], shrunk.shape[0]], dtype=np.float64)
    detector.setInputSize((shrunk.shape[1], shrunk.shape[0]))
    _, found = detector.detect(shrunk)
    faces = []
    for row in [] if found is None else found:
        ratios = row[:14].reshape(7, 2) / extent
        scaled = row.copy()
        scaled[:14] = (ratios * full).reshape(14)
        template = embedder.feature(embedder.alignCrop(photo, scaled))[0].astype(np.float64)
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
    models = Path(sys.argv[1])
    cv2.setNumThreads(1)
    detector = cv2.FaceDetectorYN.create(
        str(models / DETECTOR), "", (320, 320), CONFIDENCE_MIN, OVERLAP_MAX, CANDIDATES_MAX
    )
    embedder = cv2.FaceRecognizerSF.create(str(models / EMBEDDER), "")
    json.dump({path: faces_of(path, detector, embedder) for path in sys.argv[2:]}, sys.stdout)


main()
