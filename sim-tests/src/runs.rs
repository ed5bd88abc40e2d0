//! Runs of the simulation, each in a process of its own: what tokio counts for a whole process would make a second run
//! in the same one differ.
//!
//! Owns the command line between the one who asks and the one who runs. Never knows what a good outcome is.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    process::{Child, Command, Stdio},
};

use loop_proto::breakage::Breakage;

use crate::world::report::Outcome;

/// One run to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'a> {
    /// The story.
    pub scenario: &'a str,
    /// Its seed.
    pub seed: u64,
    /// What is broken on purpose.
    pub broken: Option<Breakage>,
}

impl Order<'_> {
    /// Runs it with `program`, the simulation, and waits.
    pub fn run(&self, program: &Path) -> io::Result<Outcome> {
        self.finish(self.start(program)?)
    }

    fn start(&self, program: &Path) -> io::Result<Child> {
        let mut command = Command::new(program);
        command.args(["--scenario", self.scenario, "--json", "--seed", &self.seed.to_string()]);
        if let Some(breakage) = self.broken {
            command.args(["--break", breakage.name()]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    fn finish(&self, child: Child) -> io::Result<Outcome> {
        let output = child.wait_with_output()?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            // A panic while another one takes the world apart leaves nobody to tell of it.
            let said = String::from_utf8_lossy(&output.stderr);
            let why =
                said.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or_default();
            let failure = Some(format!("the run's process fell: {}: {why}", output.status));
            Outcome { failure, ..Outcome::of(self.scenario, self.seed, self.broken) }
        }))
    }
}

/// Runs `orders`, `jobs` at once, and shows `see` what came of each, in their order, until it says that this is enough.
/// What is under way then is ended.
pub fn in_order<'a>(
    program: &Path,
    jobs: usize,
    orders: impl IntoIterator<Item = Order<'a>>,
    mut see: impl FnMut(Outcome) -> bool,
) -> io::Result<()> {
    let mut orders = orders.into_iter();
    let mut running: VecDeque<(Order<'a>, Child)> = VecDeque::new();
    loop {
        while running.len() < jobs.max(1)
            && let Some(order) = orders.next()
        {
            running.push_back((order, order.start(program)?));
        }
        let Some((order, child)) = running.pop_front() else { return Ok(()) };
        if !see(order.finish(child)?) {
            break;
        }
    }
    for (_, mut child) in running {
        child.kill()?;
        child.wait()?;
    }
    Ok(())
}
