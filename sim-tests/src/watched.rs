//! What a browser makes of the hub's events: lines to events, events to the list it shows. Knows no connection.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::rows;

/// An event of which some lines have come.
#[derive(Default)]
pub struct Lines {
    number: Option<u64>,
    data: Option<Value>,
}

impl Lines {
    /// Takes the next line; the event that ends with it: its number and what it says.
    pub fn take(&mut self, line: &str) -> Result<Option<(u64, Value)>, String> {
        if let Some(id) = line.strip_prefix("id: ") {
            self.number = Some(id.parse().map_err(|_| format!("an event's number is {id}"))?);
        } else if let Some(text) = line.strip_prefix("data: ") {
            self.data = Some(serde_json::from_str(text).map_err(|error| format!("an event says {error}"))?);
        } else if let (true, Some(number), Some(data)) = (line.is_empty(), self.number, self.data.take()) {
            return Ok(Some((number, data)));
        }
        Ok(None)
    }
}

/// The list that has been pushed.
#[derive(Default)]
pub struct List {
    /// The number of the last event.
    pub last: Option<u64>,
    /// Ids and texts, newest first.
    pub rows: Vec<(u64, String)>,
}

impl List {
    /// The list after one more event. An error says what no hub may send.
    pub fn take(&mut self, number: u64, change: &Value) -> Result<(), String> {
        let (new, ids) =
            rows(change).zip(change["ids"].as_array()).ok_or_else(|| format!("no list: {change}"))?;
        let mut known: BTreeMap<u64, String> = self.rows.drain(..).chain(new).collect();
        for id in ids {
            let row = id.as_str().and_then(|id| known.remove_entry(&id.parse().ok()?));
            self.rows.push(row.ok_or_else(|| format!("message {id} was never sent, or is listed twice"))?);
        }
        self.last = Some(number);
        Ok(())
    }
}
