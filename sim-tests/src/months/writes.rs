//! Messages: written to forums, carried out by their primaries, acknowledged. And forums: opened, busy, quiet again.

use loop_hub::placement::balance::ForumRate;
use loop_proto::{
    ids::ForumId,
    v1::{self, command, outcome},
};
use prost::Message;
use rand::RngExt;

use super::{
    agenda::{Event, HOUR},
    chance::{Spread, normal, unit},
    measure::Meter,
    plan_adapter,
    world::{Topic, World, index},
};

/// Bytes a message adds to its forum's rows.
const MESSAGE_BYTES: u64 = 1_000;
/// Rows of a forum that was just opened.
const NEW_BYTES: u64 = 20_000;
/// A request that everybody may answer in the same way, without rows: what it is about plays no part here.
fn removal() -> v1::ClientRequest {
    v1::ClientRequest { endpoint: v1::Endpoint::HideMessage.into(), ..Default::default() }
}

/// A busy forum's reads per minute, and its tasks.
const CROWD: ForumRate = ForumRate { tasks_per_minute: 60, reads_per_minute: 6_000 };

impl World {
    /// Forums that are there from the start, with all their history.
    pub(super) fn open_first(&mut self) {
        for _ in 0..self.scenario.forums {
            let size = (normal(&mut self.openers) * 2.0).exp();
            let bytes = ((300_000.0 * size) as u64).clamp(NEW_BYTES, 300 << 20);
            self.open(bytes);
        }
    }

    pub(super) fn open_another(&mut self) {
        self.open(NEW_BYTES);
        let wait = Spread::Exponential(self.scenario.opens_every).draw(&mut self.openers, self.now);
        self.agenda.at(self.now + wait, Event::Open);
    }

    fn open(&mut self, bytes: u64) {
        let present = self.leader.present(self);
        let replicas = plan_adapter::place(&self.state, &present, self.log_now());
        if replicas.is_empty() {
            return;
        }
        let number = self.topics.len() as u64 + 1;
        let mut key = vec![0; 8];
        key.extend(number.to_be_bytes());
        let body =
            command::Body::OpenForum(v1::OpenForum { key: key.into(), replicas, ..Default::default() });
        if let outcome::Kind::ForumOpened(opened) = self.apply(body)
            && let Some(id) = ForumId::new(opened.forum_id)
        {
            // Larger forums are written to more.
            let weight = (bytes as f64 / 1e6).powf(0.7) * (0.5 + unit(&mut self.openers));
            let acknowledged_before = if bytes > NEW_BYTES { self.state.newest() } else { 0 };
            self.topics.push(Topic {
                id,
                bytes,
                weight,
                acknowledged: Default::default(),
                acknowledged_before,
                lost: false,
                meter: Meter::new(self.now),
            });
            self.put_rows(id, bytes);
            let told = format!("opened with {bytes} bytes => {}", self.told(id));
            self.stories.tell(self.now, id, told);
            self.recount(id);
            self.leader.may_plan();
            self.look_at(self.now);
        }
    }

    /// A message to one of the forums, those that are written to often before others.
    pub(super) fn write(&mut self) {
        let wait = Spread::Exponential(HOUR / self.scenario.messages_per_hour.max(1));
        let wait = wait.draw(&mut self.writers, self.now);
        self.agenda.at(self.now + wait, Event::Write);
        let all: f64 = self.topics.iter().map(|topic| topic.weight).sum();
        let mut point = self.writers.random::<f64>() * all;
        let chosen = self.topics.iter().find(|topic| {
            point -= topic.weight;
            point <= 0.0
        });
        let Some(forum) = chosen.map(|topic| topic.id) else { return };
        let body = command::Body::AppendTask(v1::AppendTask {
            forum_id: forum.get(),
            request: removal().encode_to_vec().into(),
            ..Default::default()
        });
        if let outcome::Kind::TaskAppended(_) = self.apply(body) {
            self.answer_open_tasks(forum);
        }
    }

    /// The primary answers what is open, if it is there and has read the log to its end.
    pub(super) fn answer_open_tasks(&mut self, id: ForumId) {
        loop {
            let Some(forum) = self.state.forum(id) else { return };
            let Some(task) = forum.oldest_open_task() else { return };
            let machine = &self.machines[index(forum.primary)];
            if !machine.up || !machine.caught_up {
                return;
            }
            let body = command::Body::AnswerTask(v1::AnswerTask {
                task_id: task.get(),
                forum_id: id.get(),
                peer_id: forum.primary.get(),
                epoch: forum.epoch.0,
                receipt: Some(v1::Receipt { status: 200, ..Default::default() }),
                ..Default::default()
            });
            let outcome::Kind::TaskAnswered(answered) = self.apply(body) else { return };
            let topic = &mut self.topics[Self::topic_at(id)];
            topic.acknowledged.push_back(answered.record_id);
            topic.bytes += MESSAGE_BYTES;
            self.counts.acknowledged += 1;
        }
    }

    /// A forum has a crowd of readers for a while.
    pub(super) fn crowd(&mut self, at: usize, busy: bool) {
        if let Some(topic) = self.topics.get(at) {
            match busy {
                true => self.rates.insert(topic.id, CROWD),
                false => self.rates.remove(&topic.id),
            };
        }
        if busy {
            let lasts = Spread::Even(HOUR / 4, 2 * HOUR).draw(&mut self.openers, self.now);
            self.agenda.at(self.now + lasts, Event::Crowd { forum: at, busy: false });
            let wait = Spread::Exponential(self.scenario.crowds_every).draw(&mut self.openers, self.now);
            let next = self.openers.random_range(0..self.topics.len().max(1));
            self.agenda.at(self.now + wait, Event::Crowd { forum: next, busy: true });
        }
    }
}
