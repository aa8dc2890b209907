//! What holds for the workspace as a whole: the arrows between crates, the dependency policy, the size limits.

mod arrows;
mod license;
mod policy;
mod sizes;
mod source;
mod tree;
