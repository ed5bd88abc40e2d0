//! Every forum is one linearizable object: there is one order of all its writes, hides and reads in which each takes
//! effect at one moment between being asked and being answered, and message ids are the order in which messages begin.
//!
//! The system promises that much: a task takes its place in the log before it is answered, is answered by committed
//! facts only, in the order of the log, and a read waits for everything committed before it was asked and shows nothing
//! that is not committed. So also two reads of different people through different hubs never go backwards.
//!
//! The sequential model: a message is absent, then typed or said, then said, then hidden, and never goes back; a read
//! shows all that are not absent or hidden. As each of these steps happens once, a history has such an order if and only
//! if each read, for each message it could show,
//! - shows every step that was answered, or shown by a read that had ended, before it was asked;
//! - shows no step that was not asked for before it ended, nor any from another forum;
//! - shows all messages with smaller ids than its newest (page by page), and
//! - is comparable to every read that ran beside it: not one ahead here and the other there.

mod view;

use std::collections::{BTreeMap, VecDeque};

use loop_proto::v1::{self, fact::Kind, record::Body};

use self::view::View;
use super::{Commit, Hide, Invariant, Look, Shown, Typing, facts_of};

/// Reads that may run beside one another and be told apart; visitors of a run are fewer by far.
const RECENT_MAX: usize = 256;

/// A step of a message: what is known of when it happened.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    /// When it was first asked for.
    asked: Option<u64>,
    /// By when it had certainly happened: it was answered, or a read that showed it had ended.
    happened: Option<u64>,
}

impl Step {
    fn happens_by(&mut self, at: u64) {
        self.happened = Some(self.happened.map_or(at, |known| known.min(at)));
    }

    fn is_before(&self, asked: u64) -> bool {
        self.happened.is_some_and(|happened| happened < asked)
    }
}

#[derive(Debug, Default)]
struct Message {
    /// It is there, typed or said.
    begun: Step,
    /// It says its text.
    said: Step,
    hidden: Step,
    text: Option<String>,
}

/// What is known of a text before its id is.
#[derive(Debug)]
struct Sent {
    asked: u64,
    /// Its row was typed first: it does not stand in the order of ids on a page.
    typed: Option<u64>,
    id: Option<u64>,
}

#[derive(Default)]
struct Forum {
    messages: BTreeMap<u64, Message>,
    sent: BTreeMap<String, Sent>,
    /// Typing rows asked for, those whose id was never told among them.
    typings: u64,
    /// Typing rows seen or told.
    typed: u64,
    /// From and below which ids the reads so far showed everything there was.
    pages: Vec<(u64, u64)>,
    recent: VecDeque<View>,
}

/// The rule.
#[derive(Default)]
pub struct Linearizable {
    forums: BTreeMap<usize, Forum>,
    /// Where each id is: they are unique over all forums.
    homes: BTreeMap<u64, usize>,
}

impl Invariant for Linearizable {
    fn name(&self) -> &'static str {
        "each forum is linearizable"
    }

    /// The hubs themselves take away what somebody typed and left behind.
    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        if !matches!(&record.body, Some(Body::Facts(facts)) if facts.peer_id == 0) {
            return Ok(());
        }
        for fact in facts_of(record) {
            let Kind::MessageRemoved(removed) = fact else { continue };
            let id = u64::from(removed.id);
            let forum = self.homes.get(&id).and_then(|home| self.forums.get_mut(home));
            if let Some(message) = forum.and_then(|forum| forum.messages.get_mut(&id)) {
                message.hidden.asked.get_or_insert(0);
            }
        }
        Ok(())
    }

    fn on_sent(&mut self, commit: &Commit) -> Result<(), String> {
        let typed = commit.typed.map(|(id, _)| id);
        let forum = self.forums.entry(commit.forum).or_default();
        forum.sent.insert(commit.text.clone(), Sent { asked: commit.sent, typed, id: None });
        Ok(())
    }

    fn on_ack(&mut self, commit: &Commit) -> Result<(), String> {
        let Some((id, at)) = commit.acked else { return Ok(()) };
        self.at_home(id, commit.forum)?;
        self.forums.entry(commit.forum).or_default().says(id, &commit.text, at)
    }

    fn on_typing(&mut self, typing: &Typing) -> Result<(), String> {
        let forum = self.forums.entry(typing.forum).or_default();
        let Some((id, at)) = typing.told else {
            forum.typings += 1;
            return Ok(());
        };
        forum.types(id, at)?;
        self.at_home(id, typing.forum)
    }

    fn on_hide(&mut self, hide: &Hide) -> Result<(), String> {
        let forum = self.forums.entry(hide.forum).or_default();
        if let Some(message) = forum.messages.get_mut(&hide.id).filter(|_| hide.own) {
            message.hidden.asked.get_or_insert(hide.asked);
            hide.answered.into_iter().for_each(|at| message.hidden.happens_by(at));
        }
        Ok(())
    }

    fn on_shown(&mut self, shown: &Shown) -> Result<(), String> {
        for (id, _) in &shown.rows {
            self.at_home(*id, shown.forum)?;
        }
        self.forums.entry(shown.forum).or_default().shows(shown)
    }
}

impl Linearizable {
    fn at_home(&mut self, id: u64, forum: usize) -> Result<(), String> {
        let home = *self.homes.entry(id).or_insert(forum);
        match home == forum {
            true => Ok(()),
            false => Err(format!("message {id} is in forums {home} and {forum}")),
        }
    }
}

impl Forum {
    /// The message, which no read may have left out that showed a newer one.
    fn message(&mut self, id: u64) -> Result<&mut Message, String> {
        let skipped = |(from, below): &&(u64, u64)| (*from..*below).contains(&id);
        if !self.messages.contains_key(&id)
            && let Some((_, newest)) = self.pages.iter().find(skipped)
        {
            return Err(format!("a read showed message {newest} and not {id}, which comes before it"));
        }
        Ok(self.messages.entry(id).or_default())
    }

    /// It is certain by `at` that this message says this.
    fn says(&mut self, id: u64, text: &str, at: u64) -> Result<(), String> {
        let Some(sent) = self.sent.get_mut(text) else {
            return Err(format!("message {id} says {text:?}, which nobody wrote here"));
        };
        let first = *sent.id.get_or_insert(id);
        if first != id || sent.typed.is_some_and(|typed| typed != id) {
            let other = sent.typed.unwrap_or(first);
            return Err(format!("{text} is message {id}, and message {other}"));
        }
        let (asked, typed) = (sent.asked, sent.typed);
        let message = self.message(id)?;
        let said = message.text.get_or_insert_with(|| text.to_owned());
        if said != text {
            return Err(format!("message {id} said {said:?}, and says {text:?}"));
        }
        message.said.asked = Some(asked);
        message.said.happens_by(at);
        if typed.is_none() {
            message.begun.asked = Some(asked);
        }
        message.begun.happens_by(at);
        Ok(())
    }

    /// It is certain by `at` that this row was there, typed.
    fn types(&mut self, id: u64, at: u64) -> Result<(), String> {
        let is_new = !self.messages.contains_key(&id);
        let message = self.message(id)?;
        message.begun.happens_by(at);
        self.typed += u64::from(is_new);
        match self.typed <= self.typings {
            true => Ok(()),
            false => Err(format!("message {id} is typed by nobody")),
        }
    }

    fn shows(&mut self, shown: &Shown) -> Result<(), String> {
        let mut plain = Vec::new();
        for (id, look) in &shown.rows {
            match look {
                Look::Typing => {
                    self.types(*id, shown.answered)?;
                    let message = &self.messages[id];
                    if message.said.is_before(shown.asked) {
                        return Err(format!("message {id} is typed again for a read that came later"));
                    }
                }
                Look::Says(text) => {
                    self.says(*id, text, shown.answered)?;
                    plain.extend(self.sent.get(text).is_some_and(|sent| sent.typed.is_none()).then_some(*id));
                }
            }
            if self.messages[id].hidden.is_before(shown.asked) {
                return Err(format!("message {id} had been hidden and is shown to a read that came later"));
            }
        }
        if plain.windows(2).any(|pair| pair[0] <= pair[1]) {
            return Err(format!("a read shows its messages out of order: {plain:?}"));
        }
        // A page that is not full is everything. On a full one everything newer than its oldest message is; typed ones
        // stand where they were sent and say nothing about what comes after them by id.
        let is_full = shown.rows.len() >= shown.records;
        let from = if is_full { plain.last().copied().unwrap_or(u64::MAX) } else { 0 };
        self.shows_all(shown, from)?;
        let view = View::new(shown, from, &self.messages);
        let mut beside = self.recent.iter().filter(|earlier| earlier.answered > shown.asked);
        beside.try_for_each(|earlier| earlier.check_beside(&view))?;
        self.recent.push_back(view);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        Ok(())
    }

    /// Nothing is left out that must be there.
    fn shows_all(&mut self, shown: &Shown, from: u64) -> Result<(), String> {
        let newest = shown.rows.iter().map(|(id, _)| *id).max().unwrap_or(0);
        let ids: std::collections::BTreeSet<u64> = shown.rows.iter().map(|(id, _)| *id).collect();
        for (id, message) in self.messages.range_mut(from..).filter(|(id, _)| !ids.contains(id)) {
            let must_be = message.begun.is_before(shown.asked);
            if message.hidden.asked.is_some() {
                if must_be {
                    message.hidden.happens_by(shown.answered);
                }
                continue;
            }
            let text = message.text.as_deref().unwrap_or("what is typed");
            if must_be {
                return Err(format!(
                    "message {id}, {text}, was there before a read was asked that does not show it, but {ids:?}"
                ));
            }
            if *id < newest {
                return Err(format!(
                    "a read shows message {newest} and not {id}, {text}, which comes before it"
                ));
            }
        }
        if from < newest {
            self.pages.push((from, newest));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
