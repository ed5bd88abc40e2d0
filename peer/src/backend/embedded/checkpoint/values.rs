//! One row's values as a row of ours: types, ranges, words, dates. Refusals name the column, never the value.

use loop_atomjump::dates;
use loop_proto::v1::{self, ForumAccess, MessageStatus};

use super::{super::store::Change, format::Table};

/// A literal.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `NULL`, or a column that was left out.
    #[default]
    Null,
    /// A number as it stands there.
    Number(String),
    /// A string or hexadecimal literal.
    Bytes(Vec<u8>),
}

/// What is wrong with a row.
pub type Reason = String;

/// Makes a row of a table's values, which are in the order of [`Table::columns`]; `None` for a table whose rows nobody
/// keeps.
pub fn row(table: Table, values: &mut [Value]) -> Result<Option<Change>, Reason> {
    let mut row = Values { names: table.columns(), values };
    let change = match table {
        Table::Forum => row.forum().map(Change::Forum),
        Table::Subscription => row.subscription().map(Change::Subscription),
        Table::User => row.user().map(Change::User),
        Table::Session => return Ok(None),
        Table::Message => row.message().map(Change::Message),
    };
    change.map(Some)
}

struct Values<'a> {
    names: &'static [&'static str],
    values: &'a mut [Value],
}

impl Values<'_> {
    fn forum(&mut self) -> Result<v1::ForumStored, Reason> {
        let words = [
            ("public", ForumAccess::Public),
            ("public-admin-write-only", ForumAccess::PublicAdminWriteOnly),
            ("private", ForumAccess::Private),
        ];
        Ok(v1::ForumStored {
            id: self.id("int_layer_id")?,
            access: self.word("enm_access", &words)?.into(),
            passcode: self.text("passcode")?,
            group_user_id: self.number("int_group_id")?,
            password_hash: self.optional("var_public_code")?,
            owner_since_s: self.date("date_owner_start")?.unwrap_or(0),
            subscribers_limit: self.optional("var_subscribers_limit")?,
            title: self.text("var_title")?,
            decays_at_s: self.date("date_to_decay")?,
        })
    }

    fn subscription(&mut self) -> Result<v1::SubscriptionStored, Reason> {
        // Numbered by whoever loads it: nobody refers to that.
        self.number("int_layer_sub_id")?;
        Ok(v1::SubscriptionStored {
            forum_id: self.id("int_layer_id")?,
            user_id: self.id("int_user_id")?,
            active: self.word("enm_active", &[("inactive", false), ("active", true)])?,
            sms: self.word("enm_sms", &[("none", false), ("send", true)])?,
        })
    }

    fn user(&mut self) -> Result<v1::UserStored, Reason> {
        Ok(v1::UserStored {
            id: self.id("int_user_id")?,
            last_ip: self.text("var_last_ip")?,
            email: self.optional("var_email")?,
            phone: self.text("var_phone")?,
            alerts: self.word("enm_alerts", &[("on", true), ("off", false)])?,
            balance: self.text("dec_balance")?,
            confirm_code: self.text("var_confirmcode")?,
            created_at_s: self.date("date_created")?.unwrap_or(0),
            updated_at_s: self.date("date_updated")?.unwrap_or(0),
            confirmed: self.word("enm_confirmed", &[("unconfirmed", false), ("confirmed", true)])?,
            password_hash: self.optional("var_pass")?,
        })
    }

    fn message(&mut self) -> Result<v1::MessageStored, Reason> {
        let words = [("final", MessageStatus::Final), ("typing", MessageStatus::Typing)];
        Ok(v1::MessageStored {
            id: self.id("int_ssshout_id")?,
            forum_id: self.id("int_layer_id")?,
            text: self.text("var_shouted")?,
            html: self.text("var_shouted_processed")?,
            shouted_at_s: self.date("date_when_shouted")?.unwrap_or(0),
            active: self.word("enm_active", &[("true", true), ("false", false)])?,
            status: self.word("enm_status", &words)?.into(),
            author_address: self.text("var_ip")?,
            author_id: self.number("int_author_id")?,
            author_name: self.text("var_username")?,
            whisper_to_address: self.text("var_whisper_to")?,
            whisper_to_id: self.number("int_whisper_to_id")?,
            latitude: self.text("dec_latitude")?,
            longitude: self.text("dec_longitude")?,
            peano1: self.number("int_peano1")?.unwrap_or(0),
            peano2: self.number("int_peano2")?.unwrap_or(0),
            peano1inv: self.number("int_peano1inv")?.unwrap_or(0),
            peano2inv: self.number("int_peano2inv")?.unwrap_or(0),
            sentiment: self.float("flt_sentiment")?,
        })
    }

    fn take(&mut self, name: &'static str) -> Value {
        let place = self.names.iter().position(|known| *known == name);
        place.and_then(|place| self.values.get_mut(place)).map(std::mem::take).unwrap_or_default()
    }

    /// An id rows go by.
    fn id(&mut self, name: &'static str) -> Result<u32, Reason> {
        match self.number(name)? {
            Some(id) if id > 0 => Ok(id),
            _ => Err(format!("{name} is no id: they go from 1 to {}", u32::MAX)),
        }
    }

    fn number(&mut self, name: &'static str) -> Result<Option<u32>, Reason> {
        let text = match self.take(name) {
            Value::Null => return Ok(None),
            Value::Number(text) => text,
            Value::Bytes(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        };
        let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_plain);
        number.map(Some).ok_or_else(|| format!("{name} is no whole number from 0 to {}", u32::MAX))
    }

    fn float(&mut self, name: &'static str) -> Result<Option<f32>, Reason> {
        let text = match self.take(name) {
            Value::Null => return Ok(None),
            Value::Number(text) => text,
            Value::Bytes(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        };
        let number = text.parse().ok().filter(|number: &f32| !number.is_nan());
        number.map(Some).ok_or_else(|| format!("{name} is no number"))
    }

    fn optional(&mut self, name: &'static str) -> Result<Option<String>, Reason> {
        match self.take(name) {
            Value::Null => Ok(None),
            Value::Number(text) => Ok(Some(text)),
            Value::Bytes(bytes) => {
                String::from_utf8(bytes).map(Some).map_err(|_| format!("{name} is not valid UTF-8"))
            }
        }
    }

    fn text(&mut self, name: &'static str) -> Result<String, Reason> {
        self.optional(name).map(Option::unwrap_or_default)
    }

    /// AtomJump's older databases have a date of nought where there is none.
    fn date(&mut self, name: &'static str) -> Result<Option<u64>, Reason> {
        match self.optional(name)?.as_deref() {
            None | Some("0000-00-00 00:00:00") => Ok(None),
            Some(text) => match dates::parse_sql(text) {
                Some(unix_s) => Ok(Some(unix_s)),
                None => Err(format!("{name} is no date like 2026-11-21 03:49:23, from 1970 on")),
            },
        }
    }

    /// One of the column's words; the first where there is none.
    fn word<T: Copy>(&mut self, name: &'static str, words: &[(&'static str, T)]) -> Result<T, Reason> {
        let Some(text) = self.optional(name)? else { return Ok(words[0].1) };
        let known = words.iter().find(|(word, _)| *word == text);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("{name} is none of: {}", words.join(", "))
        })
    }
}
