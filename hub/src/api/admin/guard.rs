//! Who may call the AdminService: whoever shows the admin token or, where none is set, whoever is on this machine.
//!
//! Never logs or returns a token.

use loop_net::{
    admin_token::{HEADER, SCHEME},
    callers::{Fingerprint, Origin},
    secret::Secret,
};
use tonic::{Request, Status, service::Interceptor};

/// Lets operators through.
#[derive(Clone)]
pub struct Guard {
    token: Option<Fingerprint>,
}

impl Guard {
    /// Asks for `token`, or for callers on this machine.
    pub fn new(token: Option<&Secret>) -> Self {
        Self { token: token.map(Fingerprint::of) }
    }

    fn check(&self, request: &Request<()>) -> Result<(), Status> {
        match &self.token {
            Some(token) => check_token(token, request),
            None => check_origin(request),
        }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.check(&request)?;
        Ok(request)
    }
}

fn check_token(token: &Fingerprint, request: &Request<()>) -> Result<(), Status> {
    let shown = request.metadata().get(HEADER).ok_or_else(|| {
        Status::unauthenticated(
            "this hub asks operators for its admin token: give it with --admin-token or LOOP_HUBCTL_ADMIN_TOKEN \
             (a hub that joins: --admin-token, as on the other hubs)",
        )
    })?;
    let shown = shown.as_bytes().strip_prefix(SCHEME.as_bytes()).unwrap_or_default();
    if token.matches(shown) {
        return Ok(());
    }
    Err(Status::unauthenticated("this is not the hubs' admin token"))
}

fn check_origin(request: &Request<()>) -> Result<(), Status> {
    Err(Status::permission_denied(match Origin::of(request) {
        Origin::Here => return Ok(()),
        Origin::Elsewhere => {
            "without an admin token a hub serves operators from its own machine only: run hubctl there, or start \
             all hubs with --admin-token and give it to hubctl too"
        }
        Origin::Proxy => {
            "this call came through a proxy, so it may be anybody's: start all hubs with --admin-token and give it \
             to hubctl too"
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tonic::{Code, metadata::MetadataValue};

    use super::*;
    use loop_net::{admin_token::authorized, callers::PASSED_ON, channel::CameFrom};

    const TOKEN: &str = "correct horse battery";

    fn secret(token: &str) -> Secret {
        Secret::from(token.to_owned())
    }

    fn from(addr: &str) -> Request<()> {
        let mut request = Request::new(());
        request.extensions_mut().insert(CameFrom(addr.parse::<SocketAddr>().unwrap()));
        request
    }

    fn code(guard: &Guard, request: &Request<()>) -> Code {
        guard.check(request).map_or_else(|status| status.code(), |()| Code::Ok)
    }

    #[test]
    fn without_a_token_only_this_machine_is_served() {
        let guard = Guard::new(None);
        for addr in ["127.0.0.1:5", "127.8.8.8:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            assert_eq!(code(&guard, &from(addr)), Code::Ok, "{addr}");
        }
        for addr in ["10.0.0.1:5", "192.0.2.7:5", "[2001:db8::1]:5", "[::ffff:10.0.0.1]:5", "0.0.0.0:5"] {
            let refused = guard.check(&from(addr)).unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{addr}");
            assert!(refused.message().contains("--admin-token"), "{}", refused.message());
        }
        assert_eq!(
            code(&guard, &Request::new(())),
            Code::PermissionDenied,
            "nobody knows where it comes from"
        );
    }

    #[test]
    fn a_proxy_on_this_machine_opens_no_door() {
        let guard = Guard::new(None);
        for header in PASSED_ON {
            let mut request = from("127.0.0.1:5");
            request.metadata_mut().insert(header, MetadataValue::from_static("203.0.113.9"));
            assert_eq!(code(&guard, &request), Code::PermissionDenied, "{header}");
        }
    }

    #[test]
    fn with_a_token_everybody_must_show_it_also_on_this_machine() {
        let guard = Guard::new(Some(&secret(TOKEN)));
        for addr in ["127.0.0.1:5", "10.0.0.1:5"] {
            assert_eq!(code(&guard, &from(addr)), Code::Unauthenticated);
            assert_eq!(code(&guard, &authorized(from(addr), Some(&secret(TOKEN)))), Code::Ok);
            for wrong in ["", "correct horse battery ", "correct horse batterz", "correct horse"] {
                let request = authorized(from(addr), Some(&secret(wrong)));
                assert_eq!(code(&guard, &request), Code::Unauthenticated, "{wrong:?}");
            }
        }
        let mut bare = from("127.0.0.1:5");
        bare.metadata_mut().insert(HEADER, MetadataValue::from_static(TOKEN));
        assert_eq!(code(&guard, &bare), Code::Unauthenticated, "a token without its scheme is none");
    }

    #[test]
    fn no_token_is_ever_printed() {
        let shown = authorized(from("127.0.0.1:5"), Some(&secret("a-wrong-one-nobody-may-see")));
        let refused = Guard::new(Some(&secret(TOKEN))).check(&shown).unwrap_err();
        for text in [format!("{refused:?}"), refused.to_string(), format!("{shown:?}")] {
            assert!(!text.contains("nobody-may-see") && !text.contains(TOKEN), "{text}");
        }
    }
}
