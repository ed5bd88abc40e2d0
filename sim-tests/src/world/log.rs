//! What hubs and peers log, with the host it comes from: part of the story, and of what must repeat.
//!
//! Also holds them to two house rules: nothing is logged as an error unless a test expects it, and no secret ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::trace::Trace;

/// What was logged that somebody must know.
#[derive(Default)]
pub struct Logged {
    /// Lines at level ERROR, with their host.
    pub errors: Vec<String>,
    /// Lines in which a secret stands, without it.
    pub leaks: Vec<String>,
    /// Words that must never be logged.
    pub secrets: Vec<String>,
    /// Who leads, by the word of the hub that last said so of itself.
    pub leader: Option<u64>,
    /// How often another one took the lead.
    pub elections: u64,
    /// Peers that were below the trim point and started again from what others have, with the cursor of each time.
    pub started_over: Vec<(String, u64)>,
    /// Peers that are connected, by their own word; those of machines that were cut off are taken out.
    pub connected: BTreeSet<String>,
    /// Forums, by id, of which a hub had a copy made for evenness or to try a new peer, since that was looked at last.
    pub levelled: Vec<u32>,
    /// Peers whose hub fed them from before what they had said they have.
    pub fed_back: Vec<String>,
}

/// Listens for as long as the guard lives, on this thread.
pub fn listen(trace: Trace, logged: Arc<Mutex<Logged>>) -> tracing::subscriber::DefaultGuard {
    let listener = Listener { trace, logged, spans: Mutex::default(), entered: Mutex::default() };
    tracing::subscriber::set_default(tracing_subscriber::registry().with(listener))
}

struct Listener {
    trace: Trace,
    logged: Arc<Mutex<Logged>>,
    /// turmoil's span around each host's turn, by id.
    spans: Mutex<BTreeMap<u64, String>>,
    /// Those entered, the innermost last: somebody may enter the same one again.
    entered: Mutex<Vec<String>>,
}

fn is_ours(meta: &Metadata<'_>) -> bool {
    meta.target().starts_with("loop_")
}

impl<S: Subscriber> Layer<S> for Listener {
    fn enabled(&self, meta: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let deepest = if self.trace.prints() { Level::DEBUG } else { Level::INFO };
        meta.is_event() && is_ours(meta) && *meta.level() <= deepest
            || meta.is_span() && meta.name() == "node" && meta.target().starts_with("turmoil")
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        self.spans.lock().insert(id.into_u64(), fields.node);
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let node = self.spans.lock().get(&id.into_u64()).cloned();
        self.entered.lock().push(node.unwrap_or_default());
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        self.entered.lock().pop();
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.spans.lock().remove(&id.into_u64());
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, node) =
            (*event.metadata().level(), self.entered.lock().last().cloned().unwrap_or_default());
        let line = format!("{level:<5} {}", fields.text);
        {
            let mut logged = self.logged.lock();
            if logged.secrets.iter().any(|secret| line.contains(secret.as_str())) {
                logged.leaks.push(format!("{node}: {}", event.metadata().name()));
            }
            if level == Level::ERROR {
                logged.errors.push(format!("{node}: {}", fields.text));
            }
            if fields.text.contains("started over: all users are here") {
                logged.started_over.push((node.clone(), fields.cursor));
            }
            if node.starts_with("peer-") && fields.message == "connected" {
                logged.connected.insert(node.clone());
            }
            if node.starts_with("peer-") && fields.message.starts_with("disconnected") {
                logged.connected.remove(&node);
            }
            logged.levelled.extend(levelled(&fields));
            if fields.text.contains("the feed went back") {
                logged.fed_back.push(node.clone());
            }
            if fields.leader.is_some_and(|leader| node == format!("hub-{leader}")) {
                logged.elections += u64::from(logged.leader.is_some() && logged.leader != fields.leader);
                logged.leader = fields.leader;
            }
        }
        if level <= Level::INFO {
            self.trace.tell(&node, &line);
        } else {
            self.trace.remark(&node, &line);
        }
    }
}

/// The forum of which a hub says that it had a copy begun though nothing was wrong with those it has.
fn levelled(fields: &Fields) -> Option<u32> {
    let reasons = ["peers hold unevenly many replicas", "a new peer is tried with an additional copy"];
    let is_so = fields.message == "balance" && reasons.iter().any(|reason| fields.text.contains(reason));
    let (_, forum) = fields.text.split_once("forum=f").filter(|_| is_so)?;
    forum.split(' ').next()?.parse().ok()
}

#[derive(Default)]
struct Fields {
    text: String,
    message: String,
    node: String,
    leader: Option<u64>,
    cursor: u64,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "leader" {
            self.leader = Some(value);
        }
        if field.name() == "cursor" {
            self.cursor = value;
        }
        self.record_debug(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            self.node = value.to_owned();
        }
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?} "),
            name => write!(self.text, "{name}={value:?} "),
        };
    }
}
