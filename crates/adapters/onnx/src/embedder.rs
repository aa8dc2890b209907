//! Turns aligned faces into templates.

use image::RgbImage;
use ort::session::Session;
use ort::value::TensorRef;
use vidimus_domain::Template;

use crate::error::OnnxError;
use crate::manifest::{ColourOrder, EmbedderManifest, Layout};

const CHANNELS: usize = 3;

/// The embedder with its model loaded; used by one thread.
pub struct Embedder {
    session: Session,
    manifest: EmbedderManifest,
}

impl Embedder {
    /// An embedder on a session of its model.
    #[must_use]
    pub const fn new(session: Session, manifest: EmbedderManifest) -> Self {
        Self { session, manifest }
    }

    /// What its model wants.
    #[must_use]
    pub const fn manifest(&self) -> &EmbedderManifest {
        &self.manifest
    }

    /// The templates of aligned faces of the manifest's size, in their order.
    ///
    /// Faces go through the model one by one, as any model can. Batches across requests were measured and do not pay on a CPU:
    /// SFace on one thread (AMD EPYC with AVX-512, ONNX Runtime 1.31.1, November 2026, before `PRelu` was rewritten) took 28.2 ms a
    /// face alone, 27.7 in twos, 28.0 in fours, 29.4 in eights, and a face would wait for the others.
    ///
    /// # Errors
    /// Where the model fails, or its output is not of the manifest's dimension or has no direction.
    pub fn embed<'a>(
        &mut self,
        aligned: impl Iterator<Item = &'a RgbImage>,
    ) -> Result<Vec<Template>, OnnxError> {
        aligned.map(|face| self.embed_one(face)).collect()
    }

    fn embed_one(&mut self, aligned: &RgbImage) -> Result<Template, OnnxError> {
        let side = self.manifest.input_px as usize;
        let values = input(aligned, &self.manifest);
        let shape = match self.manifest.layout {
            Layout::Nchw => [1, CHANNELS, side, side],
            Layout::Nhwc => [1, side, side, CHANNELS],
        };
        let tensor = TensorRef::from_array_view((shape, values.as_slice()))?;
        let outputs = self.session.run(ort::inputs![tensor])?;
        let (name, output) =
            outputs.iter().next().ok_or_else(|| OnnxError::outputs("template", "missing"))?;
        let (_, template) = output.try_extract_tensor::<f32>()?;
        if template.len() != self.manifest.dimension {
            return Err(OnnxError::outputs(name, "not of the manifest's dimension"));
        }
        Template::normalised(template.to_vec()).map_err(|_| OnnxError::outputs(name, "without direction"))
    }
}

/// The values of an aligned face in the model's order: `(value − mean) · scale` for each channel.
fn input(aligned: &RgbImage, manifest: &EmbedderManifest) -> Vec<f32> {
    let value = |pixel: &image::Rgb<u8>, channel: usize| {
        let source = match manifest.colours {
            ColourOrder::Rgb => channel,
            ColourOrder::Bgr => CHANNELS - 1 - channel,
        };
        (f32::from(pixel.0[source]) - manifest.mean[channel]) * manifest.scale[channel]
    };
    match manifest.layout {
        Layout::Nchw => (0..CHANNELS)
            .flat_map(|channel| aligned.pixels().map(move |pixel| value(pixel, channel)))
            .collect(),
        Layout::Nhwc => aligned
            .pixels()
            .flat_map(|pixel| (0..CHANNELS).map(move |channel| value(pixel, channel)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::manifest::Manifest;

    #[test]
    fn the_input_follows_the_manifest() {
        let mut manifest = Manifest::builtin().unwrap().embedder;
        let face = RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(input(&face, &manifest), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        manifest.colours = ColourOrder::Bgr;
        assert_eq!(input(&face, &manifest), [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]);
        manifest.layout = Layout::Nhwc;
        assert_eq!(input(&face, &manifest), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        manifest.mean = [1.0, 2.0, 3.0];
        manifest.scale = [1.0, 10.0, 0.5];
        let pixel = RgbImage::from_pixel(1, 1, Rgb([3, 4, 7]));
        assert_eq!(input(&pixel, &manifest), [6.0, 20.0, 0.0]);
    }
}
