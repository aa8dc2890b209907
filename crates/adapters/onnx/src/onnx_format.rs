//! Messages of the ONNX format, generated from `proto/onnx.proto`.

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
