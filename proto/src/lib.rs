//! Messages and gRPC services of Vidimus, generated from `vidimus/**/*.proto`.
//!
//! The comments of the `.proto` files are the documentation of every item here.

/// What stays between the roles: stored formats and the roles' own services. Clients see [`api`].
pub mod internal {
    /// The first version of every format: records, catalog objects, events and the roles' services.
    pub mod v1 {
        tonic::include_proto!("vidimus.internal.v1");
    }
}
