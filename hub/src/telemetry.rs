//! What every metric of a hub means: the `# HELP` lines of `/metrics`. Whoever measures only names the metric.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// A metric's kind, as Prometheus knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Every metric there is.
const METRICS: &[(Kind, &str, &str)] = &[
    (Gauge, "loop_leader", "1 if this hub leads the group and reaches a majority of it, else 0."),
    (
        Gauge,
        "loop_quorum",
        "1 if a leader with a majority of hubs has answered this hub within two election times, else 0.",
    ),
    (Gauge, "loop_ready", "1 if this hub would serve a read and a write now, as /readyz says, else 0."),
    (Gauge, "loop_hubs", "Voting members of the group of hubs."),
    (Gauge, "loop_hubs_reachable", "Voting members this hub reaches, itself included."),
    (Gauge, "loop_peers", "Peers that ever joined and were not removed."),
    (Gauge, "loop_peers_connected", "Peers connected to any hub."),
    (
        Gauge,
        "loop_forums",
        "Forums by number of live copies: complete, serving, and on a connected peer. 0: nobody can read them.",
    ),
    (Gauge, "loop_forums_under_replicated", "Forums with fewer live copies than wanted."),
    (
        Gauge,
        "loop_forums_under_replicated_overdue",
        "Forums that have had fewer live copies than wanted for longer than --peer-grace-s.",
    ),
    (
        Gauge,
        "loop_forums_under_replicated_longest_seconds",
        "For how long the forum has had fewer live copies than wanted that has for longest; 0: none has.",
    ),
    (Gauge, "loop_held", "How much this hub keeps of what others decide the size of."),
    (Gauge, "loop_held_limit", "The most of it this hub may keep."),
    (Gauge, "loop_http_connections", "Open connections of clients."),
    (Gauge, "loop_http_requests_in_flight", "Requests of clients being answered."),
    (Gauge, "loop_http_watchers", "Browsers that watch a forum, each over a connection of its own."),
    (Counter, "loop_http_requests_total", "Answered requests, by endpoint and class of status."),
    (Histogram, "loop_http_request_seconds", "How long answers took, by endpoint."),
    (
        Counter,
        "loop_http_connections_turned_away_total",
        "Connections refused because --connections-max were open.",
    ),
    (
        Counter,
        "loop_tasks_appended_total",
        "Tasks appended to the log while this hub followed it; what it caught up with is not counted.",
    ),
    (
        Counter,
        "loop_tasks_answered_total",
        "Answers committed to the log while this hub followed it; what it caught up with is not counted.",
    ),
    (
        Counter,
        "loop_windows_loaded_total",
        "Windows of forums begun with rows of a peer, because somebody looked.",
    ),
    (Counter, "loop_rows_asked_total", "Times a peer was asked for rows, for clients of this hub."),
    (Histogram, "loop_rows_seconds", "How long each peer took that was asked for rows."),
    (
        Counter,
        "loop_content_asked_total",
        "Times a peer was asked for a published file, for clients of this hub.",
    ),
    (Counter, "loop_rows_hedged_total", "Times a second peer was asked because the first one was slow."),
    (
        Counter,
        "loop_rows_unanswered_total",
        "Times a peer has not sent the rows it was asked for, or could not.",
    ),
    (
        Counter,
        "loop_rows_not_taken_total",
        "Times a peer has sent rows that break the rules; nobody was shown them.",
    ),
    (
        Counter,
        "loop_peer_breaches_total",
        "Times a peer of this hub has said what cannot be: it is suspended, and hubctl peers names it.",
    ),
    (
        Counter,
        "loop_answers_refused_total",
        "Answers that came too late, twice, or from a peer that is not the forum's primary any more.",
    ),
    (
        Gauge,
        "loop_realtime_connections",
        "Socket.IO sessions, by Engine.IO protocol (3: clients 1.x, 2.x) and transport.",
    ),
    (Gauge, "loop_realtime_users", "Users of Socket.IO clients on all hubs, as this hub knows."),
    (
        Counter,
        "loop_realtime_messages_total",
        "Instant messages from and to clients of this hub, and from and to other hubs.",
    ),
    (
        Counter,
        "loop_realtime_dropped_total",
        "What Socket.IO clients sent or should have got and what came to nothing, by reason.",
    ),
    (Counter, "loop_realtime_lists_sent_total", "Lists of users handed to clients."),
    (Counter, "loop_relayed_bytes_total", "Bytes of copies of forums passed from peer to peer."),
    (Gauge, "loop_projection_state", "1 for what this hub's rows in MySQL are, 0 for what they are not."),
    (Gauge, "loop_projection_lag_records", "Records this hub has applied that are not in its rows in MySQL."),
    (Counter, "loop_projection_batches_total", "Batches of changes written to this hub's rows in MySQL."),
    (Counter, "loop_projection_rows_total", "Rows written to MySQL, those of tables made anew included."),
    (Counter, "loop_projection_rebuilds_total", "Times all of this hub's rows in MySQL were made anew."),
];

/// Tells whatever collects metrics in this process what they mean.
pub fn describe() {
    for (kind, name, help) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *help),
            Gauge => describe_gauge!(*name, *help),
            Histogram => describe_histogram!(*name, *help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// Every string in our sources that looks like a metric's name, this file's apart.
    fn named(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, names);
            } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("telemetry.rs") {
                let code = fs::read_to_string(&path).unwrap();
                let strings = code.split('"').filter(|text| {
                    text.starts_with("loop_") && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                });
                names.extend(strings.map(ToOwned::to_owned));
            }
        }
    }

    #[test]
    fn every_metric_that_is_measured_is_explained_and_no_other() {
        let mut measured = BTreeSet::new();
        for folder in ["src", "edge/src", "net/src", "realtime/src"] {
            named(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut measured);
        }
        let explained: BTreeSet<String> = METRICS.iter().map(|(_, name, _)| (*name).to_owned()).collect();
        assert_eq!(measured, explained);
        assert_eq!(explained.len(), METRICS.len(), "each once");
        for (_, name, help) in METRICS {
            assert!(help.ends_with('.') && help.len() < 120, "{name}: {help}");
        }
    }
}
