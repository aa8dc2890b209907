//! Bytes in JSON: standard base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error};

/// Reads base64, where there is any.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let decode = |text: String| STANDARD.decode(text).map_err(|_| D::Error::custom("not standard base64"));
    Ok(text.map(decode).transpose()?.map(Bytes::from))
}
