//! What the kernel says of this machine in its text files, read out of the text. Never opens one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether a way out is known: `/proc/net/route`.
pub fn has_route(route: &str) -> bool {
    route.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}

/// The same for IPv6: `/proc/net/ipv6_route`. Loopback's own entries say nothing.
pub fn has_route6(route: &str) -> bool {
    route.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let (to, length, device) = (fields.next(), fields.next(), fields.last());
        to.is_some_and(|to| to.bytes().all(|digit| digit == b'0'))
            && length == Some("00")
            && device != Some("lo")
    })
}

/// Whom a user's programs are connected to: `/proc/net/tcp` or `/proc/net/tcp6`.
pub fn connected(tcp: &str, user: u32) -> Vec<SocketAddr> {
    let remote = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_established = fields.get(3) == Some(&"01");
        let is_theirs = fields.get(7)?.parse() == Ok(user);
        if is_established && is_theirs { parse_address(fields.get(2)?) } else { None }
    };
    tcp.lines().skip(1).filter_map(remote).collect()
}

/// `6402000A:2378`: each word in the machine's byte order, which is little-endian on what images are made for.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word =
        |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_le_bytes);
    match address.len() {
        8 => Some((Ipv4Addr::from(word(0)?), port).into()),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            let address = Ipv6Addr::from(bytes);
            Some(match address.to_ipv4_mapped() {
                Some(v4) => (v4, port).into(),
                None => (address, port).into(),
            })
        }
        _ => None,
    }
}

/// Bytes received and sent by all cards since the start: `/proc/net/dev`.
pub fn traffic(dev: &str) -> (u64, u64) {
    let mut sum = (0u64, 0u64);
    for line in dev.lines() {
        let Some((card, counts)) = line.split_once(':') else { continue };
        let counts: Vec<u64> = counts.split_whitespace().map(|count| count.parse().unwrap_or(0)).collect();
        if card.trim() != "lo" {
            sum.0 = sum.0.saturating_add(counts.first().copied().unwrap_or(0));
            sum.1 = sum.1.saturating_add(counts.get(8).copied().unwrap_or(0));
        }
    }
    sum
}

/// Memory in all, bytes: `/proc/meminfo`.
pub fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Seconds since the start: `/proc/uptime`.
pub fn uptime(uptime: &str) -> Option<u64> {
    uptime.split(['.', ' ']).next()?.parse().ok()
}

/// The value of an argument of the kernel: `/proc/cmdline`.
pub fn argument<'a>(cmdline: &'a str, name: &str) -> Option<&'a str> {
    cmdline.split_whitespace().find_map(|argument| {
        let (key, value) = argument.trim_matches('"').split_once('=')?;
        (key == name).then_some(value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_out_is_a_route_to_anywhere() {
        let head = "Iface\tDestination\tGateway \tFlags\n";
        assert!(!has_route(head) && !has_route(""));
        assert!(!has_route(&format!("{head}ens3\t0002000A\t00000000\t0001\n")));
        assert!(has_route(&format!("{head}ens3\t00000000\t0202000A\t0003\n")));
        let zeros = "0".repeat(32);
        let line = |device: &str| {
            format!(
                "{zeros} 00 {zeros} 00 fe800000000000000000000000000002 00000400 00000001 00000000 00000003 {device}\n"
            )
        };
        assert!(has_route6(&line("ens3")) && !has_route6(&line("      lo")) && !has_route6(""));
    }

    #[test]
    fn connections_of_the_peer_are_told_from_others() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0F02000A:8D3C 6402000A:2378 01 00000000:00000000 02:00000A2B 00000000   980        0 18431 2\n\
             1: 0F02000A:8D3E 6402000A:2379 02 00000000:00000000 01:00000A2B 00000000   980        0 18432 2\n\
             2: 3500007F:0035 00000000:0000 01 00000000:00000000 00:00000000 00000000   101        0 14113 1\n";
        assert_eq!(connected(tcp, 980), ["10.0.2.100:9080".parse().unwrap()]);
        assert_eq!(connected("head\n 0: x\n 1: 1:1 zz:zz 01 0 0 0 980\n", 980), []);
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let mapped = "0000000000000000FFFF00006402000A:2378";
        assert_eq!(parse_address(mapped), Some("10.0.2.100:9080".parse().unwrap()));
        assert_eq!(
            parse_address("B80D0120000000000000000001000000:0050"),
            Some("[2001:db8::1]:80".parse().unwrap())
        );
        for none in ["", ":", "0:0", "é000000:0050", "0000000G:0050"] {
            assert_eq!(parse_address(none), None, "{none}");
        }
    }

    #[test]
    fn numbers_are_read_and_what_is_none_is_not() {
        let dev = "Inter-| Receive\n face |bytes\n    lo: 9 9 0 0 0 0 0 0 9 9\n  ens3: 1200 8 0 0 0 0 0 0 340 5 0 0\n";
        assert_eq!(traffic(dev), (1200, 340));
        assert_eq!(memory("MemTotal:         491520 kB\nMemFree: 1 kB\n"), Some(491_520 << 10));
        assert_eq!((memory(""), memory("MemTotal: many kB")), (None, None));
        assert_eq!((uptime("83.45 70.1\n"), uptime("")), (Some(83), None));
    }

    #[test]
    fn an_argument_of_the_kernel_is_found_by_its_whole_name() {
        let cmdline = "ro quiet loop-peer.join=a:1/t=x console=tty0 x.loop-peer.join=b:1/t\n";
        assert_eq!(argument(cmdline, "loop-peer.join"), Some("a:1/t=x"));
        assert_eq!(argument("loop-peer.join=\"a:1/t\"", "loop-peer.join"), Some("a:1/t"));
        assert_eq!(argument("loop-peer.joined=a:1/t", "loop-peer.join"), None);
    }
}
