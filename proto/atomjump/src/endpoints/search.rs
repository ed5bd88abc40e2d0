//! `search-chat.php` in both dialects: the messages of a forum, newest first, as JSON.

use super::{Answer, FAST_HTML};
use crate::{
    json,
    request::Request,
    session::Session,
    text::ago::{self, Language},
    view::{ReadView, Row, Viewer},
};

/// AtomJump always takes at least this many rows before it cuts the list.
const ROWS_MIN: usize = 100;
/// Most messages of one answer, whatever is asked for.
const ROWS_MAX: usize = 1000;

/// Who formats the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PHP.
    Php,
    /// loop-server-fast.
    Fast,
}

/// What goes into an answer beside the list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// The title of a forum this request made.
    pub title: Option<&'a str>,
    /// `sid`, as JSON.
    pub sid_json: Option<&'a str>,
    /// `lid`.
    pub lid: Option<&'a str>,
}

/// How many messages to show for `records`: one more than asked, and never more rows than AtomJump's query takes.
pub fn limit(records: i64) -> usize {
    let Ok(asked) = usize::try_from(records.saturating_add(1)) else { return 0 };
    let rows = usize::try_from(records).unwrap_or(0).clamp(ROWS_MIN, ROWS_MAX);
    asked.min(rows)
}

/// Writes `{"title":…,"res":[…],"ses":…,"sid":…,"lid":…}`.
pub fn body<V: ReadView>(
    request: &Request,
    session: Session<'_>,
    view: &V,
    records: i64,
    extra: Extra<'_>,
) -> Result<Vec<u8>, V::Error> {
    let mut out = Vec::with_capacity(8 * 1024);
    out.push(b'{');
    if let Some(title) = extra.title {
        out.extend_from_slice(b"\"title\":");
        json::php_string(&mut out, title);
        out.push(b',');
    }
    write_list(&mut out, request, session, view, limit(records), Dialect::Php, request.language())?;
    out.extend_from_slice(b",\"ses\":");
    json::php_string(&mut out, &request.session_id);
    if let Some(sid) = extra.sid_json {
        out.extend_from_slice(b",\"sid\":");
        out.extend_from_slice(sid.as_bytes());
    }
    if let Some(lid) = extra.lid {
        out.extend_from_slice(b",\"lid\":");
        json::php_string(&mut out, lid);
    }
    out.push(b'}');
    Ok(out)
}

/// loop-server-fast's answer. Unlike that one, it also serves sessions that have not written yet.
pub fn fast<V: ReadView>(request: &Request, session: Session<'_>, view: &V) -> Result<Answer, V::Error> {
    let limit =
        if request.params.non_empty("records").is_some() { limit(request.records()) } else { ROWS_MIN };
    let language = request.params.text("lang").filter(|lang| !lang.is_empty());
    let language = match Language::of(language.or_else(|| request.cookie("lang")).as_deref()) {
        // Upstream's process dies of an unknown language here.
        Language::Unknown => Language::English,
        known => known,
    };
    let mut out = Vec::with_capacity(8 * 1024);
    out.push(b'{');
    write_list(&mut out, request, session, view, limit, Dialect::Fast, language)?;
    out.extend_from_slice(b",\"ses\":");
    json::plain_string(&mut out, &request.session_id);
    out.push(b'}');
    Ok(Answer::jsonp(FAST_HTML, out))
}

/// Who reads. The whispers to a forum's group are its subscribers'.
pub(super) fn viewer<'a, V: ReadView>(request: &'a Request, session: Session<'_>, view: &V) -> Viewer<'a> {
    let user = session.user();
    let is_subscriber = user.is_some_and(|user| view.is_subscriber(user));
    let group = view.forum().and_then(|forum| forum.group_user_id).filter(|_| is_subscriber);
    Viewer { user, ip: &request.ip, group }
}

/// Writes `"res":[…]`; empty where the session may not read the forum.
fn write_list<V: ReadView>(
    out: &mut Vec<u8>,
    request: &Request,
    session: Session<'_>,
    view: &V,
    limit: usize,
    dialect: Dialect,
    language: Language,
) -> Result<(), V::Error> {
    out.extend_from_slice(b"\"res\":[");
    let may_read = view.forum().is_some_and(|forum| session.may_read(forum));
    if may_read && limit > 0 {
        let viewer = viewer(request, session, view);
        let mut is_first = true;
        view.newest(&viewer, limit, &mut |row| {
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            write_element(out, row, &viewer, request.now_s, dialect, language);
        })?;
    }
    out.push(b']');
    Ok(())
}

pub(super) fn write_element(
    out: &mut Vec<u8>,
    row: &Row,
    viewer: &Viewer<'_>,
    now_s: u64,
    dialect: Dialect,
    language: Language,
) {
    let passed_s = now_s.saturating_sub(row.message.shouted_at_s);
    let (fixed, (count, unit, ago)) = match dialect {
        Dialect::Php => (row.php_json(), ago::php(passed_s, language)),
        Dialect::Fast => (row.fast_json(), ago::fast(passed_s, language)),
    };
    out.extend_from_slice(fixed);
    out.push(b'"');
    json::number(out, count);
    out.push(b' ');
    write_word(out, unit, dialect);
    out.push(b' ');
    write_word(out, ago, dialect);
    out.extend_from_slice(if viewer.is_whisper(&row.message) {
        b"\",\"whisper\":true}"
    } else {
        b"\",\"whisper\":false}"
    });
}

/// A word of our own, inside a JSON string that is open.
fn write_word(out: &mut Vec<u8>, word: &str, dialect: Dialect) {
    if word.is_ascii() || dialect == Dialect::Fast {
        out.extend_from_slice(word.as_bytes());
        return;
    }
    let mut quoted = Vec::with_capacity(word.len() * 3);
    json::php_string(&mut quoted, word);
    out.extend_from_slice(&quoted[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_more_than_asked_and_never_more_than_the_query_takes() {
        let pairs = [(0, 1), (2, 3), (25, 26), (-1, 0), (i64::MIN, 0), (99, 100), (100, 100), (500, 500)];
        for (records, shown) in pairs {
            assert_eq!(limit(records), shown, "{records}");
        }
        assert_eq!(limit(i64::MAX), ROWS_MAX);
    }
}
