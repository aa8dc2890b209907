//! Page tokens: where the next page begins, sealed, so that a client can neither read nor make one.

use std::time::Duration;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vidimus_domain::{CollectionUid, TenantId, UnixMillis};
use vidimus_ports::{Clock, Random};

use crate::error::{ApiError, ErrorType};

/// How long a token is good.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Longest place that a token can hold: with it a token has 214 characters, within the API's 255.
pub const PLACE_BYTES_MAX: usize = 124;

const NONCE_BYTES: usize = 12;
const EXPIRY_BYTES: usize = 8;

/// What a token is good for; it opens for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Whose listing.
    pub tenant: TenantId,
    /// The operation that lists.
    pub operation: &'static str,
    /// The collection whose entries are listed; none where collections are.
    pub collection: Option<CollectionUid>,
}

impl Listing {
    fn associated(&self) -> String {
        let collection = self.collection.map(|uid| uid.to_string()).unwrap_or_default();
        format!("page-token 1/{}/{}/{collection}", self.tenant, self.operation)
    }
}

/// Seals and opens page tokens with AES-256-GCM.
#[derive(Clone)]
pub struct PageTokens {
    cipher: Aes256Gcm,
}

impl PageTokens {
    /// All gateways of a service need the same key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { cipher: Aes256Gcm::new(key.into()) }
    }

    /// A token for the page of `listing` that begins after `place`, good for [`TOKEN_LIFETIME`].
    ///
    /// # Errors
    /// Where `place` is longer than [`PLACE_BYTES_MAX`]: a defect.
    pub fn seal(
        &self,
        listing: &Listing,
        place: &[u8],
        (clock, random): (&dyn Clock, &dyn Random),
    ) -> Result<String, ApiError> {
        if place.len() > PLACE_BYTES_MAX {
            return Err(ApiError::internal());
        }
        let mut nonce = [0; NONCE_BYTES];
        random.fill(&mut nonce);
        let expires_at = clock.now().plus(TOKEN_LIFETIME).get();
        let content = [&expires_at.to_be_bytes(), place].concat();
        let associated = listing.associated();
        let payload = Payload { msg: &content, aad: associated.as_bytes() };
        let sealed =
            self.cipher.encrypt(Nonce::from_slice(&nonce), payload).map_err(|_| ApiError::internal())?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// The place that a token of `listing` holds.
    ///
    /// # Errors
    /// `InvalidPaginationTokenException` where it is no token of this listing or has expired.
    pub fn open(&self, listing: &Listing, token: &str, now: UnixMillis) -> Result<Vec<u8>, ApiError> {
        let content = self.content(listing, token).ok_or_else(invalid)?;
        let (expires_at, place) = content.split_first_chunk::<EXPIRY_BYTES>().ok_or_else(invalid)?;
        if now.get() >= i64::from_be_bytes(*expires_at) {
            return Err(invalid());
        }
        Ok(place.to_vec())
    }

    fn content(&self, listing: &Listing, token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES)?;
        let associated = listing.associated();
        let payload = Payload { msg: sealed, aad: associated.as_bytes() };
        self.cipher.decrypt(Nonce::from_slice(nonce), payload).ok()
    }
}

impl std::fmt::Debug for PageTokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PageTokens(…)")
    }
}

fn invalid() -> ApiError {
    ApiError::new(ErrorType::InvalidPaginationToken, "Invalid Pagination Token")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vidimus_ports::{ManualClock, SeededRandom};

    use super::*;

    fn listing() -> Listing {
        Listing {
            tenant: TenantId::from_random([1; 16]),
            operation: "ListFaces",
            collection: Some(CollectionUid::from_random([2; 16])),
        }
    }

    fn sealed(place: &[u8]) -> (PageTokens, ManualClock, String) {
        let (tokens, clock) = (PageTokens::new(&[7; 32]), ManualClock::new(UnixMillis::new(1_000)));
        let token = tokens.seal(&listing(), place, (&clock, &SeededRandom::new(1))).unwrap();
        (tokens, clock, token)
    }

    #[test]
    fn a_token_opens_for_its_own_listing_only() {
        let (tokens, clock, token) = sealed(b"place");
        assert_eq!(tokens.open(&listing(), &token, clock.now()).unwrap(), b"place");
        for other in [
            Listing { tenant: TenantId::from_random([3; 16]), ..listing() },
            Listing { operation: "ListUsers", ..listing() },
            Listing { collection: Some(CollectionUid::from_random([3; 16])), ..listing() },
            Listing { collection: None, ..listing() },
        ] {
            assert_eq!(tokens.open(&other, &token, clock.now()), Err(invalid()), "{other:?}");
        }
        let other_key = PageTokens::new(&[8; 32]);
        assert_eq!(other_key.open(&listing(), &token, clock.now()), Err(invalid()));
    }

    #[test]
    fn a_token_expires_after_a_day() {
        let (tokens, clock, token) = sealed(b"place");
        clock.advance(TOKEN_LIFETIME - Duration::from_millis(1));
        assert!(tokens.open(&listing(), &token, clock.now()).is_ok());
        clock.advance(Duration::from_millis(1));
        assert_eq!(tokens.open(&listing(), &token, clock.now()), Err(invalid()));
    }

    #[test]
    fn a_changed_token_does_not_open_and_the_longest_fits() {
        let (tokens, clock, token) = sealed(&[9; PLACE_BYTES_MAX]);
        assert!(token.len() <= 255, "{}", token.len());
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(tokens.open(&listing(), &changed, clock.now()), Err(invalid()), "{place}");
        }
        let too_long = tokens.seal(&listing(), &[9; PLACE_BYTES_MAX + 1], (&clock, &SeededRandom::new(1)));
        assert_eq!(too_long, Err(ApiError::internal()));
    }

    proptest! {
        #[test]
        fn no_text_opens(text in "\\PC{0,255}") {
            let tokens = PageTokens::new(&[7; 32]);
            prop_assert!(tokens.open(&listing(), &text, UnixMillis::new(0)).is_err());
        }
    }
}
