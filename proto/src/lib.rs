//! Messages and gRPC services of Vidimus, generated from `vidimus/**/*.proto`.
//!
//! The comments of the `.proto` files are the documentation of every item here.

mod base64_bytes;

/// What clients see: package `vidimus.v1`. Its messages are also those of AWS-JSON, with names in PascalCase.
pub mod api {
    tonic::include_proto!("vidimus.v1");

    /// The package's descriptors, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/api.bin"));
}

/// What stays between the roles: stored formats and the roles' own services.
pub mod internal {
    /// The first version of every format: records, catalog objects, events and the roles' services.
    pub mod v1 {
        tonic::include_proto!("vidimus.internal.v1");
    }
}
