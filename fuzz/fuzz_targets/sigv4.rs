//! A signed request.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vidimus_gateway::fuzzing::signed_request(data));
