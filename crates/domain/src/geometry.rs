//! Where a face is in its image. All positions are ratios of the image's width and height after EXIF
//! orientation, so they may fall outside 0..1 where a face is cut off.

/// A face's bounding box.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BoundingBox {
    /// Left edge as a ratio of the image's width.
    pub left: f32,
    /// Top edge as a ratio of the image's height.
    pub top: f32,
    /// Width as a ratio of the image's width.
    pub width: f32,
    /// Height as a ratio of the image's height.
    pub height: f32,
}

/// A point in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Ratio of the image's width.
    pub x: f32,
    /// Ratio of the image's height.
    pub y: f32,
}

/// Left eye, right eye, nose, left and right mouth corner, as seen in the image.
pub type Landmarks = [Point; 5];

impl BoundingBox {
    /// Whether all sides are numbers, and none is shorter than nothing.
    #[must_use]
    pub fn is_one(&self) -> bool {
        let sides = [self.left, self.top, self.width, self.height];
        sides.iter().all(|side| side.is_finite()) && self.width >= 0.0 && self.height >= 0.0
    }

    /// Area as a ratio of the image's.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width.max(0.0) * self.height.max(0.0)
    }

    /// Intersection over union, 0 to 1.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let overlap_width =
            (self.left + self.width).min(other.left + other.width) - self.left.max(other.left);
        let overlap_height = (self.top + self.height).min(other.top + other.height) - self.top.max(other.top);
        let intersection = overlap_width.max(0.0) * overlap_height.max(0.0);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(left: f32, top: f32, width: f32, height: f32) -> BoundingBox {
        BoundingBox { left, top, width, height }
    }

    #[test]
    fn iou_of_known_boxes() {
        let unit = at(0.0, 0.0, 1.0, 1.0);
        for (other, expected) in [
            (unit, 1.0),
            (at(0.5, 0.0, 1.0, 1.0), 1.0 / 3.0),
            (at(1.0, 0.0, 1.0, 1.0), 0.0),
            (at(2.0, 2.0, 1.0, 1.0), 0.0),
            (at(0.0, 0.0, 0.0, 0.0), 0.0),
        ] {
            assert!((unit.iou(&other) - expected).abs() < 1e-6, "{other:?}");
            assert!((other.iou(&unit) - expected).abs() < 1e-6, "{other:?} the other way");
        }
    }
}
