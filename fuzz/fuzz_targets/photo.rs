//! A photo, without models.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vidimus_onnx::fuzzing::photo(data));
