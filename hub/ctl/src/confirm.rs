//! A yes to what cannot be undone: asked for at a terminal, or given with `--yes`.

use std::io::{Read, Write};

use loop_admin::AdminError;

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 80;

/// What is about to be done.
pub(super) struct Question<'a> {
    /// What it means, in sentences.
    pub means: &'a str,
    /// What has to be typed.
    pub word: &'a str,
    /// Whether somebody sits at a terminal who could be asked.
    pub asks: bool,
}

impl Question<'_> {
    /// Ok once `word` has been typed. Exit code 2 without it, or without anybody to ask.
    pub fn confirm(&self, mut input: impl Read, ask: &mut impl Write) -> Result<(), AdminError> {
        if !self.asks {
            return Err(AdminError::Usage(format!("{} If that is what you want, add --yes", self.means)));
        }
        write!(ask, "{}\nType {} to confirm: ", self.means, self.word)?;
        ask.flush()?;
        if line(&mut input)? == self.word {
            return Ok(());
        }
        Err(AdminError::Usage(format!("that was not {}: nothing was changed", self.word)))
    }
}

/// One line, without what is around it. Byte by byte: what comes after it is not ours.
fn line(input: &mut impl Read) -> Result<String, AdminError> {
    let (mut typed, mut byte) = (Vec::new(), [0]);
    while typed.len() < ANSWER_BYTES_MAX && input.read(&mut byte)? == 1 && byte != *b"\n" {
        typed.extend(byte);
    }
    Ok(String::from_utf8_lossy(&typed).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(asks: bool, answer: &str) -> (Result<(), AdminError>, String) {
        let question = Question { means: "h2 leaves the group for ever.", word: "h2", asks };
        let mut asked = Vec::new();
        let answer = question.confirm(answer.as_bytes(), &mut asked);
        (answer, String::from_utf8(asked).unwrap())
    }

    #[test]
    fn only_the_word_itself_is_a_yes() {
        let (yes, asked) = answered(true, " h2 \nh3\n");
        assert!(yes.is_ok());
        assert_eq!(asked, "h2 leaves the group for ever.\nType h2 to confirm: ");
        for no in ["", "\n", "y\n", "yes\n", "h3\n", "h22\n", &"h".repeat(1000)] {
            let error = answered(true, no).0.unwrap_err();
            assert_eq!(error.exit_code(), 2, "{no:?}");
            assert!(error.to_string().contains("nothing was changed"), "{error}");
        }
    }

    #[test]
    fn where_nobody_can_be_asked_the_flag_is_needed() {
        let (no, asked) = answered(false, "h2\n");
        let no = no.unwrap_err();
        assert!(
            no.exit_code() == 2 && no.to_string().contains("for ever") && no.to_string().contains("--yes")
        );
        assert_eq!(asked, "");
    }
}
