//! What counts as the same outcome: rows by column, sessions by key.

use std::collections::BTreeMap;

use loop_peer::backend::Execution;
use loop_proto::v1::{self, MessageStatus, fact::Kind};
use serde_json::Value;

use crate::{
    capture::{Capture, unix_of_sql},
    peer::{Peer, id},
};

pub fn rows(peer: &mut Peer, capture: &Capture, execution: &Execution, differences: &mut Vec<String>) {
    let mut expected = peer.rows.clone();
    for effect in capture.effects("tbl_ssshout") {
        match effect["op"].as_str().unwrap() {
            "insert" => {
                let row = message_of(&effect["row"]);
                expected.insert(row.id, row);
            }
            "update" => {
                let row = updated(&expected[&id(&effect["pk"]["int_ssshout_id"])], effect);
                expected.insert(row.id, row);
            }
            _ => drop(expected.remove(&id(&effect["row"]["int_ssshout_id"]))),
        }
    }
    peer.remember(&execution.forum_facts);
    for (id, row) in &mut peer.rows {
        match expected.remove(id) {
            Some(mut theirs) => {
                // The second in which the database dated it may be the next one; and zero is printed in two ways.
                if theirs.shouted_at_s.abs_diff(row.shouted_at_s) <= 1 {
                    theirs.shouted_at_s = row.shouted_at_s;
                }
                if *row != theirs {
                    differences.push(format!("row {row:?}\n   instead of {theirs:?}"));
                }
            }
            None => differences.push(format!("message {id} is there")),
        }
    }
    differences.extend(expected.keys().map(|id| format!("message {id} is missing")));
    compare_users(capture, execution, differences);
    compare_forums(capture, execution, differences);
}

fn compare_users(capture: &Capture, execution: &Execution, differences: &mut Vec<String>) {
    let ours = execution.directory_facts.iter().filter_map(|fact| match &fact.kind {
        Some(Kind::UserStored(user)) => {
            Some((user.id, user.last_ip.clone(), user.balance.clone(), user.confirmed))
        }
        _ => None,
    });
    let ours: Vec<_> = ours.collect();
    let theirs = capture.inserted("tbl_user").map(|row| {
        let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
        (
            id(&row["int_user_id"]),
            text("var_last_ip"),
            text("dec_balance"),
            text("enm_confirmed") == "confirmed",
        )
    });
    let theirs: Vec<_> = theirs.collect();
    if ours != theirs || capture.effects("tbl_user").any(|effect| effect["op"] == "update") {
        differences.push(format!("users {ours:?} instead of {theirs:?} and their updates"));
    }
}

fn compare_forums(capture: &Capture, execution: &Execution, differences: &mut Vec<String>) {
    let ours = execution.forum_facts.iter().filter_map(|fact| match &fact.kind {
        Some(Kind::ForumStored(forum)) => Some((
            forum.id,
            forum.passcode.clone(),
            forum.title.clone(),
            forum.owner_since_s,
            forum.decays_at_s,
        )),
        _ => None,
    });
    let ours: Vec<_> = ours.collect();
    let theirs = capture.inserted("tbl_layer").map(|row| {
        let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
        let decays = row["date_to_decay"].as_str().map(unix_of_sql);
        (
            id(&row["int_layer_id"]),
            text("passcode"),
            text("var_title"),
            unix_of_sql(&text("date_owner_start")),
            decays,
        )
    });
    let theirs: Vec<_> = theirs.collect();
    if ours != theirs {
        differences.push(format!("forums {ours:?} instead of {theirs:?}"));
    }
}

pub fn session(capture: &Capture, ours: Option<&v1::SessionRecord>, differences: &mut Vec<String>) {
    let written = capture.effects("php_session").find_map(|effect| match effect["op"].as_str()? {
        "insert" => effect["row"]["session_data"].as_str(),
        "update" => effect["changed"]["session_data"][1].as_str(),
        _ => None,
    });
    let Some(theirs) = written else { return };
    let ours = ours.map(|record| session_keys(&record.data)).unwrap_or_default();
    let theirs = session_keys(theirs.as_bytes());
    if ours != theirs {
        differences.push(format!("session {ours:?}\n   instead of {theirs:?}"));
    }
}

/// Keys and values of session data, types left out.
pub fn session_keys(data: &[u8]) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut rest = data;
    while let Some(bar) = rest.iter().position(|b| *b == b'|') {
        let key = String::from_utf8(rest[..bar].to_vec()).unwrap();
        rest = &rest[bar + 1..];
        let semicolon = rest.windows(2).position(|pair| pair == b"\";").map(|at| at + 1);
        let end = if rest[0] == b's' { semicolon } else { rest.iter().position(|b| *b == b';') };
        let end = end.unwrap();
        let value = String::from_utf8(rest[..end].to_vec()).unwrap();
        let value = value
            .splitn(if rest[0] == b's' { 3 } else { 2 }, ':')
            .last()
            .unwrap()
            .trim_matches('"')
            .to_owned();
        keys.insert(key, value);
        rest = &rest[end + 1..];
    }
    keys
}

/// A captured row as a fact.
pub fn message_of(row: &Value) -> v1::MessageStored {
    let effect = serde_json::json!({
        "changed": row.as_object().unwrap().iter()
            .map(|(column, value)| (column.clone(), serde_json::json!([null, value])))
            .collect::<serde_json::Map<_, _>>(),
    });
    updated(&v1::MessageStored { id: id(&row["int_ssshout_id"]), ..Default::default() }, &effect)
}

/// The row with the captured changes.
pub fn updated(row: &v1::MessageStored, effect: &Value) -> v1::MessageStored {
    let mut row = row.clone();
    for (column, change) in effect["changed"].as_object().unwrap() {
        let value = &change[1];
        let text = || value.as_str().unwrap_or_default().to_owned();
        let number = || value.as_u64().map(|number| u32::try_from(number).unwrap());
        match column.as_str() {
            "var_shouted" => row.text = text(),
            "var_shouted_processed" => row.html = text(),
            "date_when_shouted" => row.shouted_at_s = unix_of_sql(&text()),
            "int_layer_id" => row.forum_id = number().unwrap(),
            "enm_active" => row.active = text() == "true",
            "enm_status" => {
                let status = if text() == "typing" { MessageStatus::Typing } else { MessageStatus::Final };
                row.status = status.into();
            }
            "var_ip" => row.author_address = text(),
            "int_author_id" => row.author_id = number(),
            "var_username" => row.author_name = text(),
            "var_whisper_to" => row.whisper_to_address = text(),
            "int_whisper_to_id" => row.whisper_to_id = number(),
            "dec_latitude" => row.latitude = text(),
            // A decimal zero, as the tool that read the table prints it.
            "dec_longitude" => row.longitude = text().replace("0E-7", "0.0000000"),
            "int_peano1" => row.peano1 = number().unwrap(),
            "int_peano2" => row.peano2 = number().unwrap(),
            "int_peano1inv" => row.peano1inv = number().unwrap(),
            "int_peano2inv" => row.peano2inv = number().unwrap(),
            _ => {}
        }
    }
    row
}
