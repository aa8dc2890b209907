//! The gateway role, the tenants' door: it authenticates, limits, validates and translates, and leaves the work to the
//! other roles.
//!
//! It speaks AWS-JSON 1.1 as Amazon Rekognition does (`POST /`, the operation in `X-Amz-Target`, Signature Version 4) and gRPC
//! (`vidimus.v1.Faces`, with the same messages) on one port.
//! A request goes through these steps, each in its own module, and fails at the first that refuses it:
//! the head of its signature ([`sigv4`]) → its body, within limits → room to run → the signature → the operation →
//! its constraints ([`constraint`]) → the handler.

mod admission;
mod body;
mod config;
pub mod constraint;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod grpc;
mod images;
mod listener;
mod metrics;
mod offload;
mod operation;
mod options;
mod response;
mod services;
pub mod sigv4;
mod tls;
mod token;

pub use config::{BODY_BYTES_MAX, DRAINED_BYTES_MAX, GatewayConfig, HEAD_BYTES_MAX, TenantLimits, Tls};
pub use error::{ApiError, ErrorType};
pub use gateway::Gateway;
pub use listener::{Peer, serve};
pub use metrics::Metrics;
pub use services::GatewayDeps;
pub use token::{Listing, PLACE_BYTES_MAX, PageTokens, TOKEN_LIFETIME};
