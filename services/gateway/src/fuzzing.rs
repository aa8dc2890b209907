//! What the fuzz targets of the tenants' door run (`fuzz/` of the checkout): they take any bytes and panic where a property of
//! its parsers does not hold. `make fuzz` feeds them what it makes up, the ordinary tests what that found.

pub use crate::operation::fuzzing::json;
pub use crate::sigv4::fuzzing::signed_request;
