//! Moves under way, shown again and again until Ctrl-C.
//!
//! On a terminal the table is redrawn; anywhere else whatever has changed becomes a line, so that a log can be kept.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    time::Duration,
};

use loop_admin::{Admin, AdminError};
use loop_proto::v1;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    names::Names,
    table::Width,
    view::{MigrationsView, Named, View, ended},
};

/// Most moves shown at once.
pub(super) const MIGRATIONS_MAX: u32 = 1000;
/// Homes the cursor and clears what is below it.
const REDRAW: &str = "\x1b[H\x1b[J";
/// Ends shown below the table.
const ENDS_SHOWN: usize = 8;

/// How a look is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// As a table in place of the last one.
    Redrawn,
    /// As lines, one for each change.
    Lines,
    /// As a line of JSON for each look that differs from the last.
    Json,
}

impl Shown {
    pub fn choose(json: bool, terminal: bool) -> Self {
        match (json, terminal) {
            (true, _) => Self::Json,
            (false, true) => Self::Redrawn,
            (false, false) => Self::Lines,
        }
    }
}

/// Looks every `every` until Ctrl-C. Hubs that do not answer are asked again; any other failure ends it.
pub(super) async fn watch(
    admin: &Admin,
    every: Duration,
    shown: Shown,
    (now_ms, width): (u64, Width),
    out: &mut impl Write,
) -> Result<(), AdminError> {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begin = Instant::now();
    let stop = tokio::signal::ctrl_c();
    tokio::pin!(stop);
    let mut watching = Watching::new(shown, width);
    loop {
        let text = tokio::select! {
            biased;
            // Without the signal the process ends at Ctrl-C anyway.
            _ = &mut stop => return Ok(()),
            text = async {
                tick.tick().await;
                look(admin, &mut watching, begin, now_ms).await
            } => text?,
        };
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
}

async fn look(
    admin: &Admin,
    watching: &mut Watching,
    begin: Instant,
    now_ms: u64,
) -> Result<String, AdminError> {
    let open = match admin.invitations(true, MIGRATIONS_MAX).await {
        Ok(open) => open,
        Err(error @ AdminError::Unreachable { .. }) => return Ok(watching.unreachable(&error.to_string())),
        Err(error) => return Err(error),
    };
    if watching.has_strangers(&open) {
        // If this fails, they are told by their ids.
        watching.names = admin.peers().await.map(Names::new).unwrap_or_default();
    }
    let all = match watching.has_gone(&open) {
        // If this fails, how it ended is not told; what is under way still is.
        true => admin.invitations(false, MIGRATIONS_MAX).await.unwrap_or_default(),
        false => Vec::new(),
    };
    let passed = begin.elapsed();
    let since_start = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    watching.look(open, &all, passed, now_ms.saturating_add(since_start))
}

/// What was seen so far.
struct Watching {
    shown: Shown,
    width: Width,
    names: Names,
    open: Vec<v1::InvitationInfo>,
    looked_at: Option<Duration>,
    lines: BTreeMap<u64, String>,
    ends: VecDeque<String>,
    last: String,
}

impl Watching {
    fn new(shown: Shown, width: Width) -> Self {
        Self {
            shown,
            width,
            names: Names::default(),
            open: Vec::new(),
            looked_at: None,
            lines: BTreeMap::new(),
            ends: VecDeque::new(),
            last: String::new(),
        }
    }

    /// Whether there is a peer in it that was not known before.
    fn has_strangers(&self, open: &[v1::InvitationInfo]) -> bool {
        let known = |peer: u32| peer == 0 || self.names.get(peer).is_some();
        open.iter().any(|info| !known(info.target) || !known(info.replaces))
    }

    /// Whether something that was under way is not any more.
    fn has_gone(&self, open: &[v1::InvitationInfo]) -> bool {
        self.gone(open).next().is_some()
    }

    fn gone<'a>(
        &'a self,
        open: &'a [v1::InvitationInfo],
    ) -> impl Iterator<Item = &'a v1::InvitationInfo> + 'a {
        let is_open = |id: u64| open.iter().any(|now| now.invitation_id == id);
        self.open.iter().filter(move |before| !is_open(before.invitation_id))
    }

    /// What to print after a look, taken so long after the start. `all`: invitations that may have ended since the
    /// last one.
    fn look(
        &mut self,
        open: Vec<v1::InvitationInfo>,
        all: &[v1::InvitationInfo],
        at: Duration,
        now_ms: u64,
    ) -> Result<String, AdminError> {
        let before = self.looked_at.map(|then| (self.open.as_slice(), at.saturating_sub(then)));
        let view = MigrationsView::new(open.clone(), before, now_ms);
        let gone: Vec<u64> = self.gone(&open).map(|info| info.invitation_id).collect();
        let ends: Vec<String> = all
            .iter()
            .filter(|info| gone.contains(&info.invitation_id))
            .map(|info| ended(info, &self.names))
            .collect();
        self.ends.extend(ends.iter().cloned());
        self.ends.drain(..self.ends.len().saturating_sub(ENDS_SHOWN));
        (self.open, self.looked_at) = (open, Some(at));
        Ok(match self.shown {
            Shown::Redrawn => {
                let ends: String = self.ends.iter().map(String::as_str).collect();
                let below = if ends.is_empty() { ends } else { format!("\nended:\n{ends}") };
                let peers = view.peers();
                let table = Named::new(view, peers, &self.names).text_within(now_ms, self.width);
                format!("{REDRAW}{table}{below}\nCtrl-C ends\n")
            }
            Shown::Lines => ends.concat() + &self.changed(&view),
            Shown::Json => {
                let peers = view.peers();
                let view = Named::new(view, peers, &self.names);
                let line = serde_json::to_string(&view).map_err(std::io::Error::from)? + "\n";
                self.unless_said(line)
            }
        })
    }

    /// The lines that are not as they were.
    fn changed(&mut self, view: &MigrationsView) -> String {
        let lines: BTreeMap<u64, String> =
            view.iter().map(|migration| (migration.invitation, migration.line(&self.names))).collect();
        let new = lines.iter().filter(|(id, line)| self.lines.get(id) != Some(line));
        let mut text: String = new.map(|(_, line)| line.as_str()).collect();
        self.lines = lines;
        if text.is_empty() && self.lines.is_empty() {
            text = self.unless_said(view.text(0));
        } else {
            self.last.clear();
        }
        text
    }

    fn unreachable(&mut self, why: &str) -> String {
        match self.shown {
            Shown::Redrawn => format!("{REDRAW}{why}\n\nasking again; Ctrl-C ends\n"),
            Shown::Lines => self.unless_said(format!("{why}\n")),
            Shown::Json => String::new(),
        }
    }

    fn unless_said(&mut self, text: String) -> String {
        if self.last == text {
            return String::new();
        }
        self.last.clone_from(&text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeding(id: u64, bytes_done: u64) -> v1::InvitationInfo {
        v1::InvitationInfo {
            invitation_id: id,
            forum_id: 12,
            target: 4,
            replaces: 2,
            status: v1::InvitationStatus::Accepted.into(),
            stage: v1::JoinStage::Seeding.into(),
            changed_at_ms: 1,
            bytes_done,
            bytes_total: 1000,
            waits_for: "p4 has some of the copy from p2".into(),
            ..Default::default()
        }
    }

    fn ended(id: u64) -> v1::InvitationInfo {
        let status = v1::InvitationStatus::Completed.into();
        v1::InvitationInfo { status, stage: 0, waits_for: String::new(), ..seeding(id, 0) }
    }

    fn look(watching: &mut Watching, open: Vec<v1::InvitationInfo>, second: u64) -> String {
        let all = if watching.has_gone(&open) { vec![ended(77)] } else { Vec::new() };
        watching.look(open, &all, Duration::from_secs(second), second * 1000).unwrap()
    }

    #[test]
    fn anywhere_but_on_a_terminal_only_changes_become_lines() {
        let mut watching = Watching::new(Shown::choose(false, false), Width::USUAL);
        assert_eq!(look(&mut watching, vec![], 1), "nothing is on its way\n");
        assert_eq!(look(&mut watching, vec![], 2), "");
        assert!(look(&mut watching, vec![seeding(77, 100)], 3).contains("10 % of 1000 B"));
        let on = look(&mut watching, vec![seeding(77, 350)], 4);
        assert!(on.contains("35 % of 1000 B  250 B/s"), "{on}");
        assert_eq!(on.lines().count(), 1);
        assert!(look(&mut watching, vec![seeding(77, 350)], 5).contains("0 B/s"));
        assert_eq!(look(&mut watching, vec![seeding(77, 350)], 6), "");
        let over = look(&mut watching, vec![], 7);
        assert_eq!(over, "f12  p2 → p4  completed\nnothing is on its way\n");
        assert!(!over.contains('\x1b'));
        assert_eq!(look(&mut watching, vec![], 8), "");
        assert_eq!(watching.unreachable("no hub"), "no hub\n");
        assert_eq!(watching.unreachable("no hub"), "");
    }

    #[test]
    fn a_terminal_is_redrawn_and_keeps_the_last_ends() {
        let mut watching = Watching::new(Shown::choose(false, true), Width::USUAL);
        look(&mut watching, vec![seeding(77, 100)], 1);
        for second in 2..4 {
            let text = look(&mut watching, vec![], second);
            assert!(text.starts_with(REDRAW) && text.contains("ended:\nf12  p2 → p4  completed"), "{text}");
        }
    }

    #[test]
    fn json_is_a_line_for_each_look_that_differs() {
        let mut watching = Watching::new(Shown::choose(true, true), Width::USUAL);
        let first = look(&mut watching, vec![seeding(77, 100)], 1);
        let value: serde_json::Value = serde_json::from_str(&first).unwrap();
        assert_eq!(value["migrations"][0]["percent"], 10);
        assert_eq!(first.lines().count(), 1);
        let other = look(&mut watching, vec![], 2);
        assert_eq!(other, "{\"migrations\":[]}\n");
        assert_eq!(look(&mut watching, vec![], 3), "");
    }
}
