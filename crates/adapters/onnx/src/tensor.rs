//! Reads, dequantises and reshapes constant tensors of the ONNX format.

use crate::error::OnnxError;
use crate::fold::refused;
use crate::onnx_format::TensorProto;

/// `TensorProto.DataType`.
pub const FLOAT: i32 = 1;
const UINT8: i32 = 2;
const INT8: i32 = 3;
const INT64: i32 = 7;

/// How scales are spread over a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Along which axis; negative from the last.
    pub axis: i64,
    /// Values that share a scale; 0: all, or one scale for each index of the axis.
    pub size: i64,
}

/// Which scale a value has: its index in the scales.
struct ScaleIndex {
    axis_len: usize,
    inner: usize,
    block: usize,
    blocks: usize,
    scales: usize,
    per_axis: bool,
}

/// `(quantised − zero point) · scale` as a float tensor called `name` (ONNX operator `DequantizeLinear`, opset 21).
/// `parts` are the quantised values, the scales and the zero points; without zero points they are zero.
pub fn dequantise(
    name: String,
    parts: [Option<&TensorProto>; 3],
    blocks: Blocks,
) -> Result<TensorProto, OnnxError> {
    let [Some(quantised), Some(scale), zero_point] = parts else {
        return Err(refused(format!("{name} has no values or no scales")));
    };
    let values = quantised_values(quantised)?;
    let scales = floats(scale)?;
    let zero_points = zero_point.map(quantised_values).transpose()?.unwrap_or_else(|| vec![0; scales.len()]);
    let index = ScaleIndex::of(quantised, scale, blocks)?;
    if zero_points.len() != scales.len() || scales.len() != index.scales {
        return Err(refused(format!("{name} has scales that do not fit its values")));
    }
    let data = values.iter().enumerate().flat_map(|(at, value)| {
        let scale_at = index.at(at);
        ((value - zero_points[scale_at]) as f32 * scales[scale_at]).to_le_bytes()
    });
    Ok(TensorProto {
        dims: quantised.dims.clone(),
        data_type: Some(FLOAT),
        raw_data: Some(data.collect()),
        name: Some(name),
        ..TensorProto::default()
    })
}

impl ScaleIndex {
    fn of(quantised: &TensorProto, scale: &TensorProto, blocks: Blocks) -> Result<Self, OnnxError> {
        let dims = lengths(quantised)?;
        let scales = element_count(scale)?;
        if scales == 1 {
            return Ok(Self { axis_len: 1, inner: 1, block: 1, blocks: 1, scales: 1, per_axis: false });
        }
        let rank = dims.len() as i64;
        let axis = if blocks.axis < 0 { blocks.axis + rank } else { blocks.axis };
        let axis = usize::try_from(axis).ok().filter(|axis| *axis < dims.len());
        let axis = axis.ok_or_else(|| refused("the axis of a DequantizeLinear is not one of its tensor"))?;
        let axis_len = dims[axis];
        let inner = dims[axis + 1..].iter().product();
        let per_axis = blocks.size == 0;
        let block = usize::try_from(blocks.size).map_err(|_| refused("a block size is negative"))?.max(1);
        let blocks = axis_len.div_ceil(block);
        let outer: usize = dims[..axis].iter().product();
        let scales = if per_axis { axis_len } else { outer * blocks * inner };
        Ok(Self { axis_len, inner, block, blocks, scales, per_axis })
    }

    const fn at(&self, value: usize) -> usize {
        if self.scales == 1 {
            return 0;
        }
        let along = value / self.inner % self.axis_len;
        if self.per_axis {
            return along;
        }
        let outer = value / self.inner / self.axis_len;
        (outer * self.blocks + along / self.block) * self.inner + value % self.inner
    }
}

/// The tensor with another shape, called `name`; 0 keeps a dimension and −1 takes what is left (ONNX operator `Reshape`).
pub fn reshape(name: String, data: &TensorProto, shape: &TensorProto) -> Result<TensorProto, OnnxError> {
    let wanted = integers(shape)?;
    let total = element_count(data)? as i64;
    let mut dims: Vec<i64> = wanted
        .iter()
        .enumerate()
        .map(
            |(index, length)| if *length == 0 { data.dims.get(index).copied().unwrap_or(0) } else { *length },
        )
        .collect();
    let known: i64 = dims.iter().filter(|length| **length >= 0).product();
    if let Some(free) = dims.iter().position(|length| *length == -1) {
        dims[free] = total.checked_div(known).unwrap_or(0);
    }
    if dims.iter().product::<i64>() != total {
        return Err(refused(format!("{name} cannot have the shape {wanted:?}")));
    }
    Ok(TensorProto { dims, name: Some(name), ..data.clone() })
}

/// The values of an `int64` tensor.
pub fn integers(tensor: &TensorProto) -> Result<Vec<i64>, OnnxError> {
    check(tensor, &[INT64])?;
    let values = match tensor.raw_data.as_deref() {
        Some(raw) => raw.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        None => tensor.int64_data.clone(),
    };
    sized(tensor, values)
}

/// Puts other values of the same number into an `int64` tensor.
pub fn set_integers(tensor: &mut TensorProto, values: &[i64]) {
    tensor.int64_data.clear();
    tensor.raw_data = Some(values.iter().flat_map(|value| value.to_le_bytes()).collect());
}

/// The values of a `float` tensor.
pub fn floats(tensor: &TensorProto) -> Result<Vec<f32>, OnnxError> {
    check(tensor, &[FLOAT])?;
    let values = match tensor.raw_data.as_deref() {
        Some(raw) => raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        None => tensor.float_data.clone(),
    };
    sized(tensor, values)
}

fn quantised_values(tensor: &TensorProto) -> Result<Vec<i32>, OnnxError> {
    check(tensor, &[INT8, UINT8])?;
    let signed = tensor.data_type() == INT8;
    let widen = |byte: &u8| if signed { i32::from(byte.cast_signed()) } else { i32::from(*byte) };
    let values = match tensor.raw_data.as_deref() {
        Some(raw) => raw.iter().map(widen).collect(),
        None => tensor.int32_data.clone(),
    };
    sized(tensor, values)
}

fn check(tensor: &TensorProto, data_types: &[i32]) -> Result<(), OnnxError> {
    if !data_types.contains(&tensor.data_type()) || tensor.data_location() != 0 {
        return Err(refused(format!(
            "{} is of a type that is not folded, or in another file",
            tensor.name()
        )));
    }
    Ok(())
}

fn sized<T>(tensor: &TensorProto, values: Vec<T>) -> Result<Vec<T>, OnnxError> {
    if values.len() == element_count(tensor)? {
        Ok(values)
    } else {
        Err(refused(format!("{} does not have the values of its shape", tensor.name())))
    }
}

fn element_count(tensor: &TensorProto) -> Result<usize, OnnxError> {
    let count = lengths(tensor)?.iter().try_fold(1usize, |count, length| count.checked_mul(*length));
    count.ok_or_else(|| refused(format!("{} is too large", tensor.name())))
}

fn lengths(tensor: &TensorProto) -> Result<Vec<usize>, OnnxError> {
    let lengths = tensor.dims.iter().map(|length| usize::try_from(*length)).collect::<Result<Vec<_>, _>>();
    lengths.map_err(|_| refused(format!("{} has a negative dimension", tensor.name())))
}
