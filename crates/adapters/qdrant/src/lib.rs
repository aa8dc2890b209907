//! `FaceIndex on Qdrant`.
