//! What stands on the screen, as lines of text. Owns the words; never knows a terminal.

use std::net::SocketAddr;

use super::stage::Stage;

/// The narrowest screen it is made for, columns.
pub const COLUMNS: usize = 80;

/// What is seen of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The peer's version.
    pub version: String,
    /// A way out of the machine is known.
    pub has_network: bool,
    /// The peer's number among the hubs.
    pub peer: Option<u32>,
    /// Forums on its disk.
    pub forums: Option<u64>,
    /// The last record on its disk.
    pub cursor: Option<u64>,
    /// Hubs it is connected to.
    pub hubs: Vec<SocketAddr>,
    /// Bytes of the data disk: used, and in all.
    pub disk: Option<(u64, u64)>,
    /// Bytes received and sent since the start.
    pub traffic: (u64, u64),
    /// Seconds since the start.
    pub uptime_s: Option<u64>,
}

/// What a person is typing, and what is to be said of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The line so far.
    pub line: &'a str,
    /// Why the last one was none.
    pub wrong: Option<&'a str>,
}

/// The lines of the screen.
pub fn lines(seen: &Seen, stage: &Stage, asked: Asked<'_>) -> Vec<String> {
    let title = format!("loop-peer {}: a volunteer's machine", seen.version);
    let mut lines =
        vec![String::new(), format!("  {title}"), format!("  {}", "=".repeat(title.chars().count()))];
    lines.push(String::new());
    match stage {
        Stage::Unknown => ask(seen, asked, &mut lines),
        Stage::Refused { why } => ask(seen, Asked { wrong: Some(why), ..asked }, &mut lines),
        Stage::Joining { trouble } => joining(seen, trouble.as_deref(), &mut lines),
        Stage::Member { trouble } => member(seen, trouble.as_deref(), &mut lines),
    }
    lines
}

fn ask(seen: &Seen, asked: Asked<'_>, lines: &mut Vec<String>) {
    paragraph(
        "This machine will keep forums of AtomJump pages for a group of hubs. To begin, it needs the join string that the \
         group's operator gave you. It is one line and looks like this:",
        lines,
    );
    lines.push("      hub.example:9080/token".to_owned());
    lines.push(String::new());
    paragraph(
        "What the machine and the hubs say to one another is not encrypted yet: join only over a network you trust, \
         such as a VPN.",
        lines,
    );
    if !seen.has_network {
        paragraph(
            "! There is no network. Is the virtual machine's network card connected? In VirtualBox: Settings, Network, \
             Attached to: NAT. You may go on; it joins as soon as there is one.",
            lines,
        );
    }
    if let Some(wrong) = asked.wrong {
        paragraph(&format!("! {wrong}"), lines);
    }
    lines.push("  Type or paste it, then press Enter (Ctrl-U begins anew):".to_owned());
    lines.push(String::new());
    lines.push(format!("  > {}_", tail(asked.line, COLUMNS - 6)));
}

fn joining(seen: &Seen, trouble: Option<&str>, lines: &mut Vec<String>) {
    paragraph("Joining: asking the hubs ...", lines);
    if !seen.has_network {
        paragraph("! There is no network yet. It goes on by itself as soon as there is one.", lines);
    } else if let Some(trouble) = trouble {
        paragraph(&format!("! So far: {trouble}. It is tried again and again."), lines);
    }
    lines.push("  Press n to type another join string.".to_owned());
}

fn member(seen: &Seen, trouble: Option<&str>, lines: &mut Vec<String>) {
    paragraph("This machine keeps forums of AtomJump pages. Thank you for lending it.", lines);
    let hubs = seen.hubs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let health = match (trouble, seen.has_network, seen.hubs.is_empty()) {
        (Some(trouble), ..) => format!("the peer has stopped and is started again. It said: {trouble}"),
        (None, false, _) => "there is no network; it goes on by itself when there is one".to_owned(),
        (None, true, true) => "looking for a hub".to_owned(),
        (None, true, false) => "all is well".to_owned(),
    };
    let unknown = || "not known now".to_owned();
    row("Health", &health, lines);
    row("Known as", &seen.peer.map_or_else(unknown, |peer| format!("p{peer}")), lines);
    row("Hub", if hubs.is_empty() { "none" } else { &hubs }, lines);
    row("Forums", &seen.forums.map_or_else(unknown, |forums| format!("{forums} on this disk")), lines);
    row(
        "Record",
        &seen.cursor.map_or_else(unknown, |cursor| format!("{cursor} is the last one on this disk")),
        lines,
    );
    row(
        "Disk",
        &seen.disk.map_or_else(unknown, |(used, all)| format!("{} of {} used", size(used), size(all))),
        lines,
    );
    let (received, sent) = seen.traffic;
    row("Network", &format!("{} received and {} sent since the start", size(received), size(sent)), lines);
    row("Running for", &seen.uptime_s.map_or_else(unknown, duration), lines);
    lines.push(String::new());
    paragraph(
        "You may close this window and let the machine run. To stop it, shut it down as you would any computer; if its \
         power is cut, nothing is lost either.",
        lines,
    );
}

fn row(name: &str, value: &str, lines: &mut Vec<String>) {
    let mut wrapped = wrap(value, COLUMNS - 18).into_iter();
    lines.push(format!("    {name:<12}{}", wrapped.next().unwrap_or_default()));
    lines.extend(wrapped.map(|line| format!("{:16}{line}", "")));
}

fn paragraph(text: &str, lines: &mut Vec<String>) {
    lines.extend(wrap(text, COLUMNS - 4).into_iter().map(|line| format!("  {line}")));
    lines.push(String::new());
}

/// Words in lines of at most `width` characters; a longer word is cut. What no screen can show is left out.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word: String = word.chars().filter(|c| !c.is_control()).take(width).collect();
        let last = lines.last().map_or(0, |line| line.chars().count());
        if last > 0 && last + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines
}

/// The end of a line that is too long: one sees what one types.
fn tail(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width { text.to_owned() } else { text.chars().skip(count - width).collect() }
}

fn size(bytes: u64) -> String {
    let mut unit = ("bytes", 1u64);
    for larger in [("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)] {
        if bytes >= larger.1 {
            unit = larger;
        }
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(unit.1) / 2) / u128::from(unit.1);
    if unit.1 == 1 || tenths >= 1_000 {
        format!("{} {}", tenths / 10, unit.0)
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, unit.0)
    }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(seen: &Seen, stage: &Stage, asked: Asked<'_>) -> String {
        lines(seen, stage, asked).join("\n")
    }

    #[test]
    fn without_a_join_string_it_is_asked_for() {
        let seen = Seen { has_network: true, ..Seen::default() };
        let shown = text(&seen, &Stage::Unknown, Asked { line: "hub.exa", wrong: None });
        assert!(
            shown.contains("join string") && shown.ends_with("> hub.exa_") && !shown.contains('!'),
            "{shown}"
        );
        let wrong = Asked { line: "hub", wrong: Some("The slash is missing.") };
        assert!(text(&seen, &Stage::Unknown, wrong).contains("! The slash is missing."));
        let refused = Stage::Refused { why: "Its token is wrong.".into() };
        assert!(text(&seen, &refused, Asked::default()).contains("! Its token is wrong."));
        assert!(text(&Seen::default(), &Stage::Unknown, Asked::default()).contains("! There is no network."));
    }

    #[test]
    fn a_member_is_told_how_it_is() {
        let seen = Seen {
            has_network: true,
            peer: Some(4),
            forums: Some(12),
            cursor: Some(1204),
            hubs: vec!["10.0.2.100:9080".parse().unwrap()],
            disk: Some((61_000_000, 7_400_000_000)),
            traffic: (1_260_000, 999),
            uptime_s: Some(7_500),
            ..Seen::default()
        };
        let shown = text(&seen, &Stage::Member { trouble: None }, Asked::default());
        for part in [
            "all is well",
            "p4",
            "10.0.2.100:9080",
            "12 on this disk",
            "61.0 MB of 7.4 GB used",
            "1.3 MB received and 999 bytes sent",
            "2 h 5 min",
        ] {
            assert!(shown.contains(part), "{part} is not in\n{shown}");
        }
        let stopped = Stage::Member { trouble: Some("disk full".into()) };
        assert!(text(&seen, &stopped, Asked::default()).contains("It said: disk full"));
        let alone = Seen { hubs: Vec::new(), ..seen };
        assert!(
            text(&alone, &Stage::Member { trouble: None }, Asked::default()).contains("looking for a hub")
        );
    }

    #[test]
    fn sizes_and_times_are_as_people_say_them() {
        let sizes = [0, 999, 1_000, 99_949, 100_000, 1_500_000, 7_400_000_000, u64::MAX].map(size);
        let said =
            ["0 bytes", "999 bytes", "1.0 KB", "99.9 KB", "100 KB", "1.5 MB", "7.4 GB", "18446744073 GB"];
        assert_eq!(sizes, said);
        assert_eq!([59, 60, 3_600, 90_061].map(duration), ["0 min", "1 min", "1 h 0 min", "1 d 1 h"]);
    }

    proptest! {
        #[test]
        fn every_screen_fits(line in ".{0,300}", said in ".{0,300}", joined in any::<bool>()) {
            let trouble = Some(said.clone());
            let stage = if joined { Stage::Member { trouble } } else { Stage::Joining { trouble } };
            let asked = Asked { line: &line, wrong: Some(&said) };
            for stage in [&Stage::Unknown, &stage] {
                let lines = lines(&Seen::default(), stage, asked);
                prop_assert!(lines.len() <= 25 + 10);
                prop_assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS));
            }
        }
    }
}
