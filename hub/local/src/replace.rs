//! A new hub in the place of one that cannot come back: under a new number, on the same ports, with an empty folder.
//!
//! The old one is taken out of the group first, then the folder's layout says so, then the new one joins: whatever
//! interrupts this, the next run finds a state it can go on from.

use std::time::Duration;

use loop_admin::{Admin, AdminError};
use tokio::time::{Instant, sleep};

use super::{
    LocalCluster, LocalError, Trouble, Who, cluster::ASK_EVERY, launch::Launch, ready, trouble::majority,
};

/// How long taking the old one out is tried: the lead may have to move.
const OUT_WITHIN: Duration = Duration::from_secs(20);
/// How long one answer may take.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// How long the new one may take to copy everything.
const IN_WITHIN: Duration = Duration::from_secs(120);

impl LocalCluster {
    /// The place of the hub with this number, if it can be replaced at all.
    pub(super) fn replaceable(&self, id: u64) -> Result<usize, LocalError> {
        let no = |why: String| LocalError::Replace { id, why };
        let at = self.layout.place(id).ok_or_else(|| {
            let all: Vec<String> = (0..self.hubs.len()).map(|at| self.layout.id(at).to_string()).collect();
            no(format!("there is none; this folder's hubs are {}", all.join(", ")))
        })?;
        if self.hubs.len() == 1 {
            return Err(no("it is the only one, and a new hub gets everything from the others".into()));
        }
        Ok(at)
    }

    /// Replaces the hub at this place, which does not run, now that the others do. Whatever goes wrong is told.
    pub(super) async fn replace_now(
        &mut self,
        at: usize,
        launch: &mut Launch,
        deadline: Instant,
    ) -> Result<(), LocalError> {
        let (id, who) = (self.layout.id(at), Who::Hub(at));
        let old_folder = self.data_dir(who);
        let known = match self.take_out(id).await {
            Ok(known) => known,
            Err(why) => {
                let what = format!(
                    "it was to be replaced, and that did not work: {why}. Try again once the others serve"
                );
                launch.troubles.push((who, self.not_running(who, Trouble::Replaced(what))));
                return Ok(());
            }
        };
        let new = self.layout.replace(at, &known);
        self.layout.save(&self.config.data_dir)?;
        self.lost.remove(&at);
        self.hubs[at] = self.hub_process(at);
        if let Err(trouble) = self.try_start(who) {
            launch.troubles.push((who, trouble));
            return Ok(());
        }
        launch.done.push(format!(
            "hub-{id} is out of the group for ever, and hub-{new} takes its place; {} is of no more use",
            old_folder.display()
        ));
        self.await_one(at, launch, deadline.max(Instant::now() + IN_WITHIN)).await;
        Ok(())
    }

    /// Takes a hub out of the group, if it is in it. The numbers the group knows, or why not.
    async fn take_out(&self, id: u64) -> Result<Vec<u64>, String> {
        let others: Vec<usize> = self.in_group().into_iter().filter(|at| self.layout.id(*at) != id).collect();
        let running = others.iter().filter(|at| self.hubs[**at].pid().is_some()).count();
        if running < majority(others.len()) {
            return Err(format!("only {running} of the other hubs can run, which are no majority"));
        }
        let admin = self.admin(ASK_WITHIN).map_err(|error| error.to_string())?;
        let until = Instant::now() + OUT_WITHIN;
        let mut known = Vec::new();
        loop {
            let no = match out(&admin, id, &mut known).await {
                Ok(()) => return Ok(known),
                Err(no) => no,
            };
            let final_no = matches!(no, AdminError::Refused { ref code, .. } if code != "FailedPrecondition");
            if final_no || Instant::now() >= until {
                return Err(no.to_string());
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn await_one(&mut self, at: usize, launch: &mut Launch, deadline: Instant) {
        loop {
            launch.troubles.extend(self.take_ended());
            if self.hubs[at].pid().is_none() {
                return;
            }
            let Err(last) = ready::ask(self.hub_http(at)).await else {
                launch.ready.push(at);
                launch.ready.sort_unstable();
                return;
            };
            if Instant::now() >= deadline {
                return self.tell_not_ready(Who::Hub(at), last, launch);
            }
            sleep(ASK_EVERY).await;
        }
    }
}

/// Ok once the hub is in the group no more. `known`: the numbers of all that ever were seen in it.
async fn out(admin: &Admin, id: u64, known: &mut Vec<u64>) -> Result<(), AdminError> {
    let status = admin.status().await?;
    known.extend(status.hubs.into_iter().filter_map(|hub| hub.node).map(|node| node.node_id));
    if known.is_empty() {
        return Err(AdminError::Unfinished("no hub knows the group yet".into()));
    }
    match admin.remove_hub(id).await {
        // It was taken out before.
        Err(AdminError::NotFound(_)) => Ok(()),
        other => other.map(drop),
    }
}
