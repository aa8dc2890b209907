//! Messages and gRPC services of Vidimus, generated from `vidimus/v1/*.proto`.
//!
//! The comments of the `.proto` files are the documentation of every item here.

/// The first version of every format: records, catalog objects, events and the roles' services.
pub mod v1 {
    tonic::include_proto!("vidimus.v1");
}
