//! What a checkpoint file consists of: the tables and columns, the marks of ours among its comments, the bounds.
//!
//! A checkpoint is SQL that a stock MariaDB loads into AtomJump's own tables. To it our marks are comments.

/// First line of a checkpoint of ours, before its forum and cursor; also begins every other mark.
pub const MARK: &str = "-- loop-checkpoint ";
/// Version of the format, in the first mark.
pub const FORMAT: u32 = 1;
/// How a dump of MariaDB's own tool ends.
pub const DUMP_END: &str = "-- Dump completed";

/// Where a statement ends and the next begins when one is written, bytes. MariaDB takes 16 MiB at once by default.
pub const STATEMENT_BYTES: usize = 256 << 10;
/// Rows of one statement that is written.
pub const STATEMENT_ROWS: usize = 1000;

/// Longest value that is read, bytes once decoded: the facts of one record are no larger.
pub const VALUE_BYTES_MAX: usize = 4 << 20;
/// Longest row that is read, bytes once decoded.
pub const ROW_BYTES_MAX: usize = 8 << 20;
/// Longest comment that is read, bytes.
pub const COMMENT_BYTES_MAX: usize = 64 << 10;
/// Longest name or word that is read, bytes.
pub const WORD_BYTES_MAX: usize = 64;
/// Longest number that is read, bytes.
pub const NUMBER_BYTES_MAX: usize = 64;
/// Words, signs and values of a statement that is skipped.
pub const SKIPPED_TOKENS_MAX: usize = 256;

/// AtomJump's tables as far as a checkpoint has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// `tbl_layer`.
    Forum,
    /// `tbl_layer_subscription`.
    Subscription,
    /// `tbl_user`.
    User,
    /// `php_session`, which dumps have. Peers keep no sessions: its rows are gone over.
    Session,
    /// `tbl_ssshout`.
    Message,
}

impl Table {
    const ALL: [Self; 5] = [Self::Forum, Self::Subscription, Self::User, Self::Session, Self::Message];

    /// The table of this name, if it is one of them.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forum => "tbl_layer",
            Self::Subscription => "tbl_layer_subscription",
            Self::User => "tbl_user",
            Self::Session => "php_session",
            Self::Message => "tbl_ssshout",
        }
    }

    /// Its columns in the order of AtomJump's own schema, which a dump without names is in.
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Forum => &[
                "int_layer_id",
                "enm_access",
                "passcode",
                "int_group_id",
                "var_public_code",
                "date_owner_start",
                "var_subscribers_limit",
                "var_title",
                "date_to_decay",
            ],
            Self::Subscription => {
                &["int_layer_sub_id", "int_layer_id", "int_user_id", "enm_active", "enm_sms"]
            }
            Self::User => &[
                "int_user_id",
                "var_last_ip",
                "var_email",
                "enm_alerts",
                "var_phone",
                "dec_balance",
                "var_confirmcode",
                "date_created",
                "date_updated",
                "enm_confirmed",
                "var_pass",
            ],
            Self::Session => &["session_id", "user_id", "date_created", "last_updated", "session_data"],
            Self::Message => &[
                "int_ssshout_id",
                "var_shouted",
                "dec_latitude",
                "dec_longitude",
                "date_when_shouted",
                "int_peano1",
                "int_peano2",
                "int_peano1inv",
                "int_peano2inv",
                "int_layer_id",
                "enm_active",
                "var_whisper_to",
                "var_ip",
                "int_whisper_to_id",
                "int_author_id",
                "enm_status",
                "var_shouted_processed",
                "flt_sentiment",
                "var_username",
            ],
        }
    }
}
