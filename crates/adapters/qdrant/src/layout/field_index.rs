//! The payload's indexes.

use qdrant_client::qdrant::payload_index_params::IndexParams;
use qdrant_client::qdrant::{
    FieldType, IntegerIndexParams, PayloadIndexParams, PayloadSchemaInfo, PayloadSchemaType, UuidIndexParams,
};

use crate::payload::field;

/// One of them.
#[derive(Debug, PartialEq, Eq)]
pub struct FieldIndex {
    pub name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Whose a point is; every part has a graph by it. A keyword would be compared as text with every point that a search
    /// comes by.
    Tenant,
    /// Whose a point is, without graphs.
    Owner,
    /// An integer that is asked for by ranges alone.
    Range,
}

/// All of them. `part` is the only one with graphs: graphs for ranges or for the dead would cross tenants.
pub static FIELD_INDEXES: [FieldIndex; 6] = [
    FieldIndex { name: field::PART, kind: Kind::Tenant },
    FieldIndex { name: field::DEAD_PART, kind: Kind::Owner },
    FieldIndex { name: field::USER_PART, kind: Kind::Owner },
    FieldIndex { name: field::VERSION, kind: Kind::Range },
    FieldIndex { name: field::EXPIRES_AT, kind: Kind::Range },
    FieldIndex { name: field::ENROLLED_AT, kind: Kind::Range },
];

impl FieldIndex {
    pub const fn field_type(&self) -> FieldType {
        match self.kind {
            Kind::Tenant | Kind::Owner => FieldType::Uuid,
            Kind::Range => FieldType::Integer,
        }
    }

    pub fn params(&self) -> PayloadIndexParams {
        let params = match self.kind {
            Kind::Tenant | Kind::Owner => IndexParams::UuidIndexParams(UuidIndexParams {
                is_tenant: Some(self.kind == Kind::Tenant),
                enable_hnsw: Some(self.kind == Kind::Tenant),
                ..UuidIndexParams::default()
            }),
            Kind::Range => IndexParams::IntegerIndexParams(IntegerIndexParams {
                lookup: Some(false),
                range: Some(true),
                enable_hnsw: Some(false),
                ..IntegerIndexParams::default()
            }),
        };
        PayloadIndexParams { index_params: Some(params) }
    }

    /// Whether the server has it as it is wanted.
    pub fn is(&self, present: &PayloadSchemaInfo) -> bool {
        let params = present.params.as_ref().and_then(|params| params.index_params.as_ref());
        match (self.kind, present.data_type(), params) {
            (Kind::Tenant, PayloadSchemaType::Uuid, Some(IndexParams::UuidIndexParams(params))) => {
                params.is_tenant == Some(true) && params.enable_hnsw != Some(false)
            }
            (Kind::Owner, PayloadSchemaType::Uuid, Some(IndexParams::UuidIndexParams(params))) => {
                params.enable_hnsw == Some(false)
            }
            (Kind::Range, PayloadSchemaType::Integer, Some(IndexParams::IntegerIndexParams(params))) => {
                params.range != Some(false) && params.enable_hnsw == Some(false)
            }
            _ => false,
        }
    }
}
