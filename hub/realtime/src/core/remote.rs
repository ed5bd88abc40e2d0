//! The users of another hub's gateway, by its word: a whole list, then changes, each on top of the version before it.

use std::{collections::BTreeMap, time::Duration};

use loop_proto::v1;

use super::name::UserName;

/// Most users of one gateway that are taken note of.
pub const USERS_MAX: usize = 1_000_000;

/// What was heard of one other hub.
#[derive(Debug, Default)]
pub struct Remote {
    /// Which life of that gateway it is.
    boot: u64,
    version: u64,
    users: BTreeMap<UserName, u32>,
    /// A whole list of which some parts are here.
    staged: Option<Staged>,
    /// Since when there is no link to it.
    pub lost_at: Option<Duration>,
}

#[derive(Debug)]
struct Staged {
    boot: u64,
    version: u64,
    users: BTreeMap<UserName, u32>,
}

/// What became of what was heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// It fits.
    Known {
        /// Users that were not there before.
        came: Vec<UserName>,
        /// Users that are not there any more.
        went: Vec<UserName>,
        /// Whether any user has another number of connections.
        counts: bool,
    },
    /// The list goes on.
    More,
    /// Something was missed: the whole list is needed.
    Missed,
}

impl Remote {
    /// The users there.
    pub fn names(&self) -> impl Iterator<Item = &UserName> {
        self.users.keys()
    }

    /// Connections a user has there.
    pub fn connections(&self, name: &UserName) -> u32 {
        self.users.get(name).copied().unwrap_or(0)
    }

    /// That gateway has said something.
    pub fn hear(&mut self, news: v1::RealtimeUsers) -> Heard {
        if news.whole {
            self.staged = Some(Staged { boot: news.boot, version: news.to_version, users: BTreeMap::new() });
        }
        match self.staged.take() {
            Some(staged) if (staged.boot, staged.version) == (news.boot, news.to_version) => {
                self.hear_part(staged, news)
            }
            _ => self.hear_changes(news),
        }
    }

    fn hear_part(&mut self, mut staged: Staged, news: v1::RealtimeUsers) -> Heard {
        for user in news.users {
            put(&mut staged.users, user);
        }
        if news.more {
            self.staged = Some(staged);
            return Heard::More;
        }
        (self.boot, self.version, self.lost_at) = (staged.boot, staged.version, None);
        let before = std::mem::replace(&mut self.users, staged.users);
        let missing = |these: &BTreeMap<UserName, u32>, those: &BTreeMap<UserName, u32>| {
            these.keys().filter(|name| !those.contains_key(*name)).cloned().collect()
        };
        Heard::Known {
            came: missing(&self.users, &before),
            went: missing(&before, &self.users),
            counts: self.users != before,
        }
    }

    fn hear_changes(&mut self, news: v1::RealtimeUsers) -> Heard {
        if (news.boot, news.from_version) != (self.boot, self.version) || self.boot == 0 {
            return Heard::Missed;
        }
        (self.version, self.lost_at) = (news.to_version, None);
        let (mut came, mut went, mut counts) = (Vec::new(), Vec::new(), false);
        for user in news.users {
            let Some((name, before, after)) = put(&mut self.users, user) else { continue };
            counts |= before != after;
            match (before, after) {
                (0, 1..) => came.push(name),
                (1.., 0) => went.push(name),
                _ => {}
            }
        }
        Heard::Known { came, went, counts }
    }
}

/// Sets a user's connections; the numbers before and after, if this is a user and there is room.
fn put(users: &mut BTreeMap<UserName, u32>, user: v1::RealtimeUser) -> Option<(UserName, u32, u32)> {
    let name = UserName::new(&user.name)?;
    let before = users.get(&name).copied().unwrap_or(0);
    if user.connections == 0 {
        users.remove(&name);
    } else if before > 0 || users.len() < USERS_MAX {
        users.insert(name.clone(), user.connections);
    } else {
        return None;
    }
    Some((name, before, user.connections))
}
