//! What counts as the same outcome: rows by column, sessions by what they mean.

use std::collections::BTreeMap;

use loop_atomjump::Executed;
use loop_proto::v1::{self, MessageStatus};
use serde_json::Value;

use crate::{
    capture::{Capture, unix_of_sql},
    replay::id,
    sessions,
    world::World,
};

/// The rows before the request.
pub type Before = BTreeMap<u32, v1::MessageStored>;

/// Compares messages. `before` is what they were.
pub fn rows(world: &World, before: &Before, capture: &Capture, differences: &mut Vec<String>) {
    let mut expected = before.clone();
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
    for (id, row) in &world.rows {
        match expected.remove(id) {
            Some(mut theirs) => {
                // The second in which the database dated it may be the next one.
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
}

/// Compares the users that were made: `ours` is the one of this request's session, if this was its first task, and
/// `due` the one the real server had made for the session before, by a read.
pub fn users(capture: &Capture, ours: Option<u32>, due: Option<u32>, differences: &mut Vec<String>) {
    let theirs: Vec<u32> = capture.inserted("tbl_user").map(|row| id(&row["int_user_id"])).collect();
    let ours: Vec<u32> = ours.filter(|user| due != Some(*user)).into_iter().collect();
    if ours != theirs || capture.effects("tbl_user").any(|effect| effect["op"] == "update") {
        differences.push(format!("users {ours:?} instead of {theirs:?} and their updates"));
    }
}

/// Compares the forum that was made.
pub fn forums(capture: &Capture, ours: Option<&v1::ForumStored>, differences: &mut Vec<String>) {
    let theirs: Vec<_> = capture.inserted("tbl_layer").map(forum_of).collect();
    let ours: Vec<_> = ours.into_iter().cloned().collect();
    if ours != theirs {
        differences.push(format!("forums {ours:?} instead of {theirs:?}"));
    }
}

/// Compares the session with what the real one became.
pub fn session(capture: &Capture, ours: Option<&v1::SessionRecord>, differences: &mut Vec<String>) {
    let written = capture.effects("php_session").find_map(|effect| match effect["op"].as_str()? {
        "insert" => effect["row"]["session_data"].as_str(),
        "update" => effect["changed"]["session_data"][1].as_str(),
        _ => None,
    });
    let Some(theirs) = written else { return };
    let theirs = sessions::content(Some(&sessions::record_of("", theirs, 0)));
    let ours = sessions::content(ours);
    if ours != theirs {
        differences.push(format!("session {ours:?}\n   instead of {theirs:?}"));
    }
}

/// What a task says it changed must be able to follow from it.
pub fn judged(executed: &Executed, judged: Result<(), loop_atomjump::Rule>, differences: &mut Vec<String>) {
    if let Err(rule) = judged {
        differences.push(format!("does not conform: {rule}: {executed:?}"));
    }
}

/// A captured row of a new forum as a fact.
pub fn forum_of(row: &Value) -> v1::ForumStored {
    let text = |column: &str| row[column].as_str().unwrap_or_default().to_owned();
    v1::ForumStored {
        id: id(&row["int_layer_id"]),
        access: v1::ForumAccess::Public.into(),
        passcode: text("passcode"),
        title: text("var_title"),
        owner_since_s: unix_of_sql(&text("date_owner_start")),
        decays_at_s: row["date_to_decay"].as_str().map(unix_of_sql),
        ..Default::default()
    }
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
