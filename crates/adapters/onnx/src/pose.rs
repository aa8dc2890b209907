//! Which way a head is turned, from its five landmarks.

use vidimus_domain::face::Pose;

/// A mean face, looking at the viewer: left eye, right eye, nose tip, left and right mouth corner as seen in the image. Right,
/// down, and towards the viewer from the middle of the five, in distances between the eyes.
///
/// Right and down are the landmarks that face models align to (InsightFace's and SFace's template, a mean of frontal faces),
/// made symmetric; the nose is a little lower, where the detector finds it on the middle one of 1,556 press photos by pitch. Depth is anthropometry's: the nose tip stands some 25 mm before the pupils and mouth corners, of 63 mm
/// between the pupils (Farkas, "Anthropometry of the Head and Face", 1994), and five points cannot tell eyes from mouth.
const FACE: [[f64; 3]; 5] = [
    [-0.5, -0.59045, -0.08],
    [0.5, -0.59045, -0.08],
    [0.0, 0.0525, 0.32],
    [-0.4141, 0.5642, -0.08],
    [0.4141, 0.5642, -0.08],
];

/// The pose of a head whose landmarks lie at `landmarks`, in pixels; none where they are no face (they coincide).
///
/// A camera far away sees a head by scaled orthography: `x = s·(i·X) + x₀`, `y = s·(j·X) + y₀`, with `i` and `j` the first
/// rows of its rotation (DeMenthon and Davis, "Model-based object pose in 25 lines of code", IJCV 15, 1995). Least squares give
/// `s·i` and `s·j`; the nearest rows of unit length that are orthogonal (the polar decomposition's) give the rotation, which is
/// taken apart as `roll · yaw · pitch`.
#[must_use]
pub fn pose(landmarks: &[[f64; 2]; 5]) -> Option<Pose> {
    let (across, down) = orthonormal(fitted(landmarks, 0), fitted(landmarks, 1))?;
    let towards = cross(across, down);
    // Columns of the rotation: where the face's own axes point. Depth counts towards the viewer.
    let [right, _, ahead] = [0, 1, 2].map(|axis| [across[axis], down[axis], towards[axis]]);
    let roll = right[1].atan2(right[0]);
    let unrolled = ahead[0] * roll.cos() + ahead[1] * roll.sin();
    let lowered = ahead[1] * roll.cos() - ahead[0] * roll.sin();
    Some(Pose {
        roll: roll.to_degrees() as f32,
        yaw: unrolled.atan2(ahead[2]).to_degrees() as f32,
        pitch: (-lowered).clamp(-1.0, 1.0).asin().to_degrees() as f32,
    })
}

/// The least-squares coefficients of a coordinate of the landmarks in those of [`FACE`], whose mean is zero.
fn fitted(landmarks: &[[f64; 2]; 5], coordinate: usize) -> [f64; 3] {
    let moment = |one: usize, other: usize| FACE.iter().map(|point| point[one] * point[other]).sum::<f64>();
    let against = |axis: usize| {
        let products = FACE.iter().zip(landmarks).map(|(point, seen)| point[axis] * seen[coordinate]);
        products.sum::<f64>()
    };
    // The face is symmetric, so right is independent of down and depth.
    let (down_down, down_depth, depth_depth) = (moment(1, 1), moment(1, 2), moment(2, 2));
    let determinant = down_down * depth_depth - down_depth * down_depth;
    [
        against(0) / moment(0, 0),
        (against(1) * depth_depth - against(2) * down_depth) / determinant,
        (against(2) * down_down - against(1) * down_depth) / determinant,
    ]
}

/// The orthonormal rows nearest to two: `(M·Mᵀ)^(−1/2)·M`. None where they are parallel or not finite.
fn orthonormal(first: [f64; 3], second: [f64; 3]) -> Option<([f64; 3], [f64; 3])> {
    let (a, b, c) = (dot(first, first), dot(second, second), dot(first, second));
    let root = (a * b - c * c).max(0.0).sqrt();
    let trace = (a + b + 2.0 * root).sqrt();
    if !(root > 1e-9 && trace.is_finite()) {
        return None;
    }
    // The square root of a symmetric 2 × 2 matrix is (matrix + root·1) / trace; this is its inverse.
    let inverse = |own: f64, other: [f64; 3], mine: [f64; 3]| -> [f64; 3] {
        std::array::from_fn(|axis| ((own + root) * mine[axis] - c * other[axis]) / (root * trace))
    };
    Some((inverse(b, second, first), inverse(a, first, second)))
}

fn dot(one: [f64; 3], other: [f64; 3]) -> f64 {
    one.iter().zip(other).map(|(left, right)| left * right).sum()
}

fn cross(one: [f64; 3], other: [f64; 3]) -> [f64; 3] {
    [
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The mean face as a camera far away sees it.
    fn seen(roll: f64, yaw: f64, pitch: f64, scale: f64) -> [[f64; 2]; 5] {
        let (roll, yaw, pitch) = (roll.to_radians(), yaw.to_radians(), pitch.to_radians());
        FACE.map(|[x, y, z]| {
            let (y, z) = (y * pitch.cos() - z * pitch.sin(), y * pitch.sin() + z * pitch.cos());
            let x = x * yaw.cos() + z * yaw.sin();
            [
                300.0 + scale * (x * roll.cos() - y * roll.sin()),
                200.0 + scale * (x * roll.sin() + y * roll.cos()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_turned_face_is_found_again(
            roll in -179.0f64..179.0, yaw in -80.0f64..80.0, pitch in -80.0f64..80.0, scale in 5.0f64..2e3,
        ) {
            let found = pose(&seen(roll, yaw, pitch, scale)).unwrap();
            prop_assert!((f64::from(found.roll) - roll).abs() < 0.01, "{found:?}");
            prop_assert!((f64::from(found.yaw) - yaw).abs() < 0.01, "{found:?}");
            prop_assert!((f64::from(found.pitch) - pitch).abs() < 0.01, "{found:?}");
        }
    }

    /// The nose goes where the head looks.
    #[test]
    fn signs_are_those_of_the_domain() {
        let mut landmarks = seen(0.0, 0.0, 0.0, 100.0);
        assert!(
            pose(&landmarks).is_some_and(|pose| pose.yaw.abs() + pose.pitch.abs() + pose.roll.abs() < 1e-3)
        );
        landmarks[2][0] += 10.0;
        assert!(pose(&landmarks).unwrap().yaw > 5.0);
        landmarks[2] = [300.0, 190.0];
        assert!(pose(&landmarks).unwrap().pitch > 5.0);
    }

    #[test]
    fn points_that_coincide_have_no_pose() {
        assert_eq!(pose(&[[3.0, 4.0]; 5]), None);
        assert_eq!(pose(&[[f64::NAN, 4.0]; 5]), None);
    }

    #[test]
    fn the_mean_face_is_centred_and_symmetric() {
        for axis in 0..3 {
            assert!(FACE.iter().map(|point| point[axis]).sum::<f64>().abs() < 1e-3);
        }
        for other in [1, 2] {
            assert!(FACE.iter().map(|point| point[0] * point[other]).sum::<f64>().abs() < 1e-12);
        }
    }
}
