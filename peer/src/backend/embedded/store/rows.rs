//! Rows to and from SQL. The only place where a column's name meets a field's.

use loop_atomjump::Rows;
use loop_proto::v1::{self, ForumAccess, MessageStatus};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::change::Change;

const MESSAGE_COLUMNS: &str = "int_ssshout_id, int_layer_id, var_shouted, var_shouted_processed, date_when_shouted, \
     enm_active, enm_status, var_ip, int_author_id, var_username, var_whisper_to, int_whisper_to_id, dec_latitude, \
     dec_longitude, int_peano1, int_peano2, int_peano1inv, int_peano2inv, flt_sentiment";

const USER_COLUMNS: &str = "int_user_id, var_last_ip, var_email, enm_alerts, var_phone, dec_balance, var_confirmcode, \
     date_created, date_updated, enm_confirmed, var_pass";

const FORUM_COLUMNS: &str = "int_layer_id, enm_access, passcode, int_group_id, var_public_code, date_owner_start, \
     var_subscribers_limit, var_title, date_to_decay";

pub fn cursor(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT value FROM meta WHERE name = 'cursor'", [], |row| unsigned(row, 0))
}

pub fn set_cursor(connection: &Connection, through: u64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'cursor'")?;
    statement.execute([signed(through)]).map(drop)
}

pub fn load_forum(connection: &Connection, forum: u32, messages: usize) -> rusqlite::Result<Rows> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {MESSAGE_COLUMNS} FROM tbl_ssshout WHERE int_layer_id = ?1 \
         ORDER BY date_when_shouted DESC, int_ssshout_id DESC LIMIT ?2"
    ))?;
    let limit = i64::try_from(messages).unwrap_or(i64::MAX).saturating_add(1);
    let mut newest =
        statement.query_map(params![forum, limit], read_message)?.collect::<Result<Vec<_>, _>>()?;
    let is_complete = newest.len() <= messages;
    newest.truncate(messages);
    let subscriptions = subscriptions(connection, forum)?;
    Ok(Rows { forum: self::forum(connection, forum)?, subscriptions, messages: newest, is_complete })
}

/// A forum's row.
pub fn forum(connection: &Connection, forum: u32) -> rusqlite::Result<Option<v1::ForumStored>> {
    let sql = format!("SELECT {FORUM_COLUMNS} FROM tbl_layer WHERE int_layer_id = ?1");
    connection.prepare_cached(&sql)?.query_row([forum], read_forum).optional()
}

/// A forum's subscriptions, by user.
pub fn subscriptions(connection: &Connection, forum: u32) -> rusqlite::Result<Vec<v1::SubscriptionStored>> {
    let mut statement = connection.prepare_cached(
        "SELECT int_layer_id, int_user_id, enm_active, enm_sms FROM tbl_layer_subscription WHERE int_layer_id = ?1 \
         ORDER BY int_user_id",
    )?;
    statement.query_map([forum], read_subscription)?.collect()
}

pub fn message(connection: &Connection, forum: u32, id: u32) -> rusqlite::Result<Option<v1::MessageStored>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {MESSAGE_COLUMNS} FROM tbl_ssshout WHERE int_ssshout_id = ?1 AND int_layer_id = ?2"
    ))?;
    statement.query_row([id, forum], read_message).optional()
}

/// The forum a message of this id is in.
pub fn forum_of_message(connection: &Connection, id: u32) -> rusqlite::Result<Option<u32>> {
    let sql = "SELECT int_layer_id FROM tbl_ssshout WHERE int_ssshout_id = ?1";
    connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()
}

/// Shows a forum's active messages below a time and an id, newest first, at most `limit`, while `visit` says so.
pub fn older(
    connection: &Connection,
    (forum, before): (u32, (u64, u32)),
    limit: usize,
    visit: &mut dyn FnMut(v1::MessageStored) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {MESSAGE_COLUMNS} FROM tbl_ssshout WHERE int_layer_id = ?1 AND enm_active = 'true' \
         AND (date_when_shouted, int_ssshout_id) < (?2, ?3) \
         ORDER BY date_when_shouted DESC, int_ssshout_id DESC LIMIT ?4"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found = statement.query(params![forum, signed(before.0), before.1, limit])?;
    while let Some(row) = found.next()? {
        if !visit(read_message(row)?) {
            break;
        }
    }
    Ok(())
}

pub fn names_before(
    connection: &Connection,
    forum: u32,
    before: (u64, u32),
) -> rusqlite::Result<Vec<(String, Option<u32>, u32)>> {
    let mut statement = connection.prepare_cached(
        "SELECT var_username, int_author_id, MIN(int_ssshout_id) FROM tbl_ssshout WHERE int_layer_id = ?1 \
         AND enm_active = 'true' AND (date_when_shouted, int_ssshout_id) < (?2, ?3) \
         GROUP BY var_username, int_author_id",
    )?;
    let rows = statement.query_map(params![forum, signed(before.0), before.1], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    rows.collect()
}

pub fn user(connection: &Connection, id: u32) -> rusqlite::Result<Option<v1::UserStored>> {
    let sql = format!("SELECT {USER_COLUMNS} FROM tbl_user WHERE int_user_id = ?1");
    connection.prepare_cached(&sql)?.query_row([id], read_user).optional()
}

/// Writes one row, whatever was there of its forum. Ids are unique over all forums, so a row of another one is never what
/// a message replaces or removes: every statement names both. What is no row is left alone.
pub fn write(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Message(message) => {
            remove_message(connection, message.id, message.forum_id)?;
            if insert_message(connection, "INSERT OR IGNORE", message)? == 0 {
                tracing::warn!(forum = message.forum_id, "ignored a message whose id is another forum's");
            }
            Ok(())
        }
        Change::MessageRemoved(id, forum) => remove_message(connection, *id, *forum),
        Change::MessageHidden(hidden) => {
            let sql = "UPDATE tbl_ssshout SET enm_active = 'false', \
                       enm_status = CASE WHEN ?3 THEN 'final' ELSE enm_status END \
                       WHERE int_ssshout_id = ?1 AND int_layer_id = ?2";
            let values = params![hidden.id, hidden.forum_id, hidden.finished];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        }
        Change::NewUser(user) => insert_user(connection, "INSERT OR IGNORE", user).map(drop),
        row => insert(connection, "INSERT OR REPLACE", row).map(drop),
    }
}

/// Writes one row unless one of its key is there. Whether it was written.
pub fn add(connection: &Connection, row: &Change) -> rusqlite::Result<bool> {
    insert(connection, "INSERT OR IGNORE", row).map(|written| written > 0)
}

fn remove_message(connection: &Connection, id: u32, forum: u32) -> rusqlite::Result<()> {
    let sql = "DELETE FROM tbl_ssshout WHERE int_ssshout_id = ?1 AND int_layer_id = ?2";
    connection.prepare_cached(sql)?.execute([id, forum]).map(drop)
}

fn insert(connection: &Connection, verb: &str, row: &Change) -> rusqlite::Result<usize> {
    match row {
        Change::Message(message) => insert_message(connection, verb, message),
        Change::User(user) | Change::NewUser(user) => insert_user(connection, verb, user),
        Change::Forum(forum) => insert_forum(connection, verb, forum),
        Change::Subscription(subscription) => {
            let sql = format!(
                "{verb} INTO tbl_layer_subscription (int_layer_id, int_user_id, enm_active, enm_sms) \
                 VALUES (?1, ?2, ?3, ?4)"
            );
            let active = if subscription.active { "active" } else { "inactive" };
            let sms = if subscription.sms { "send" } else { "none" };
            let values = params![subscription.forum_id, subscription.user_id, active, sms];
            connection.prepare_cached(&sql)?.execute(values)
        }
        Change::MessageRemoved(..)
        | Change::MessageHidden(_)
        | Change::Staged { .. }
        | Change::BeginJoining { .. }
        | Change::EndJoining(_)
        | Change::EndAllJoining
        | Change::DropForum(_)
        | Change::DropEmptyForum(_)
        | Change::KeepForum(_) => Ok(0),
    }
}

fn insert_message(
    connection: &Connection,
    verb: &str,
    message: &v1::MessageStored,
) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(&format!(
        "{verb} INTO tbl_ssshout ({MESSAGE_COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)"
    ))?;
    let status = if message.status() == MessageStatus::Typing { "typing" } else { "final" };
    let values = params![
        message.id,
        message.forum_id,
        message.text,
        message.html,
        signed(message.shouted_at_s),
        if message.active { "true" } else { "false" },
        status,
        message.author_address,
        message.author_id,
        message.author_name,
        message.whisper_to_address,
        message.whisper_to_id,
        message.latitude,
        message.longitude,
        message.peano1,
        message.peano2,
        message.peano1inv,
        message.peano2inv,
        message.sentiment,
    ];
    statement.execute(values)
}

fn insert_user(connection: &Connection, verb: &str, user: &v1::UserStored) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(&format!(
        "{verb} INTO tbl_user ({USER_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
    ))?;
    let values = params![
        user.id,
        user.last_ip,
        user.email,
        if user.alerts { "on" } else { "off" },
        user.phone,
        user.balance,
        user.confirm_code,
        signed(user.created_at_s),
        signed(user.updated_at_s),
        if user.confirmed { "confirmed" } else { "unconfirmed" },
        user.password_hash,
    ];
    statement.execute(values)
}

/// Who may do what in a forum, as the column `enm_access` has it.
pub fn access_word(access: ForumAccess) -> &'static str {
    match access {
        ForumAccess::PublicAdminWriteOnly => "public-admin-write-only",
        ForumAccess::Private => "private",
        ForumAccess::Public | ForumAccess::Unspecified => "public",
    }
}

fn insert_forum(connection: &Connection, verb: &str, forum: &v1::ForumStored) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(&format!(
        "{verb} INTO tbl_layer ({FORUM_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    ))?;
    let values = params![
        forum.id,
        access_word(forum.access()),
        forum.passcode,
        forum.group_user_id,
        forum.password_hash,
        signed(forum.owner_since_s),
        forum.subscribers_limit,
        forum.title,
        forum.decays_at_s.map(signed),
    ];
    statement.execute(values)
}

fn read_message(row: &Row<'_>) -> rusqlite::Result<v1::MessageStored> {
    let is_typing = row.get_ref(6)?.as_str()? == "typing";
    Ok(v1::MessageStored {
        id: row.get(0)?,
        forum_id: row.get(1)?,
        text: row.get(2)?,
        html: row.get(3)?,
        shouted_at_s: unsigned(row, 4)?,
        active: row.get_ref(5)?.as_str()? == "true",
        status: if is_typing { MessageStatus::Typing } else { MessageStatus::Final }.into(),
        author_address: row.get(7)?,
        author_id: row.get(8)?,
        author_name: row.get(9)?,
        whisper_to_address: row.get(10)?,
        whisper_to_id: row.get(11)?,
        latitude: row.get(12)?,
        longitude: row.get(13)?,
        peano1: row.get(14)?,
        peano2: row.get(15)?,
        peano1inv: row.get(16)?,
        peano2inv: row.get(17)?,
        sentiment: row.get(18)?,
    })
}

fn read_subscription(row: &Row<'_>) -> rusqlite::Result<v1::SubscriptionStored> {
    Ok(v1::SubscriptionStored {
        forum_id: row.get(0)?,
        user_id: row.get(1)?,
        active: row.get_ref(2)?.as_str()? == "active",
        sms: row.get_ref(3)?.as_str()? == "send",
    })
}

fn read_forum(row: &Row<'_>) -> rusqlite::Result<v1::ForumStored> {
    let access = match row.get_ref(1)?.as_str()? {
        "public-admin-write-only" => ForumAccess::PublicAdminWriteOnly,
        "private" => ForumAccess::Private,
        _ => ForumAccess::Public,
    };
    let decays_at_s: Option<i64> = row.get(8)?;
    Ok(v1::ForumStored {
        id: row.get(0)?,
        access: access.into(),
        passcode: row.get(2)?,
        group_user_id: row.get(3)?,
        password_hash: row.get(4)?,
        owner_since_s: unsigned(row, 5)?,
        subscribers_limit: row.get(6)?,
        title: row.get(7)?,
        decays_at_s: decays_at_s.map(i64::cast_unsigned),
    })
}

fn read_user(row: &Row<'_>) -> rusqlite::Result<v1::UserStored> {
    Ok(v1::UserStored {
        id: row.get(0)?,
        last_ip: row.get(1)?,
        email: row.get(2)?,
        alerts: row.get_ref(3)?.as_str()? == "on",
        phone: row.get(4)?,
        balance: row.get(5)?,
        confirm_code: row.get(6)?,
        created_at_s: unsigned(row, 7)?,
        updated_at_s: unsigned(row, 8)?,
        confirmed: row.get_ref(9)?.as_str()? == "confirmed",
        password_hash: row.get(10)?,
    })
}

/// SQLite knows only signed numbers. Times and record ids stay far below the sign; whatever comes is kept to the bit.
pub fn signed(value: u64) -> i64 {
    value.cast_signed()
}

pub fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
