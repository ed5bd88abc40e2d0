//! Where a call on the gRPC port comes from, and whether it shows the secret it must.
//!
//! Never logs or returns a secret, and never decides who may do what: that is the services' guards'.

use sha2::{Digest, Sha256};
use tonic::Request;

use crate::{channel::CameFrom, secret::Secret};

/// Headers a proxy adds: its own address says nothing about who called it.
pub const PASSED_ON: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// What is kept of a secret to compare with: its SHA-256. Two of them compare in the same time wherever they differ.
#[derive(Clone)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// A secret's.
    pub fn of(secret: &Secret) -> Self {
        Self(Sha256::digest(secret.expose()).into())
    }

    /// Whether `shown` is the secret.
    pub fn matches(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let differing = self.0.iter().zip(shown).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// Where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A process on this machine.
    Here,
    /// Another machine, or nobody knows.
    Elsewhere,
    /// A proxy on this machine, so anybody.
    Proxy,
}

impl Origin {
    /// Where `request` comes from.
    pub fn of(request: &Request<()>) -> Self {
        let here = |CameFrom(from): &CameFrom| from.ip().to_canonical().is_loopback();
        if !request.extensions().get::<CameFrom>().is_some_and(here) {
            return Self::Elsewhere;
        }
        match PASSED_ON.iter().any(|header| request.metadata().contains_key(*header)) {
            true => Self::Proxy,
            false => Self::Here,
        }
    }
}
