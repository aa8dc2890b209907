//! The tokens by which clients mark requests as the same: who sends a token again must send the same parameters with it.

use std::sync::Arc;

use vidimus_domain::blob_key::BlobKey;
use vidimus_domain::catalog::Collection;
use vidimus_domain::codec::Stored;
use vidimus_domain::time::ERASED_KEPT;
use vidimus_domain::user::{ClientToken, TokenKey};
use vidimus_domain::{ErrorCode, Failure};
use vidimus_ports::{BlobStore, Clock, PortErrorKind, PortResult, PutCondition};

use crate::errors::failure_from_port;
use crate::stored;

/// A request that may carry a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenUse<'a> {
    /// The operation's name: each has its own tokens.
    pub operation: &'static str,
    /// The token; empty: none.
    pub token: &'a str,
    /// BLAKE3 of the request's parameters.
    pub parameters: [u8; 32],
}

/// What is known of a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenToken {
    /// Names it; none where the request has none.
    pub key: Option<TokenKey>,
    /// Whether the same request has come before, within a day.
    pub again: bool,
}

/// Remembers tokens for a day. They lie by the day on which they were first seen, so that the ledger's sweep lists days.
#[derive(Clone)]
pub struct ClientTokens {
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
}

impl ClientTokens {
    /// Keeps tokens in this store.
    #[must_use]
    pub fn new(blobs: Arc<dyn BlobStore>, clock: Arc<dyn Clock>) -> Self {
        Self { blobs, clock }
    }

    /// Remembers a request's token, or finds that it was seen with the same parameters.
    ///
    /// # Errors
    /// `IdempotentParameterMismatch` where it was seen with others, within a day.
    pub async fn check(&self, collection: &Collection, use_: TokenUse<'_>) -> Result<SeenToken, Failure> {
        if use_.token.is_empty() {
            return Ok(SeenToken { key: None, again: false });
        }
        let key = TokenKey::of(&collection.image_id_key, use_.operation, use_.token);
        let seen = self.first_seen(collection, key, use_.parameters).await.map_err(failure_from_port)?;
        if seen.is_some_and(|seen| seen != use_.parameters) {
            let message =
                format!("The ClientRequestToken: {} you have supplied is already in use.", use_.token);
            return Err(Failure::new(ErrorCode::IdempotentParameterMismatch, message));
        }
        Ok(SeenToken { key: Some(key), again: seen.is_some() })
    }

    /// The parameters that the token was first seen with; none where that is now.
    async fn first_seen(
        &self,
        collection: &Collection,
        key: TokenKey,
        parameters: [u8; 32],
    ) -> PortResult<Option<[u8; 32]>> {
        let (now, part) = (self.clock.now(), collection.part());
        let yesterday = BlobKey::client_token(&part, &now.minus(ERASED_KEPT).day(), key);
        let before = self.read(&yesterday).await?.filter(|token| now.since(token.at) < ERASED_KEPT);
        if let Some(before) = before {
            return Ok(Some(before.parameters));
        }
        let today = BlobKey::client_token(&part, &now.day(), key);
        let token = ClientToken { parameters, at: now };
        match self.blobs.put(&today, token.encode().into(), PutCondition::IfAbsent).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == PortErrorKind::Conflict => {
                Ok(self.read(&today).await?.map(|before| before.parameters))
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self, key: &BlobKey) -> PortResult<Option<ClientToken>> {
        let Some(blob) = self.blobs.get(key).await? else { return Ok(None) };
        stored::decode("read client token", &blob.bytes).map(Some)
    }
}
