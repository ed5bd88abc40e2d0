//! The admin token as a call shows it. Never logs or returns it.

use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
};

use super::secret::Secret;

/// The header the token is in.
pub const HEADER: &str = "authorization";
/// What stands before it.
pub const SCHEME: &str = "Bearer ";

/// The request with the token, if there is one. One that cannot be a header is left out; `HubConfig` and hubctl refuse
/// such a token before.
pub fn authorized<T>(mut request: Request<T>, token: Option<&Secret>) -> Request<T> {
    let value = token.map(|token| MetadataValue::<Ascii>::try_from(format!("{SCHEME}{}", token.expose())));
    if let Some(Ok(mut value)) = value {
        value.set_sensitive(true);
        request.metadata_mut().insert(HEADER, value);
    }
    request
}
