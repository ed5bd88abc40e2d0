//! `/readyz`: the hub's health as a status, and as text for people or JSON for programs.

use http::{HeaderMap, StatusCode, header::ACCEPT};
use loop_proto::v1;
use serde::Serialize;

use super::answer::{self, Answer};

/// The report, with the names `hubctl status --json` has for it.
#[derive(Debug, Serialize)]
struct Health<'a> {
    ready: bool,
    quorum: bool,
    forums: u64,
    forums_without_live_copy: u64,
    forums_with_one_live_copy: u64,
    forums_below_wanted: u64,
    grace_ms: u64,
    problems: &'a [String],
}

/// 200 if a read and a write would be served now, else 503; with all that is not well, either way.
pub fn answer(report: &v1::HealthReport, headers: &HeaderMap) -> Answer {
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match wants_json(headers) {
        true => answer::json(status, json(report)),
        false => answer::sentence(status, text(report)),
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| media.trim().starts_with("application/json"))
}

fn text(report: &v1::HealthReport) -> String {
    let verdict = if report.ready { "ready" } else { "not ready" };
    let problems = report.problems.iter().map(|problem| format!("\n- {problem}"));
    let colon = if report.problems.is_empty() { "" } else { ":" };
    let but = if report.ready && !report.problems.is_empty() { ", but not all is well" } else { "" };
    problems.fold(format!("{verdict}{but}{colon}"), |text, problem| text + &problem)
}

fn json(report: &v1::HealthReport) -> Vec<u8> {
    let health = Health {
        ready: report.ready,
        quorum: report.quorum,
        forums: report.forums,
        forums_without_live_copy: report.forums_without_live_copy,
        forums_with_one_live_copy: report.forums_with_one_live_copy,
        forums_below_wanted: report.forums_below_wanted,
        grace_ms: report.grace_ms,
        problems: &report.problems,
    };
    let mut json = serde_json::to_vec(&health).expect("numbers and strings have a JSON form");
    json.push(b'\n');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ready: bool, problems: &[&str]) -> v1::HealthReport {
        let problems = problems.iter().map(|problem| (*problem).to_owned()).collect();
        v1::HealthReport { ready, forums: 13, problems, ..Default::default() }
    }

    #[test]
    fn a_person_reads_what_is_not_well_whether_or_not_the_hub_is_ready() {
        assert_eq!(text(&report(true, &[])), "ready");
        assert_eq!(text(&report(true, &["a", "b"])), "ready, but not all is well:\n- a\n- b");
        assert_eq!(text(&report(false, &["a"])), "not ready:\n- a");
    }

    #[test]
    fn a_program_gets_json_if_it_asks_for_it() {
        let asks = |accept: &'static str| {
            wants_json(&HeaderMap::from_iter([(ACCEPT, http::HeaderValue::from_static(accept))]))
        };
        assert!(asks("application/json") && asks("text/html, application/json;q=0.9"));
        assert!(!asks("*/*") && !asks("text/html") && !wants_json(&HeaderMap::new()));
        let value: serde_json::Value = serde_json::from_slice(&json(&report(false, &["a \"b\""]))).unwrap();
        assert_eq!((&value["ready"], &value["forums"]), (&false.into(), &13.into()));
        assert_eq!(value["problems"][0], "a \"b\"");
    }
}
