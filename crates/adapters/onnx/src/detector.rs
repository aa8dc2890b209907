//! Finds faces: YuNet 2023mar (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence
//! Research 2023), pre- and post-processing as OpenCV's `FaceDetectorYN` does them.

use std::borrow::Cow;

use image::RgbImage;
use ort::session::{Session, SessionOutputs};
use ort::value::TensorRef;
use vidimus_domain::geometry::{BoundingBox, Landmarks, Point};
use vidimus_domain::limits::FACES_PER_PHOTO_MAX;

use crate::error::OnnxError;
use crate::manifest::DetectorManifest;
use crate::picture::Picture;
use crate::resize::resize_linear;

/// Pixels between the cells of the three grids.
const STRIDES: [usize; 3] = [8, 16, 32];
/// The input's sides are multiples of this.
const SIDE_MULTIPLE: u32 = 32;
/// Detections that overlap is looked for among, best first (OpenCV's default `topK`).
const CANDIDATES_MAX: usize = 5_000;

/// A face as detected.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Where it is.
    pub bounding_box: BoundingBox,
    /// Left eye, right eye, nose, left and right mouth corner as seen in the image.
    pub landmarks: Landmarks,
    /// 0 to 1.
    pub confidence: f32,
}

/// The detector with its model loaded; used by one thread.
pub struct Detector {
    session: Session,
    side_px_max: u32,
    confidence_min: f32,
    overlap_max: f32,
}

/// The outputs for one size of cells, and the grid that these make.
struct Grid<'a> {
    stride: f32,
    columns: usize,
    class: &'a [f32],
    object: &'a [f32],
    boxes: &'a [f32],
    landmarks: &'a [f32],
}

/// Pixels of the detector's input for the photo's whole width and height.
#[derive(Clone, Copy)]
struct Extent {
    width: f32,
    height: f32,
}

impl Detector {
    /// A detector on a session of its model.
    #[must_use]
    pub const fn new(session: Session, manifest: &DetectorManifest) -> Self {
        Self {
            session,
            side_px_max: manifest.side_px_max,
            confidence_min: manifest.confidence_min,
            overlap_max: manifest.overlap_max,
        }
    }

    /// The longest side of its input.
    #[must_use]
    pub const fn side_px_max(&self) -> u32 {
        self.side_px_max
    }

    /// The faces of a photo, largest first, at most [`FACES_PER_PHOTO_MAX`].
    ///
    /// # Errors
    /// Where the model fails or its outputs are not YuNet's.
    pub fn detect(&mut self, photo: &Picture) -> Result<Vec<Detection>, OnnxError> {
        let [width, height] = shrunk(photo.size_px(), self.side_px_max);
        let input = Input::of(&at_size(photo, [width, height]));
        let tensor =
            TensorRef::from_array_view(([1, 3, input.height, input.width], input.values.as_slice()))?;
        let outputs = self.session.run(ort::inputs![tensor])?;
        let extent = Extent { width: width as f32, height: height as f32 };
        let mut found = Vec::new();
        for stride in STRIDES {
            let grid = Grid::of(&outputs, stride, &input)?;
            grid.decode(self.confidence_min, extent, &mut found);
        }
        Ok(largest_first(without_overlaps(found, self.overlap_max)))
    }
}

/// The size at which the longest side is `side_px_max` or less, at the same aspect; never larger than it is.
fn shrunk(photo_px: [u32; 2], side_px_max: u32) -> [u32; 2] {
    let [width, height] = photo_px;
    let longest = width.max(height);
    if longest <= side_px_max {
        return photo_px;
    }
    let scale = f64::from(side_px_max) / f64::from(longest);
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    [side(width), side(height)]
}

fn at_size(photo: &Picture, size_px: [u32; 2]) -> Cow<'_, RgbImage> {
    match photo {
        Picture::Whole(image) if photo.size_px() == size_px => Cow::Borrowed(image),
        _ => Cow::Owned(resize_linear(photo, size_px)),
    }
}

/// What the model is given: blue, green, red, 0 to 255, padded with zeros right and below.
struct Input {
    values: Vec<f32>,
    width: usize,
    height: usize,
}

impl Input {
    fn of(image: &RgbImage) -> Self {
        let width = image.width().next_multiple_of(SIDE_MULTIPLE) as usize;
        let height = image.height().next_multiple_of(SIDE_MULTIPLE) as usize;
        let plane = width * height;
        let mut values = vec![0.0; 3 * plane];
        let (blues, rest) = values.split_at_mut(plane);
        let (greens, reds) = rest.split_at_mut(plane);
        let planes = blues
            .chunks_exact_mut(width)
            .zip(greens.chunks_exact_mut(width))
            .zip(reds.chunks_exact_mut(width));
        let rows = image.as_raw().chunks_exact(image.width() as usize * 3);
        for (((blue_row, green_row), red_row), row) in planes.zip(rows) {
            let samples = blue_row.iter_mut().zip(green_row).zip(red_row);
            for (((blue, green), red), pixel) in samples.zip(row.as_chunks::<3>().0) {
                [*red, *green, *blue] = pixel.map(f32::from);
            }
        }
        Self { values, width, height }
    }
}

impl<'a> Grid<'a> {
    fn of(outputs: &'a SessionOutputs<'_>, stride: usize, input: &Input) -> Result<Self, OnnxError> {
        let columns = input.width / stride;
        let cells = columns * (input.height / stride);
        let output = |name: &str, parts: usize| -> Result<&'a [f32], OnnxError> {
            let name = format!("{name}_{stride}");
            let value = outputs.get(&name).ok_or_else(|| OnnxError::outputs(&name, "missing"))?;
            let (_, values) = value.try_extract_tensor::<f32>()?;
            if values.len() == cells * parts {
                Ok(values)
            } else {
                Err(OnnxError::outputs(&name, "not of the input's size"))
            }
        };
        Ok(Self {
            stride: stride as f32,
            columns,
            class: output("cls", 1)?,
            object: output("obj", 1)?,
            boxes: output("bbox", 4)?,
            landmarks: output("kps", 10)?,
        })
    }

    /// Adds the cells whose score `√(class · object)` is `confidence_min` or more.
    fn decode(&self, confidence_min: f32, extent: Extent, found: &mut Vec<Detection>) {
        for (cell, (class, object)) in self.class.iter().zip(self.object).enumerate() {
            let confidence = (class.clamp(0.0, 1.0) * object.clamp(0.0, 1.0)).sqrt();
            if confidence >= confidence_min {
                found.push(self.detection(cell, confidence, extent));
            }
        }
    }

    fn detection(&self, cell: usize, confidence: f32, extent: Extent) -> Detection {
        let (column, row) = ((cell % self.columns) as f32, (cell / self.columns) as f32);
        let shape = &self.boxes[cell * 4..][..4];
        let width = shape[2].exp() * self.stride;
        let height = shape[3].exp() * self.stride;
        let left = (column + shape[0]) * self.stride - width / 2.0;
        let top = (row + shape[1]) * self.stride - height / 2.0;
        let marks = &self.landmarks[cell * 10..][..10];
        let landmark = |index: usize| Point {
            x: (marks[2 * index] + column) * self.stride / extent.width,
            y: (marks[2 * index + 1] + row) * self.stride / extent.height,
        };
        Detection {
            bounding_box: BoundingBox {
                left: left / extent.width,
                top: top / extent.height,
                width: width / extent.width,
                height: height / extent.height,
            },
            landmarks: std::array::from_fn(landmark),
            confidence,
        }
    }
}

/// Greedy non-maximum suppression: best first, each kept where it overlaps (IoU) none that is kept by more than
/// `overlap_max`. What is not finite is dropped.
fn without_overlaps(mut found: Vec<Detection>, overlap_max: f32) -> Vec<Detection> {
    found.retain(Detection::is_finite);
    found.sort_by(|left, right| right.confidence.total_cmp(&left.confidence));
    found.truncate(CANDIDATES_MAX);
    let mut kept: Vec<Detection> = Vec::new();
    for detection in found {
        if kept.iter().all(|other| other.bounding_box.iou(&detection.bounding_box) <= overlap_max) {
            kept.push(detection);
        }
    }
    kept
}

fn largest_first(mut found: Vec<Detection>) -> Vec<Detection> {
    found.sort_by(|left, right| right.bounding_box.area().total_cmp(&left.bounding_box.area()));
    found.truncate(FACES_PER_PHOTO_MAX);
    found
}

impl Detection {
    fn is_finite(&self) -> bool {
        let shape = &self.bounding_box;
        [shape.left, shape.top, shape.width, shape.height].iter().all(|value| value.is_finite())
            && self.landmarks.iter().all(|point| point.x.is_finite() && point.y.is_finite())
    }
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
