//! Which ports the hubs listen on. Owns the check that they are free, made before anything is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rand::RngExt;

use super::LocalError;

/// Free ports are taken from below the range Linux gives to outgoing connections (32768 and up): a hub that is killed
/// and started again must find its port free, and an outgoing connection could have taken it meanwhile.
const FREE_FIRST: u16 = 10_240;
const FREE_LAST: u16 = 32_767;

/// Attempts at finding one free port.
const ATTEMPTS_MAX: u32 = 1_000;

/// `count` ports from `first` on.
pub(super) fn range(first: u16, count: u16, flag: &'static str) -> Result<Vec<u16>, LocalError> {
    let error = LocalError::PortRange { first, count, flag };
    match first.checked_add(count.saturating_sub(1)) {
        Some(last) if first > 0 => Ok((first..=last).collect()),
        _ => Err(error),
    }
}

/// `count` ports nobody listens on and that are not in `taken`.
pub(super) fn free(count: u16, taken: &[u16]) -> Result<Vec<u16>, LocalError> {
    let mut found: Vec<u16> = Vec::new();
    let mut attempts = 0;
    while found.len() < usize::from(count) {
        attempts += 1;
        if attempts > ATTEMPTS_MAX {
            return Err(LocalError::NoFreePort(ATTEMPTS_MAX));
        }
        let port = any_port();
        if !taken.contains(&port) && !found.contains(&port) && is_free(port) {
            found.push(port);
        }
    }
    Ok(found)
}

/// Whether a listener on loopback could be opened now.
#[expect(clippy::disallowed_methods, reason = "opened only to see whether it can be, and closed at once")]
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

/// The loopback address with this port.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[expect(clippy::disallowed_methods, reason = "chance only spreads systems that start at the same moment")]
fn any_port() -> u16 {
    rand::rng().random_range(FREE_FIRST..=FREE_LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stays_within_the_numbers_there_are() {
        assert_eq!(range(8080, 3, "--http-port").unwrap(), [8080, 8081, 8082]);
        assert_eq!(range(65535, 1, "--http-port").unwrap(), [65535]);
        assert!(range(65534, 3, "--http-port").is_err());
        assert!(range(0, 1, "--http-port").is_err());
    }

    #[test]
    fn free_ports_differ_and_somebody_elses_is_seen() {
        let ports = free(6, &[]).unwrap();
        let mut unique = ports.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), 6);
        #[expect(clippy::disallowed_methods, reason = "the other listener of this story")]
        let other = TcpListener::bind(loopback(0)).unwrap();
        assert!(!is_free(other.local_addr().unwrap().port()));
    }
}
