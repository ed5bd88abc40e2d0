//! Where a hostile peer tries: real hubs and honest peers, forums that it is to harm, and what must be as before.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use loop_atomjump::Rule;
use loop_local::Who;
use loop_proto::v1::PeerInfo;
use serde_json::Value;

use super::{Attempt, Event, HostilePeer, PLANTED, Victim};
use crate::{
    churn::metric,
    client::{Commit, Visitor, rows, sid},
    expect::{ensure as holds, eventually, unique},
    hubctl::{ask, done},
    system::System,
    world::liar::SCRIPT,
};

/// How long what must come may take.
const WITHIN: Duration = Duration::from_secs(20);
/// How long a writer waits whose forum's primary is hostile: until another peer has its place, and a machine is busy.
const WRITTEN_WITHIN: Duration = Duration::from_secs(15);

/// Messages asked for: more than there are.
const RECORDS: u32 = 400;

/// Counts of the hubs that say what they refused.
pub const BREACHES: &str = "loop_peer_breaches_total";
/// Answers that were not taken.
pub const REFUSED: &str = "loop_answers_refused_total";
/// Rows that were not taken.
pub const ROWS_REFUSED: &str = "loop_rows_not_taken_total";

/// A forum of honest peers, and what it held before.
struct Harmless {
    reader: Visitor,
    id: u32,
    shown: Vec<(u64, String)>,
    digest: Vec<u8>,
}

/// A system under attack.
pub struct Stage {
    /// Hubs and honest peers.
    pub system: System,
    forums: Vec<Harmless>,
    turn: usize,
}

/// A forum whose primary the hostile peer is, or was.
pub struct Attacked {
    /// Somebody who writes and reads there.
    pub visitor: Visitor,
    /// What was written.
    pub written: Vec<(u64, String)>,
}

impl Stage {
    /// Three hubs and three honest peers, each the primary of a forum with messages.
    pub async fn set() -> Result<Self> {
        // What a hostile peer holds stays its own until it loses it: nothing moves but by what it does.
        let balance = ["--balance", "false"].map(str::to_owned);
        let system = System::start_with(|config| config.hub_args.extend(balance)).await?;
        let mut stage = Self { system, forums: Vec::new(), turn: 0 };
        for at in 0..3 {
            let name = unique("ajps_victim_");
            let reader = Visitor::arrive(&stage.hub(at), &name).await?;
            for number in 1..=3 {
                reader.commit(&stage.hub(at), &Commit::new(number, "what an honest user wrote")).await?;
            }
            let shown = reader.messages(&stage.hub(at), 25).await?;
            ensure!(shown.len() == 3, "the forum shows {shown:?}");
            let id = stage.system.forum(&name).await?.forum_id;
            let digest = stage.digest(id, true).await?;
            stage.forums.push(Harmless { reader, id, shown, digest });
        }
        Ok(stage)
    }

    fn hub(&self, at: usize) -> String {
        self.system.hub(at % 3)
    }

    /// Whom hostile peers are to harm.
    pub fn victim(&self) -> Result<Victim> {
        let forum = self.forums.first().context("no forum")?;
        let (message, _) = forum.shown.first().context("no message")?;
        // The first user there ever is: an honest writer's, whichever.
        Ok(Victim { forum: forum.id, message: u32::try_from(*message)?, user: 414 })
    }

    /// The next hostile peer, through the next hub, with credentials of its own.
    pub async fn enter(&mut self, attempt: Attempt) -> Result<HostilePeer> {
        self.turn += 1;
        HostilePeer::arrive(&self.system, self.turn % 3, attempt, self.victim()?).await
    }

    /// The sum of a metric over all hubs.
    pub async fn count(&self, name: &str) -> Result<u64> {
        let mut sum = 0.0;
        for hub in self.system.hubs() {
            sum += metric(&hub, name).await?;
        }
        Ok(sum as u64)
    }

    /// Entries of the hubs' log so far.
    pub async fn entries(&self) -> Result<u64> {
        Ok(self.system.admin()?.status().await?.applied_index)
    }

    /// Waits until its hub has read everything that it has said: a position it tells after that is known.
    pub async fn settled(&self, hostile: &HostilePeer) -> Result<()> {
        let newest = self.system.admin()?.status().await?.newest_task;
        eventually("heard to the end", WITHIN, || async {
            let this = self.listed(hostile).await.map_err(|error| error.to_string())?;
            holds(this.as_ref().is_some_and(|peer| peer.cursor >= newest), || format!("{this:?}"))
        })
        .await;
        Ok(())
    }

    /// The peer as operators are shown it.
    async fn listed(&self, hostile: &HostilePeer) -> Result<Option<PeerInfo>> {
        let peers = self.system.admin()?.peers().await?;
        Ok(peers.into_iter().find(|peer| peer.peer_id == hostile.peer))
    }

    /// Gives it a forum of its own as any peer gets one, by being the least loaded, and has somebody write there: it is
    /// told that the message is stored, whatever the peer does.
    pub async fn lure(&mut self, hostile: &HostilePeer) -> Result<Attacked> {
        eventually("counted on", WITHIN, || async {
            let this = self.listed(hostile).await.map_err(|error| error.to_string())?;
            let counts = this.as_ref().is_some_and(|peer| peer.proven && peer.connected_to.is_some());
            holds(counts, || format!("{this:?}"))
        })
        .await;
        let visitor = Visitor::arrive(&self.hub(self.turn + 1), &unique("ajps_lure_")).await?;
        let mut attacked = Attacked { visitor: visitor.patient_for(WRITTEN_WITHIN), written: Vec::new() };
        self.write(&mut attacked).await?;
        Ok(attacked)
    }

    /// Writes one more message there.
    pub async fn write(&self, attacked: &mut Attacked) -> Result<()> {
        let number = attacked.written.len() as u64 + 1;
        let text = format!("message {number} of an honest visitor");
        let answer = attacked.visitor.commit(&self.hub(self.turn + 1), &Commit::new(number, &text)).await?;
        attacked.written.push((sid(&answer).context("no sid")?, text));
        Ok(())
    }

    /// It was refused: counted, suspended, and shown to operators with its owner and the rule it broke.
    pub async fn assert_suspended(&self, hostile: &mut HostilePeer, rule: Rule, before: u64) -> Result<()> {
        let what = hostile.attempt;
        let (code, why) = hostile.finish().await?;
        ensure!(
            code == "PermissionDenied" && why.contains("suspended"),
            "{what} comes again and hears {code}: {why}"
        );
        let after = self.count(BREACHES).await?;
        ensure!(after > before, "{what} is not counted: {BREACHES} {before} before, {after} after");
        let peers = done(&self.system, self.turn % 3, "peers").await?;
        let row = peer_of(&peers, hostile.peer)?;
        let told = format!("an answer with {rule}");
        let expected = (Some(hostile.owner.as_str()), Some(1), Some(told.as_str()), true);
        let shown = (
            row["owner"].as_str(),
            row["breaches"].as_u64(),
            row["breach"].as_str(),
            row["suspended_ms"].as_u64().is_some_and(|ms| ms > 0),
        );
        ensure!(shown == expected, "{what}: hubctl peers --json shows {row}");
        let table = ask(&self.system, (self.turn + 1) % 3, "peers").await?.out;
        let line = format!(
            "p{} {} of {} was suspended once, last for {told}",
            hostile.peer, hostile.name, hostile.owner
        );
        ensure!(table.contains(&line), "{what}: hubctl peers does not say {line:?}:\n{table}");
        Ok(())
    }

    /// Browsers are shown on every hub what was written there, and of the forums it was to harm what they were shown before.
    pub async fn assert_all_shown(&self, attacked: &Attacked) -> Result<()> {
        for at in 0..3 {
            self.assert_shown(at, attacked).await?;
            for forum in &self.forums {
                let shown = forum.reader.messages(&self.hub(at), 25).await?;
                ensure!(shown == forum.shown, "h{} shows {shown:?}, and showed {:?}", at + 1, forum.shown);
            }
        }
        Ok(())
    }

    /// Browsers are shown on hub `at` what was written there, and nothing else.
    pub async fn assert_shown(&self, at: usize, attacked: &Attacked) -> Result<()> {
        let hub = self.hub(at);
        let answer = attacked.visitor.read(&hub, RECORDS).await?;
        let shown = rows(&answer).context("an answer without rows")?;
        let written = attacked.written.iter().rev();
        let same = shown.len() == attacked.written.len()
            && shown.iter().zip(written).all(|((id, html), (own, text))| id == own && html.ends_with(text));
        ensure!(same, "{hub} shows {shown:?} where {:?} was written", attacked.written);
        let answer = answer.to_string();
        for harm in [SCRIPT, PLANTED, "alert(", "administrator"] {
            ensure!(!answer.contains(harm), "{hub} shows {harm:?}: {answer}");
        }
        Ok(())
    }

    /// Honest replicas agree on each of these forums, and those that were to be harmed are what they were, byte for byte.
    pub async fn assert_unharmed(&self, attacked: &[Attacked]) -> Result<()> {
        let agreed = attacked.iter().map(|attacked| async {
            let forum = self.system.forum(attacked.visitor.forum()).await?.forum_id;
            self.digest(forum, false).await
        });
        try_join_all(agreed).await?;
        for forum in &self.forums {
            ensure!(
                self.digest(forum.id, true).await? == forum.digest,
                "the rows of f{} have changed",
                forum.id
            );
            let said = ask(&self.system, 0, &format!("verify {}", forum.id)).await?;
            ensure!(said.code == Some(0), "hubctl verify: {said:?}");
        }
        Ok(())
    }

    /// Restarts a hub, which forgets the windows it had.
    pub async fn restart_hub(&mut self, at: usize) -> Result<()> {
        self.system.cluster.restart(Who::Hub(at)).await?;
        Ok(self.system.cluster.wait_ready().await?)
    }

    /// The digest on which its replicas agree; `all`: each of them must be there, else two.
    async fn digest(&self, forum: u32, all: bool) -> Result<Vec<u8>> {
        let reply = self.system.admin()?.verify_forum(forum).await?;
        let there = reply.replicas.iter().filter(|replica| all || replica.connected);
        let digests: Vec<&[u8]> = there.map(|replica| replica.digest.as_ref()).collect();
        let first = digests.first().context("no replica is there")?;
        let equal = digests.len() >= 2 && first.len() == 32 && digests.iter().all(|digest| digest == first);
        ensure!(equal, "honest replicas of f{forum} differ: {reply:?}");
        Ok(first.to_vec())
    }

    /// A verdict on an answer of its own, by its name in the wire contract.
    pub async fn verdict(&self, hostile: &mut HostilePeer) -> Result<String> {
        hostile
            .until(|event| match event {
                Event::Verdict { code } => Some(code.clone()),
                _ => None,
            })
            .await
    }
}

fn peer_of(peers: &Value, peer: u32) -> Result<&Value> {
    let rows = peers["peers"].as_array().context("no list of peers")?;
    rows.iter().find(|row| row["peer"] == peer).with_context(|| format!("p{peer} is not shown"))
}
