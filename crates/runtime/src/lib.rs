//! What every role needs besides its ports: the error tables, the catalog, the record store, calls between
//! processes, shutdown, telemetry, traces.

pub mod accepted_photos;
pub mod audit;
pub mod backlog;
pub mod bulk;
pub mod catalog;
pub mod changes;
pub mod client_tokens;
pub mod completion;
pub mod dead_letters;
pub mod deadline;
pub mod errors;
pub mod invariants;
pub mod models;
pub mod records;
pub mod requests;
pub mod shutdown;
pub mod stored;
pub mod telemetry;
pub mod traces;
pub mod transport;
pub mod turns;
pub mod users;
