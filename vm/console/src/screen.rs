//! The terminal: keys in, frames out, and what follows from either. Never knows how anything is found out.

use std::{
    io::{self, Write},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};

use super::{
    frame::{self, Asked},
    line::{Line, Typed},
    machine::Machine,
    stage::Stage,
};

/// How often the machine is looked at while somebody waits for it to join.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// And when it has joined: a look costs some processes, and nobody may be there.
const LOOK_SELDOM: Duration = Duration::from_secs(15);

/// A terminal that hands over each key at once, as it was before when this is dropped.
struct Terminal {
    before: Termios,
}

impl Terminal {
    fn take() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Flush, &raw)?;
        Ok(Self { before })
    }

    /// What was typed within this time; `None`: the terminal is gone.
    fn keys(&self, within: Duration) -> io::Result<Option<Vec<u8>>> {
        let stdin = io::stdin();
        let within = Timespec { tv_sec: within.as_secs().try_into().unwrap_or(2), tv_nsec: 0 };
        if poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&within))? == 0 {
            return Ok(Some(Vec::new()));
        }
        let mut bytes = [0; 1024];
        let count = rustix::io::read(&stdin, &mut bytes)?;
        Ok((count > 0).then(|| bytes[..count].to_vec()))
    }

    fn show(&self, lines: &[String]) -> io::Result<()> {
        // No cursor: the line that is typed ends with one of its own. Each line is cleared to its end, then what is below: no
        // flicker, nothing left of before.
        let mut frame = String::from("\x1b[?25l\x1b[H");
        for line in lines {
            frame.push_str(line);
            frame.push_str("\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        let mut out = io::stdout().lock();
        out.write_all(frame.as_bytes())?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Runs until the terminal is gone.
pub fn run(machine: &Machine) -> anyhow::Result<()> {
    let terminal = Terminal::take()?;
    let mut screen = Screen { machine, line: Line::default(), wrong: None };
    let mut shown = Vec::new();
    loop {
        let (stage, seen) = screen.look();
        let said = screen.wrong.clone().or_else(|| machine.said());
        let lines = frame::lines(&seen, &stage, Asked { line: screen.line.text(), wrong: said.as_deref() });
        if lines != shown {
            terminal.show(&lines)?;
            shown = lines;
        }
        let within = if matches!(stage, Stage::Member { .. }) { LOOK_SELDOM } else { LOOK_EVERY };
        match terminal.keys(within)? {
            None => return Ok(()),
            Some(keys) if keys.is_empty() => {}
            Some(keys) => {
                screen.take(&stage, &keys);
                // Somebody who has just come to a serial line sees nothing until all of it is sent again.
                shown.clear();
            }
        }
    }
}

struct Screen<'a> {
    machine: &'a Machine,
    line: Line,
    wrong: Option<String>,
}

impl Screen<'_> {
    fn look(&mut self) -> (Stage, frame::Seen) {
        let (stage, seen) = self.machine.look();
        let Stage::Refused { why } = &stage else { return (stage, seen) };
        if let Err(wrong) = self.machine.start_over(why) {
            self.wrong = Some(wrong);
        }
        (Stage::Unknown, seen)
    }

    fn take(&mut self, stage: &Stage, keys: &[u8]) {
        match stage {
            Stage::Unknown | Stage::Refused { .. } => {
                if let Typed::Done(text) = self.line.push(keys) {
                    self.join(&text);
                }
            }
            Stage::Joining { .. } if keys.contains(&b'n') => {
                self.wrong = self.machine.start_over("").err();
            }
            Stage::Joining { .. } | Stage::Member { .. } => {}
        }
    }

    /// What is wrong stays, to be mended.
    fn join(&mut self, text: &str) {
        let joined = text.parse().map_err(|wrong: super::join::NotAJoin| wrong.to_string());
        match joined.and_then(|join| self.machine.join(join)) {
            Ok(()) => self.wrong = None,
            Err(wrong) => {
                self.wrong = Some(wrong);
                self.line.set(text);
            }
        }
    }
}
