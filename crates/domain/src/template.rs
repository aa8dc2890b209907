//! The template: a face's embedding vector.

use std::fmt;
use std::sync::Arc;

/// An embedding of unit length, cheap to clone. It is biometric data: its `Debug` shows only its dimension.
#[derive(Clone, PartialEq)]
pub struct Template(Arc<[f32]>);

/// Why values are no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not a finite direction: empty, zero, infinite or not a number.
    #[error("the vector has no direction")]
    NoDirection,
}

impl Template {
    /// Scales `values` to unit length.
    ///
    /// # Errors
    /// Where they are empty, all zero, infinite or not numbers.
    pub fn normalised(mut values: Vec<f32>) -> Result<Self, TemplateError> {
        let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm < f64::from(f32::MIN_POSITIVE) {
            return Err(TemplateError::NoDirection);
        }
        for value in &mut values {
            *value = (f64::from(*value) / norm) as f32;
        }
        Ok(Self(values.into()))
    }

    /// Takes values that were a template's, as stored: they are not scaled again.
    ///
    /// # Errors
    /// Where their length is not 1 (within 1e-3).
    pub fn stored(values: Vec<f32>) -> Result<Self, TemplateError> {
        let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if (norm - 1.0).abs() < 1e-3 { Ok(Self(values.into())) } else { Err(TemplateError::NoDirection) }
    }

    /// The components.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Number of components.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// Cosine similarity, −1 to 1.
    ///
    /// # Panics
    /// In debug builds where the dimensions differ: templates of different models are never compared (I7).
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        debug_assert_eq!(self.dimension(), other.dimension(), "I7: templates of different models");
        self.0.iter().zip(other.0.iter()).map(|(left, right)| left * right).sum()
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Template({}-d)", self.dimension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_has_unit_length_and_direction() {
        let template = Template::normalised(vec![3.0, 4.0]).unwrap();
        assert_eq!(template.values(), [0.6, 0.8]);
        assert!((template.cosine(&template) - 1.0).abs() < 1e-6);
        for bad in [vec![], vec![0.0; 4], vec![f32::NAN], vec![f32::INFINITY, 1.0]] {
            assert_eq!(Template::normalised(bad), Err(TemplateError::NoDirection));
        }
    }

    #[test]
    fn debug_does_not_show_the_values() {
        assert_eq!(format!("{:?}", Template::normalised(vec![3.0, 4.0]).unwrap()), "Template(2-d)");
    }
}
