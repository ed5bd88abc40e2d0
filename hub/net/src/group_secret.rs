//! Who may speak as a hub: whoever shows the group's secret or, where none is set, whoever is on this machine.
//!
//! What a hub says is believed: its commands go into the log unchecked. So nobody else may reach these services. Never
//! logs or returns the secret.

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

use crate::{
    callers::{Fingerprint, Origin},
    secret::Secret,
};

/// The header the secret is in. Not `authorization`: that is for the admin token, which hubs show one another too.
const HEADER: &str = "loop-group-secret";

/// A channel to another hub, on which every call shows the secret.
pub type HubChannel = InterceptedService<Channel, ShowSecret>;

/// Shows the group's secret with every call, if there is one.
#[derive(Clone)]
pub struct ShowSecret(Option<MetadataValue<Ascii>>);

impl ShowSecret {
    /// Shows `secret`. One that cannot be a header is left out; `HubConfig` refuses such a secret before.
    pub fn new(secret: Option<&Secret>) -> Self {
        let mut value = secret.and_then(|secret| MetadataValue::try_from(secret.expose()).ok());
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Self(value)
    }

    /// `channel`, with the secret on every call.
    pub fn on(&self, channel: Channel) -> HubChannel {
        InterceptedService::new(channel, self.clone())
    }
}

impl Interceptor for ShowSecret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(secret) = &self.0 {
            request.metadata_mut().insert(HEADER, secret.clone());
        }
        Ok(request)
    }
}

/// Lets the other hubs through.
#[derive(Clone)]
pub struct HubGuard(Option<Fingerprint>);

impl HubGuard {
    /// Asks for `secret`, or for callers on this machine.
    pub fn new(secret: Option<&Secret>) -> Self {
        Self(secret.map(Fingerprint::of))
    }

    /// Whether a hub that calls with `shown` could be in a group with this one: both have the same secret, or none.
    pub fn check_newcomer(&self, shown: &MetadataMap) -> Result<(), Status> {
        match &self.0 {
            Some(secret) => check_secret(secret, shown),
            None if shown.contains_key(HEADER) => Err(Status::failed_precondition(
                "this group has no --group-secret: start the hub that joins without one, or all hubs with it",
            )),
            None => Ok(()),
        }
    }

    fn check(&self, request: &Request<()>) -> Result<(), Status> {
        match &self.0 {
            Some(secret) => check_secret(secret, request.metadata()),
            None if Origin::of(request) == Origin::Here => Ok(()),
            None => Err(Status::permission_denied(
                "without a group secret a hub takes calls of other hubs from its own machine only: start all hubs \
                 with the same --group-secret",
            )),
        }
    }
}

impl Interceptor for HubGuard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.check(&request)?;
        Ok(request)
    }
}

fn check_secret(secret: &Fingerprint, shown: &MetadataMap) -> Result<(), Status> {
    let shown = shown.get(HEADER).ok_or_else(|| {
        Status::unauthenticated(
            "this hub asks other hubs for the group's secret: start all hubs with the same --group-secret",
        )
    })?;
    match secret.matches(shown.as_bytes()) {
        true => Ok(()),
        false => Err(Status::unauthenticated(
            "this is not the group's secret: give all hubs the same --group-secret",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tonic::Code;

    use super::*;
    use crate::{callers::PASSED_ON, channel::CameFrom};

    const SECRET: &str = "only-hubs-know-this";

    fn secret(secret: &str) -> Secret {
        Secret::from(secret.to_owned())
    }

    fn from(addr: &str, shows: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(CameFrom(addr.parse::<SocketAddr>().unwrap()));
        ShowSecret::new(shows.map(secret).as_ref()).call(request).unwrap()
    }

    fn code(guard: &HubGuard, request: &Request<()>) -> Code {
        guard.check(request).map_or_else(|status| status.code(), |()| Code::Ok)
    }

    #[test]
    fn without_a_secret_only_this_machine_speaks_as_a_hub() {
        let guard = HubGuard::new(None);
        assert_eq!(code(&guard, &from("127.0.0.1:5", None)), Code::Ok);
        assert_eq!(code(&guard, &from("192.0.2.7:5", None)), Code::PermissionDenied);
        let mut proxied = from("127.0.0.1:5", None);
        proxied.metadata_mut().insert(PASSED_ON[1], MetadataValue::from_static("203.0.113.9"));
        assert_eq!(code(&guard, &proxied), Code::PermissionDenied);
    }

    #[test]
    fn with_a_secret_every_hub_must_show_it_also_on_this_machine() {
        let guard = HubGuard::new(Some(&secret(SECRET)));
        for addr in ["127.0.0.1:5", "192.0.2.7:5"] {
            assert_eq!(code(&guard, &from(addr, Some(SECRET))), Code::Ok);
            for wrong in [None, Some(""), Some("only-hubs-know-thi"), Some("only-hubs-know-thit")] {
                assert_eq!(code(&guard, &from(addr, wrong)), Code::Unauthenticated, "{wrong:?}");
            }
        }
    }

    #[test]
    fn a_newcomer_has_the_same_secret_or_like_the_group_none() {
        let shown = |secret| from("127.0.0.1:5", secret).metadata().clone();
        let with = HubGuard::new(Some(&secret(SECRET)));
        assert!(with.check_newcomer(&shown(Some(SECRET))).is_ok());
        assert!(with.check_newcomer(&shown(None)).is_err());
        let without = HubGuard::new(None);
        assert!(without.check_newcomer(&shown(None)).is_ok());
        assert!(
            without.check_newcomer(&shown(Some(SECRET))).unwrap_err().message().contains("no --group-secret")
        );
    }

    #[test]
    fn the_secret_is_never_printed() {
        let shown = from("127.0.0.1:5", Some("a-wrong-one-nobody-may-see"));
        let refused = HubGuard::new(Some(&secret(SECRET))).check(&shown).unwrap_err();
        for text in [format!("{refused:?}"), refused.to_string(), format!("{shown:?}")] {
            assert!(!text.contains("nobody-may-see") && !text.contains(SECRET), "{text}");
        }
    }
}
